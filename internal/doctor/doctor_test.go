// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/castai/privatelink-webhook/internal/output"
	"github.com/castai/privatelink-webhook/internal/target"
	"github.com/castai/privatelink-webhook/internal/testutil/golden"
	"github.com/castai/privatelink-webhook/internal/textreport"
)

func check(group, name string, f Finding, needs ...string) Check {
	return Check{Group: group, Name: name, What: "the " + name + " is correct", Why: name + " matters", Needs: needs, Run: func(context.Context) Finding { return f }}
}

func statuses(results []Result) map[string]Status {
	all := map[string]Status{}
	for _, r := range results {
		all[r.ID()] = r.Status
	}
	return all
}

func TestRunReportsACauseOnce(t *testing.T) {
	results, err := Run(t.Context(), []Check{
		check("a", "root", Failf("fix it", "broken")),
		check("a", "branch", OKf("does not run"), "a/root"),
		check("a", "leaf", OKf("does not run"), "a/branch"),
		check("b", "other", OKf("fine")),
		check("b", "warns", Warnf("watch it", "holds")),
		check("b", "after-warning", OKf("fine"), "b/warns"),
	}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]Status{"a/root": Failed, "a/branch": Unknown, "a/leaf": Unknown, "b/other": OK, "b/warns": Warning, "b/after-warning": OK}
	if diff := cmp.Diff(want, statuses(results)); diff != "" {
		t.Error(diff)
	}
	if results[1].Cause != "a/root" || results[2].Cause != "a/branch" {
		t.Errorf("causes %q, %q", results[1].Cause, results[2].Cause)
	}
}

func TestRunBlocksOnFailuresAndWithoutAccess(t *testing.T) {
	unknown := Unknownf("log in", "no answer")
	access := check("b", "access", unknown)
	access.Access = true
	results, err := Run(t.Context(), []Check{
		check("a", "root", unknown),
		check("a", "leaf", OKf("runs"), "a/root"),
		access,
		check("b", "leaf", OKf("does not run"), "b/access"),
		check("b", "next", OKf("does not run"), "b/leaf"),
	}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]Status{"a/root": Unknown, "a/leaf": OK, "b/access": Unknown, "b/leaf": Unknown, "b/next": Unknown}
	if diff := cmp.Diff(want, statuses(results)); diff != "" {
		t.Error(diff)
	}
	if results[3].Cause != "b/access" || results[4].Cause != "b/leaf" {
		t.Errorf("%+v\n%+v", results[3], results[4])
	}
}

func TestRunSelectsChecks(t *testing.T) {
	all := []Check{check("a", "root", Failf("fix it", "broken")), check("a", "leaf", OKf("fine"), "a/root"), check("b", "other", OKf("fine"))}
	for name, tc := range map[string]struct {
		o    Options
		want map[string]Status
	}{
		"a group":                        {Options{Only: []string{"b"}}, map[string]Status{"b/other": OK}},
		"a check, without what it needs": {Options{Only: []string{"a/leaf"}}, map[string]Status{"a/leaf": OK}},
		"all except one":                 {Options{Skip: []string{"a/root"}}, map[string]Status{"a/leaf": OK, "b/other": OK}},
		"a group without one of its own": {Options{Only: []string{"a"}, Skip: []string{"a/leaf"}}, map[string]Status{"a/root": Failed}},
		"all checks by default":          {Options{}, map[string]Status{"a/root": Failed, "a/leaf": Unknown, "b/other": OK}},
	} {
		t.Run(name, func(t *testing.T) {
			results, err := Run(t.Context(), all, tc.o)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, statuses(results)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRunRefusesWrongNamesAndOrder(t *testing.T) {
	root := check("a", "root", OKf("fine"))
	for name, tc := range map[string]struct {
		checks []Check
		o      Options
		want   string
	}{
		"no such group":       {[]Check{root}, Options{Only: []string{"netwrok"}}, `"netwrok": no such check or group`},
		"no such check":       {[]Check{root}, Options{Skip: []string{"a/leaf"}}, "the groups a"},
		"a need that follows": {[]Check{check("a", "leaf", OKf(""), "a/root"), root}, Options{}, "must precede it"},
		"a duplicate check":   {[]Check{root, root}, Options{}, "duplicate check a/root"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Run(t.Context(), tc.checks, tc.o); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("err = %v, want %q", err, tc.want)
			}
		})
	}
}

func TestRunAbandonsAHangingCheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		end := make(chan struct{})
		hangs := check("a", "hangs", Finding{})
		hangs.Run = func(context.Context) Finding { <-end; return OKf("too late") }
		results, err := Run(t.Context(), []Check{hangs, check("a", "next", OKf("fine"))}, Options{Timeout: time.Second})
		close(end)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(map[string]Status{"a/hangs": Unknown, "a/next": OK}, statuses(results)); diff != "" {
			t.Error(diff)
		}
		if !strings.Contains(results[0].Remedy, "--timeout") {
			t.Errorf("remedy %q", results[0].Remedy)
		}
		late := check("a", "late", Finding{})
		late.Run = func(ctx context.Context) Finding { <-ctx.Done(); return Unknownf("retry", "%v", ctx.Err()) }
		denied := check("a", "denied", Unknownf("ask for the permission", "denied"))
		results, err = Run(t.Context(), WithSilence([]Check{late, denied}, "connect the VPN"), Options{Timeout: time.Second})
		if err != nil || results[0].Remedy != "connect the VPN" || results[1].Remedy != "ask for the permission" {
			t.Errorf("%+v (%v)", results, err)
		}
	})
}

