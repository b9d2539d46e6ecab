// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write golden files anew")

func check(group, name string, f Finding, needs ...string) Check {
	return Check{Group: group, Name: name, What: "the " + name + " is well", Why: name + " matters", Needs: needs, Run: func(context.Context) Finding { return f }}
}

func statuses(results []Result) map[string]Status {
	all := map[string]Status{}
	for _, r := range results {
		all[r.ID()] = r.Status
	}
	return all
}

func TestACauseIsToldOnce(t *testing.T) {
	results, err := Run(t.Context(), []Check{
		check("a", "root", Bad("mend it", "broken")),
		check("a", "branch", Good("never asked"), "a/root"),
		check("a", "leaf", Good("never asked"), "a/branch"),
		check("b", "other", Good("fine")),
		check("b", "risky", Risky("mind it", "holds")),
		check("b", "after-risk", Good("fine"), "b/risky"),
	}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]Status{"a/root": Failed, "a/branch": Unknown, "a/leaf": Unknown, "b/other": OK, "b/risky": Warning, "b/after-risk": OK}
	if diff := cmp.Diff(want, statuses(results)); diff != "" {
		t.Error(diff)
	}
	if results[1].Cause != "a/root" || results[2].Cause != "a/branch" {
		t.Errorf("causes %q, %q", results[1].Cause, results[2].Cause)
	}
}

func TestOnlyWhatIsWantedRuns(t *testing.T) {
	all := []Check{check("a", "root", Bad("mend it", "broken")), check("a", "leaf", Good("fine"), "a/root"), check("b", "other", Good("fine"))}
	for name, tc := range map[string]struct {
		o    Options
		want map[string]Status
	}{
		"a group":                         {Options{Only: []string{"b"}}, map[string]Status{"b/other": OK}},
		"a check, without what it needs":  {Options{Only: []string{"a/leaf"}}, map[string]Status{"a/leaf": OK}},
		"all but one":                     {Options{Skip: []string{"a/root"}}, map[string]Status{"a/leaf": OK, "b/other": OK}},
		"a group without one of its own":  {Options{Only: []string{"a"}, Skip: []string{"a/leaf"}}, map[string]Status{"a/root": Failed}},
		"everything, if nobody says more": {Options{}, map[string]Status{"a/root": Failed, "a/leaf": Unknown, "b/other": OK}},
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

func TestAWrongNameOrOrderIsAnError(t *testing.T) {
	good := check("a", "root", Good("fine"))
	for name, tc := range map[string]struct {
		checks []Check
		o      Options
		want   string
	}{
		"no such group":               {[]Check{good}, Options{Only: []string{"netwrok"}}, `"netwrok": no such check or group`},
		"no such check":               {[]Check{good}, Options{Skip: []string{"a/leaf"}}, "the groups a"},
		"a need that comes later":     {[]Check{check("a", "leaf", Good(""), "a/root"), good}, Options{}, "must stand before it"},
		"a check that is there twice": {[]Check{good, good}, Options{}, "a/root is there twice"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Run(t.Context(), tc.checks, tc.o); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("err = %v, want %q", err, tc.want)
			}
		})
	}
}

func TestACheckThatHangsDoesNotHoldTheOthersUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		end := make(chan struct{})
		hangs := check("a", "hangs", Finding{})
		hangs.Run = func(context.Context) Finding { <-end; return Good("too late") }
		results, err := Run(t.Context(), []Check{hangs, check("a", "next", Good("fine"))}, Options{Timeout: time.Second})
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
	})
}

func TestBlindChecksAreNeverGreen(t *testing.T) {
	checks := Blind([]Check{check("a", "root", Good("fine")), check("a", "leaf", Good("fine"), "a/root")}, NotSeen("log in", "no credentials"))
	results, err := Run(t.Context(), checks, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if Count(results, OK) != 0 || Count(results, Unknown) != 2 {
		t.Errorf("%v", statuses(results))
	}
}

// sample has a result of every kind. Nothing in it took any time.
func sample(t *testing.T) []Result {
	t.Helper()
	results, err := Run(t.Context(), []Check{
		check("cluster", "api", Good("Kubernetes v1.37.2")),
		check("cluster", "ca-bundle", Bad("kubectl rollout restart\nand look again", "2 entries & \"quotes\" <tags>").With("pods: unknown authority", "ephemeral: unknown authority")),
		check("cluster", "rewrite", Good("never asked"), "cluster/ca-bundle"),
		check("network", "private-dns", Risky("turn it on", "off for logs")),
		check("network", "s3-route", NotSeen("aws sso login", "no credentials")),
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

func TestReports(t *testing.T) {
	results := sample(t)
	for file, report := range map[string]func(*bytes.Buffer) error{
		"report.txt":  func(b *bytes.Buffer) error { return Text(b, results) },
		"report.json": func(b *bytes.Buffer) error { return JSON(b, results) },
		"report.xml":  func(b *bytes.Buffer) error { return JUnit(b, results) },
	} {
		t.Run(file, func(t *testing.T) {
			var b bytes.Buffer
			if err := report(&b); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join("testdata", file)
			if *update {
				if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), b.String()); diff != "" {
				t.Error(diff)
			}
			switch filepath.Ext(file) {
			case ".json":
				if err := json.Unmarshal(b.Bytes(), new(map[string]any)); err != nil {
					t.Error(err)
				}
			case ".xml":
				if err := xml.Unmarshal(b.Bytes(), new(suites)); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func TestAnAnswerIsAskedForOnceUnlessTimeRanOut(t *testing.T) {
	var o Once[int]
	asked := 0
	ask := func(context.Context) (int, error) { asked++; return asked, nil }
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for i, c := range []struct {
		ctx  context.Context
		want int
	}{{ended, 1}, {t.Context(), 2}, {t.Context(), 2}, {ended, 2}} {
		if got, err := o.Get(c.ctx, ask); got != c.want || err != nil {
			t.Errorf("%d: %d %v", i, got, err)
		}
	}
}
