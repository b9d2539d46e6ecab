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
	v2 "helm.sh/helm/v4/pkg/chart/v2"

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

// renderData renders only the data that the chart's helper makes of a configuration, after
// the chart has checked it.
func renderData(t *testing.T, c *v2.Chart, config rewrite.Config) (map[string]string, error) {
	t.Helper()
	text, err := json.Marshal(map[string]any{"registry": registry, "namespaceSelector": config.NamespaceSelector, "rules": config.Rules, "keep": config.Keep})
	if err != nil {
		t.Fatal(err)
	}
	files, err := helmTemplate(c, parse(t, string(text)), release{})
	if err != nil {
		return nil, err
	}
	var have map[string]string
	if err := json.Unmarshal([]byte(files[Name+"/templates/data.yaml"]), &have); err != nil {
		t.Fatal(err)
	}
	return have, nil
}

// loadData loads the chart with one template, which is that of renderData.
func loadData(t *testing.T) *v2.Chart {
	t.Helper()
	c := load(t)
	c.Templates = slices.DeleteFunc(c.Templates, func(f *common.File) bool { return !strings.HasSuffix(f.Name, ".tpl") })
	c.Templates = append(c.Templates, &common.File{Name: "templates/data.yaml", Data: []byte(`{{ include "privatelink.values" . }}{{ include "privatelink.data" . }}`)})
	return c
}

// TestTheDataOfTheExpressions compares the data that the chart's helper makes of random
// rules and kept prefixes with that of the bundle, which package cel makes.
func TestTheDataOfTheExpressions(t *testing.T) {
	c := loadData(t)
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
		have, err := renderData(t, c, config)
		if err != nil {
			t.Fatalf("%+v: %v", config, err)
		}
		if diff := cmp.Diff(data(rules), have); diff != "" {
			t.Fatalf("%+v: -bundle +chart\n%s", config, diff)
		}
		compared++
	}
	if compared < 400 {
		t.Errorf("only %d configurations are valid", compared)
	}
}

// randomSelector returns a selector of namespaces, often one that needs no label of the
// user's choice.
func randomSelector(random *rand.Rand) (s rewrite.LabelSelector) {
	pick := func(of ...string) string { return of[random.IntN(len(of))] }
	key := func() string {
		return pick("team", "example.com/team", "mykubernetes.io/team", rewrite.NamespaceNameLabel, "pod-security.kubernetes.io/enforce", "k8s.io/x")
	}
	if random.IntN(3) == 0 {
		s.MatchLabels = map[string]string{key(): "a"}
	}
	for range random.IntN(3) {
		r := rewrite.LabelRequirement{Key: key(), Operator: pick("In", "NotIn", "Exists", "DoesNotExist")}
		if takesValues := strings.HasSuffix(r.Operator, "In"); takesValues != (random.IntN(8) == 0) {
			r.Values = []string{"a"}
		}
		s.MatchExpressions = append(s.MatchExpressions, r)
	}
	return s
}

// TestTheChartRefusesWhatTheCommandRefuses compares whether Helm and package rewrite accept
// random selectors of namespaces, and sources and targets of rules. With the policy engine,
// the chart alone checks them.
func TestTheChartRefusesWhatTheCommandRefuses(t *testing.T) {
	c := loadData(t)
	random := rand.New(rand.NewPCG(5, 6))
	targets := []string{"a", "a/b", "a/b/c", "ab", "b", "b-c/x.y", "p_x", "a_b/c", "a__b", "quay.io", "quay.io/z", "localhost", "localhost/z", "host_5000/z", "b/host_5000", "b/localhost", "a//b", "a/", "a:b", "a-", "x._y"}
	sources := []string{"acme", "acme/a", "index.docker.io", "index.docker.io/a", registry, registry + "/a", registry + "x/a", "999999999999.dkr.ecr.eu-west-1.amazonaws.com/a", "999999999999.dkr-ecr.eu-west-1.on.aws",
		"public.ecr.aws/a", "localhost", "localhost/a", "localhost:5000", "127.0.0.1:5000/a", "127.0.0.1", "127.example/a", "[::1]:5000/a", "[2001:db8::1]", "host:5000/a", "host:a/b", "a.example/", "a.example//b", "a.example/b:1", "A.example", "a_b.example/c",
		"a-.example/b", "a.example/b..c", "a.example/b--c/d__e"}
	for _, pattern := range []string{rewrite.ECRPattern, rewrite.LoopbackPattern} {
		if !slices.ContainsFunc(c.Templates, func(f *common.File) bool { return strings.Contains(string(f.Data), pattern) }) {
			t.Errorf("no template compares sources with %s", pattern)
		}
	}
	accepted := map[bool]int{}
	for i := range 1200 {
		config := rewrite.Config{Registry: registry, Rules: []rewrite.Rule{}, Keep: []string{}}
		switch i % 3 {
		case 0:
			config.NamespaceSelector = randomSelector(random)
		case 1:
			for i := range random.IntN(3) {
				config.Rules = append(config.Rules, rewrite.Rule{Source: fmt.Sprintf("r%d.example", i), Target: targets[random.IntN(len(targets))]})
			}
		case 2:
			if source := sources[random.IntN(len(sources))]; random.IntN(2) == 0 {
				config.Rules = append(config.Rules, rewrite.Rule{Source: source, Target: "a"})
			} else {
				config.Keep = append(config.Keep, source)
			}
		}
		_, want := rewrite.New(config)
		_, err := renderData(t, c, config)
		if (err == nil) != (want == nil) {
			t.Errorf("%+v:\nthe command: %v\nthe chart: %v", config, want, err)
		}
		accepted[err == nil]++
	}
	if accepted[true] < 100 || accepted[false] < 100 {
		t.Errorf("accepted: %v", accepted)
	}
}
