// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/castai/privatelink-webhook/deploy"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// manyRules are rules on one host, with sources of a length.
func manyRules(n, length int) (c rewrite.Config) {
	c.Registry = registry
	for i := range n {
		name := fmt.Sprintf("org%0*d", length, i)
		c.Rules = append(c.Rules, rewrite.Rule{Source: "quay.io/" + name, Target: name})
	}
	return c
}

func TestCheckLimits(t *testing.T) {
	var depths rewrite.Config
	for i := range 110 {
		depths.Keep = append(depths.Keep, "registry.example.com"+strings.Repeat("/a", i+1))
	}
	depths.Registry = registry
	byLabel := manyRules(2500, 4)
	byLabel.NamespaceSelector.MatchLabels = map[string]string{"example.com/tenant": "yes"}
	for name, tc := range map[string]struct {
		config rewrite.Config
		want   map[deploy.Engine]string // part of the error, "" for none
	}{
		"no rules":               {rewrite.Config{Registry: registry}, nil},
		"1000 rules":             {manyRules(1000, 8), nil},
		"an expression too long": {manyRules(1000, 60), map[deploy.Engine]string{deploy.Webhook: "1000 rules and 0 kept prefixes make an expression of", deploy.Policy: "the API server accepts 100000: use fewer"}},
		"an object too large":    {byLabel, map[deploy.Engine]string{deploy.Webhook: "2500 rules and 0 kept prefixes make an"}},
		"prefixes of 110 depths": {depths, map[deploy.Engine]string{deploy.Webhook: "0 rules and 110 kept prefixes: a pod of 200 containers costs", deploy.Policy: "fewer different depths"}},
	} {
		t.Run(name, func(t *testing.T) {
			rules, err := rewrite.New(tc.config)
			if err != nil {
				t.Fatal(err)
			}
			text, err := json.Marshal(tc.config)
			if err != nil {
				t.Fatal(err)
			}
			for _, engine := range deploy.Engines() {
				err := CheckLimits(t.Context(), deploy.Options{Rules: rules, Config: text, Engine: engine})
				if want := tc.want[engine]; want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
					t.Errorf("%s: error %v, want %q", engine, err, want)
				}
			}
		})
	}
}
