// SPDX-License-Identifier: Apache-2.0

package rewrite_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/castai/privatelink-webhook/internal/rewrite"
	"github.com/castai/privatelink-webhook/internal/testutil/corpus"
)

const ecr = "123456789012.dkr.ecr.us-east-1.amazonaws.com"

func rules(t testing.TB, c rewrite.Config) *rewrite.Rules {
	t.Helper()
	if c.Registry == "" {
		c.Registry = corpus.Registry
	}
	r, err := rewrite.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestImageOfEveryClassOfReference(t *testing.T) {
	r := rules(t, rewrite.Config{})
	rows := corpus.References()
	if len(rows) < 115 {
		t.Fatalf("the corpus has %d rows; it was larger", len(rows))
	}
	for _, row := range rows {
		t.Run(row.ID+" "+row.Class, func(t *testing.T) {
			got := r.Image(row.Source)
			if got.Target != row.Target || string(got.Reason) != row.Reason {
				t.Errorf("Image(%.200q) = %.200q, reason %q, by %s\nwant %.200q, reason %q", row.Source, got.Target, got.Reason, got.Rule, row.Target, row.Reason)
			}
			if second := r.Image(got.Target); second.Target != got.Target {
				t.Errorf("a second pass changes %q to %q", got.Target, second.Target)
			}
		})
	}
}

func TestRulesAndKeeps(t *testing.T) {
	const t0 = corpus.Registry
	for name, tc := range map[string]struct {
		config rewrite.Config
		in     map[string]string
	}{
		"the longest source wins, in either order of the file": {
			rewrite.Config{Rules: []rewrite.Rule{{Source: "quay.io/acme", Target: "p"}, {Source: "quay.io/acme/deep", Target: "q"}}},
			map[string]string{
				"quay.io/acme/deep/widget:v7": t0 + "/q/widget:v7", "quay.io/acme/widget:v7": t0 + "/p/widget:v7",
				"quay.io/acme/deep:v7": t0 + "/q:v7", "quay.io/acme2/widget:v7": t0 + "/quay.io/acme2/widget:v7",
				t0 + "/quay.io/acme/widget:v7": t0 + "/p/widget:v7",
			},
		},
		"the other order": {
			rewrite.Config{Rules: []rewrite.Rule{{Source: "quay.io/acme/deep", Target: "q"}, {Source: "quay.io/acme", Target: "p"}}},
			map[string]string{"quay.io/acme/deep/widget:v7": t0 + "/q/widget:v7", "quay.io/acme/widget:v7": t0 + "/p/widget:v7"},
		},
		"a keep ends at a path boundary": {
			rewrite.Config{Keep: []string{"quay.io/acme"}},
			map[string]string{"quay.io/acme/widget:v7": "quay.io/acme/widget:v7", "quay.io/acme2/widget:v7": t0 + "/quay.io/acme2/widget:v7"},
		},
		"a kept host with a port is another host": {
			rewrite.Config{Keep: []string{"registry.example.com"}},
			map[string]string{"registry.example.com/a:1": "registry.example.com/a:1", "registry.example.com:5000/a:1": t0 + "/registry.example.com_5000/a:1"},
		},
		"an alias below a keep wins, being longer": {
			rewrite.Config{Keep: []string{"ghcr.io/castai"}},
			map[string]string{"ghcr.io/castai/images/agent:1": t0 + "/agent:1", "ghcr.io/castai/live/d:1": "ghcr.io/castai/live/d:1"},
		},
		"a keep below one alias holds for every spelling": {
			rewrite.Config{Keep: []string{"ghcr.io/castai/images/agent"}},
			map[string]string{
				"us-docker.pkg.dev/castai-hub/library/agent:1": "us-docker.pkg.dev/castai-hub/library/agent:1",
				"ghcr.io/castai/images/agent2:1":               t0 + "/agent2:1",
			},
		},
		"a rule for an alias itself holds for every spelling": {
			rewrite.Config{Rules: []rewrite.Rule{{Source: "ghcr.io/castai/images", Target: "vendor"}}},
			map[string]string{
				"ghcr.io/castai/images/agent:1":                t0 + "/vendor/agent:1",
				"us-docker.pkg.dev/castai-hub/library/agent:1": t0 + "/vendor/agent:1",
			},
		},
		"a rule below one alias holds for every spelling, and no alias writes into its target": {
			rewrite.Config{Rules: []rewrite.Rule{{Source: "ghcr.io/castai/images/prom", Target: "observability"}}},
			map[string]string{
				"us-docker.pkg.dev/castai-hub/library/prom/prometheus:v3": t0 + "/observability/prometheus:v3",
				"ghcr.io/castai/images/prom/prometheus:v3":                t0 + "/observability/prometheus:v3",
				"ghcr.io/castai/images/observability/x:1":                 t0 + "/us-docker.pkg.dev/castai-hub/library/observability/x:1",
				"us-docker.pkg.dev/castai-hub/library/observability/x:1":  t0 + "/us-docker.pkg.dev/castai-hub/library/observability/x:1",
			},
		},
		"a registry without a repository part, and ECR's shortest name": {
			rewrite.Config{Registry: ecr},
			map[string]string{
				"ghcr.io/castai/images/agent:1": ecr + "/agent:1",
				"ghcr.io/castai/images/ww:v7":   ecr + "/ww:v7", "ghcr.io/castai/images/w:v7": "ghcr.io/castai/images/w:v7",
			},
		},
		"a registry that is not ECR: its own host is private on any path": {
			rewrite.Config{Registry: "registry.example.com:5000/castai"},
			map[string]string{
				"ghcr.io/castai/images/agent:1":                                  "registry.example.com:5000/castai/agent:1",
				"registry.example.com:5000/team/x:1":                             "registry.example.com:5000/team/x:1",
				"registry.example.com:5000/castai:v1":                            "registry.example.com:5000/castai:v1",
				"registry.example.com:5000/castai/ghcr.io/castai/images/agent:1": "registry.example.com:5000/castai/agent:1",
				"quay.io/acme/x:1":                                               "registry.example.com:5000/castai/quay.io/acme/x:1",
			},
		},
		"a local registry as the target is below the registry before it is node-local": {
			rewrite.Config{Registry: "localhost:5000/castai"},
			map[string]string{"nginx": "localhost:5000/castai/docker.io/library/nginx", "localhost:5000/other:1": "localhost:5000/other:1"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := rules(t, tc.config)
			for in, want := range tc.in {
				got := r.Image(in)
				if got.Target != want {
					t.Errorf("Image(%q) = %q by %s, want %q", in, got.Target, got.Rule, want)
				}
				if second := r.Image(got.Target); second.Target != got.Target {
					t.Errorf("a second pass changes %q to %q", got.Target, second.Target)
				}
			}
		})
	}
}

func TestThePlaceholderOfAnInjectorIsNoImage(t *testing.T) {
	r := rules(t, rewrite.Config{})
	for in, want := range map[string]rewrite.Outcome{
		"auto": rewrite.Kept, "auto:1": rewrite.Rewritten, "Auto": rewrite.Unmapped, "library/auto": rewrite.Rewritten, "auto/auto": rewrite.Rewritten,
	} {
		if got := r.Image(in); got.Outcome != want {
			t.Errorf("Image(%q) is %s, want %s", in, got.Outcome, want)
		}
	}
}

func TestAnEnvValueMustNameItsHost(t *testing.T) {
	r := rules(t, rewrite.Config{})
	for name, tc := range map[string]struct {
		in, want string
		reason   rewrite.Reason
	}{
		"a reference with a host is rewritten":        {"ghcr.io/castai/images/jmx:1", corpus.Registry + "/jmx:1", ""},
		"a host with a port counts":                   {"registry:5000/a", corpus.Registry + "/registry_5000/a", ""},
		"a bare tag is unmapped, with a reason":       {"v0.21.0", "v0.21.0", rewrite.NoHost},
		"a Docker short name is unmapped":             {"acme/widget:v1", "acme/widget:v1", rewrite.NoHost},
		"an empty value is unchanged, without reason": {"", "", ""},
		"text that begins with a dot has no host":     {"./a/b", "./a/b", rewrite.NoHost},
		"a private reference is unchanged":            {corpus.Registry + "/a:1", corpus.Registry + "/a:1", ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := r.EnvValue(tc.in); got.Target != tc.want || got.Reason != tc.reason {
				t.Errorf("EnvValue(%q) = %q, %q; want %q, %q", tc.in, got.Target, got.Reason, tc.want, tc.reason)
			}
		})
	}
}

