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
