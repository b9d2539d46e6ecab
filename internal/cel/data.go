// SPDX-License-Identifier: Apache-2.0

package cel

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	admissionregv1 "k8s.io/api/admissionregistration/v1"

	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// Data returns the configuration as variables, the first ones of every policy.
//
// Rules and kept prefixes are one map, so that the cost of a lookup does not
// depend on their number: a name is looked up at each of the depths, which are
// the numbers of path parts that the prefixes have.
func Data(r *rewrite.Rules) []admissionregv1.Variable {
	sources, targets, depths := map[string]string{}, map[string]bool{}, map[int]bool{}
	for _, e := range r.Entries() {
		sources[e.Source] = e.Target // "" for a prefix that is kept
		depths[depth(e.Source)] = true
		if e.Target != "" {
			targets[e.Target] = true
			depths[depth(e.Target)] = true
		}
	}
	deepestFirst := slices.Sorted(maps.Keys(depths))
	slices.Reverse(deepestFirst)
	if deepestFirst == nil {
		deepestFirst = []int{}
	}
	return []admissionregv1.Variable{
		{Name: "registry", Expression: literal(r.Registry())},
		{Name: "envVars", Expression: literal(r.EnvVars())},
		{Name: "sources", Expression: literal(sources)},
		{Name: "targets", Expression: literal(targets)},
		{Name: "depths", Expression: literal(deepestFirst)},
	}
}

// ParseData returns the configuration that Data made variables of: the registry, the
// names of environment variables, rules and kept prefixes, whose sources are spelled in
// the canonical way.
func ParseData(variables []admissionregv1.Variable) (c rewrite.Config, err error) {
	var sources map[string]string
	for name, value := range map[string]any{"registry": &c.Registry, "envVars": &c.EnvVars, "sources": &sources} {
		i := slices.IndexFunc(variables, func(v admissionregv1.Variable) bool { return v.Name == name })
		if i < 0 {
			return c, fmt.Errorf("there is no variable %s", name)
		}
		if err := json.Unmarshal([]byte(variables[i].Expression), value); err != nil {
			return c, fmt.Errorf("the variable %s is not data: %w", name, err)
		}
	}
	for _, source := range slices.Sorted(maps.Keys(sources)) {
		if target := sources[source]; target != "" {
			c.Rules = append(c.Rules, rewrite.Rule{Source: source, Target: target})
		} else {
			c.Keep = append(c.Keep, source)
		}
	}
	return c, nil
}

func depth(path string) int { return strings.Count(path, "/") + 1 }

// literal returns a value as JSON. Go's JSON is CEL: of the escapes in strings,
// those that CEL lacks, \/ and surrogate pairs, are not written by Go's encoder.
// https://github.com/google/cel-spec/blob/master/doc/langdef.md#string-and-bytes-values
func literal(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		panic(fmt.Sprintf("cel: literal %v: %v", value, err)) // strings, numbers and their maps can be encoded
	}
	return string(text)
}