func TestTheRuleThatDecidedIsNamed(t *testing.T) {
	r := rules(t, rewrite.Config{Rules: []rewrite.Rule{{Source: "quay.io/acme", Target: "p"}}, Keep: []string{"registry.k8s.io"}})
	for in, want := range map[string]string{
		"ghcr.io/castai/images/agent:1": "alias ghcr.io/castai/images",
		"quay.io/acme/x":                "rule quay.io/acme",
		"registry.k8s.io/pause:3":       "keep registry.k8s.io",
		"nginx":                         "default",
		corpus.Registry + "/agent:1":    "already private: below",
		ecr + "/other:1":                "already private: an ECR host",
		"localhost:5000/x":              "node-local",
		"auto":                          "placeholder",
		corpus.Registry + "/ghcr.io/castai/images/agent:1": "global.registry",
		corpus.Registry + "/registry.k8s.io/pause:3":       "already private: below", // not kept, though the public one is
		"Not A Reference":                                      "not an image reference",
		"[2001:db8::7]:5000/x":                                 "IPv6",
		"Ghcr.io/castai/images/agent:1":                        "upper case",
		"my_host.example.com/x":                                "no registry host",
		"quay.io/" + strings.Repeat("a", 200) + "/agent:v1@no": "not an image reference",
	} {
		if got := r.Image(in).Rule; !strings.Contains(got, want) {
			t.Errorf("Image(%q) decided by %q, want mention of %q", in, got, want)
		}
	}
}

