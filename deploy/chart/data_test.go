// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"helm.sh/helm/v4/pkg/chart/common"

	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// randomPrefix returns a source prefix, often at or below one of CAST AI's.
func randomPrefix(random *rand.Rand) string {
	pick := func(of ...string) string { return of[random.IntN(len(of))] }
	var prefix strings.Builder
	prefix.WriteString(pick("docker.io", "quay.io", "registry.example.com:5000", "us-docker.pkg.dev", "ghcr.io", "ghcr.io/castai", "us-docker.pkg.dev/castai-hub/library", "us-east4-docker.pkg.dev/castai-hub/library", "ghcr.io/castai/images"))
	for range random.IntN(5) {
		prefix.WriteString("/" + pick("a", "b-c", "x.y", "localhost", "p_1", "p_x", "d__e", "library", "images", "5000"))
	}
	return prefix.String()
}

// TestTheDataOfTheExpressions compares the data that the chart's helper makes of random
// rules and kept prefixes with that of the bundle, which package cel makes.
func TestTheDataOfTheExpressions(t *testing.T) {
	c := load(t)
	c.Templates = slices.DeleteFunc(c.Templates, func(f *common.File) bool { return !strings.HasSuffix(f.Name, ".tpl") })
	c.Templates = append(c.Templates, &common.File{Name: "templates/data.yaml", Data: []byte(`{{ include "privatelink.values" . }}{{ include "privatelink.data" . }}`)})
	random := rand.New(rand.NewPCG(3, 4))
	compared := 0
	for range 800 {
		config := rewrite.Config{Registry: registry, Rules: []rewrite.Rule{}, Keep: []string{}}
		for i := range random.IntN(4) {
			target := fmt.Sprintf("t%d", i) + strings.Repeat("/x", random.IntN(3))
			config.Rules = append(config.Rules, rewrite.Rule{Source: randomPrefix(random), Target: target})
		}
		for range random.IntN(3) {
			config.Keep = append(config.Keep, randomPrefix(random))
		}
		rules, err := rewrite.New(config)
		if err != nil {
			continue // such as a prefix that stands twice
		}
		text, err := json.Marshal(map[string]any{"registry": registry, "rules": config.Rules, "keep": config.Keep})
		if err != nil {
			t.Fatal(err)
		}
		var values map[string]any
		if err := json.Unmarshal(text, &values); err != nil {
			t.Fatal(err)
		}
		files, err := helmTemplate(c, values, release{})
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		var have map[string]string
		if err := json.Unmarshal([]byte(files[Name+"/templates/data.yaml"]), &have); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(data(rules), have); diff != "" {
			t.Fatalf("%s: -bundle +chart\n%s", text, diff)
		}
		compared++
	}
	if compared < 400 {
		t.Errorf("only %d configurations are valid", compared)
	}
}