func TestUnavailableChecksAreUnknown(t *testing.T) {
	checks := Unavailable([]Check{check("a", "root", OKf("fine")), check("a", "leaf", OKf("fine"), "a/root")}, Unknownf("log in", "no credentials"))
	results, err := Run(t.Context(), checks, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if Count(results, OK) != 0 || Count(results, Unknown) != 2 {
		t.Errorf("%v", statuses(results))
	}
}

// sample returns a result of each status, all with duration zero.
func sample(t *testing.T) []Result {
	t.Helper()
	results, err := Run(t.Context(), []Check{
		check("cluster", "api", OKf("Kubernetes v1.37.2")),
		check("cluster", "ca-bundle", Failf("kubectl rollout restart\nand run it again", "2 entries & \"quotes\" <tags>").With("pods: unknown authority", "ephemeral: unknown authority")),
		check("cluster", "rewrite", OKf("does not run"), "cluster/ca-bundle"),
		check("network", "private-dns", Warnf("enable it", "off for logs")),
		check("network", "s3-route", Unknownf("aws sso login", "no credentials")),
		check("inside", "dns", Finding{Status: Skipped, Found: "add --probe"}),
	}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range results {
		results[i].Took = 0
	}
	return results
}

var prod = target.Target{Context: "admin", Server: "https://api", Cluster: "prod", Account: "123456789012", Region: "eu-central-1", Registry: "r.example.com/castai"}

func TestReports(t *testing.T) {
	results := sample(t)
	for file, report := range map[string]func(*bytes.Buffer) error{
		"report.txt": func(b *bytes.Buffer) error {
			return Text(b, textreport.Header{Program: "privatelink doctor v1", Target: prod}, results)
		},
		"report.json": func(b *bytes.Buffer) error { return Document(b, output.JSON, prod, results) },
		"report.yaml": func(b *bytes.Buffer) error { return Document(b, output.YAML, prod, results) },
		"report.xml":  func(b *bytes.Buffer) error { return JUnit(b, prod, results) },
	} {
		t.Run(file, func(t *testing.T) {
			var b bytes.Buffer
			if err := report(&b); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join("testdata", file)
			golden.Compare(t, path, b.Bytes())
			switch filepath.Ext(file) {
			case ".json":
				if err := json.Unmarshal(b.Bytes(), new(map[string]any)); err != nil {
					t.Error(err)
				}
			case ".xml":
				if err := xml.Unmarshal(b.Bytes(), new(junitReport)); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func TestOnceCachesUnlessTheDeadlinePassed(t *testing.T) {
	var o Once[int]
	calls := 0
	resolve := func(context.Context) (int, error) { calls++; return calls, nil }
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for i, c := range []struct {
		ctx  context.Context
		want int
	}{{ended, 1}, {t.Context(), 2}, {t.Context(), 2}, {ended, 2}} {
		if got, err := o.Get(c.ctx, resolve); got != c.want || err != nil {
			t.Errorf("%d: %d %v", i, got, err)
		}
	}
}