// A chart has a place of its own, whatever the rules say, and a name that no registry takes
// has none.
func TestChart(t *testing.T) {
	r, err := rewrite.New(rewrite.Config{Registry: "registry.example.com/castai", Rules: []rewrite.Rule{{Source: "charts.example.com", Target: "other"}}, Keep: []string{"charts.example.com/kept"}})
	if err != nil {
		t.Fatal(err)
	}
	for ref, want := range map[string]string{
		"charts.example.com/agent:1.0.0":                            "registry.example.com/castai/charts/agent:1.0.0",
		"charts.example.com/kept:1.0.0_build":                       "registry.example.com/castai/charts/kept:1.0.0_build",
		"charts.example.com/a.b-c_d:1":                              "registry.example.com/castai/charts/a.b-c_d:1",
		"charts.example.com/agent:1.0.0+build":                      "",
		"charts.example.com/Agent:1.0.0":                            "",
		"charts.example.com/agent-:1.0.0":                           "",
		"charts.example.com/../agent:1.0.0":                         "",
		"charts.example.com/a//b:1.0.0":                             "",
		"charts.example.com/:1.0.0":                                 "",
		"charts.example.com/agent 1.0.0":                            "",
		"charts.example.com/agent\n:1.0.0":                          "",
		"":                                                          "",
		"charts.example.com/agent:" + strings.Repeat("1", 129):      "",
		"charts.example.com/" + strings.Repeat("a", 300) + ":1.0.0": "",
	} {
		got := r.Chart(ref)
		if want == "" && (got.Changed() || got.Target != ref || got.Reason == "") || want != "" && got.Target != want {
			t.Errorf("%.60q: %+v, want %s", ref, got, want)
		}
	}
}

func TestEntriesAreInTheOrderOfMatching(t *testing.T) {
	r := rules(t, rewrite.Config{
		Rules: []rewrite.Rule{{Source: "quay.io/b", Target: "b"}, {Source: "quay.io/a", Target: "a"}, {Source: "quay.io/a/deep", Target: "d"}},
		Keep:  []string{"quay.io/c", "ghcr.io/castai/images/x"},
	})
	want := []rewrite.Rule{
		{Source: "us-docker.pkg.dev/castai-hub/library/x"}, {Source: "quay.io/a/deep", Target: "d"},
		{Source: "quay.io/a", Target: "a"}, {Source: "quay.io/b", Target: "b"}, {Source: "quay.io/c"},
	}
	if diff := cmp.Diff(want, r.Entries()); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestReasonsThatTellOfTheRegistry(t *testing.T) {
	for reason, want := range map[rewrite.Reason]bool{
		"": false, rewrite.Unparsable: false, rewrite.NoHost: false,
		rewrite.IPv6Host: true, rewrite.UppercaseHost: true, rewrite.TooLong: true, rewrite.TooShort: true, rewrite.NotECRLegal: true,
	} {
		if got := reason.Illegal(); got != want {
			t.Errorf("%q: illegal in ECR: %v", reason, got)
		}
	}
}
