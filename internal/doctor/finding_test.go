// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/castai/privatelink-webhook/internal/output"
	"github.com/castai/privatelink-webhook/internal/target"
	"github.com/castai/privatelink-webhook/internal/textreport"
)

func TestFindings(t *testing.T) {
	for status, f := range map[Status]Finding{
		OK: OKf("%d nodes", 3), Failed: Failf("fix it", "%d nodes", 3), Warning: Warnf("fix it", "%d nodes", 3),
		Unknown: Unknownf("fix it", "%d nodes", 3), Skipped: Skippedf("%d nodes", 3),
	} {
		if f.Status != status || f.Found != "3 nodes" || (f.Remedy == "") != (status == OK || status == Skipped) {
			t.Errorf("%s: %+v", status, f)
		}
	}
}

func TestList(t *testing.T) {
	words := []string{"a", "b", "c"}
	got := []string{List(nil, 2), List(words[:2], 2), List(words, 2)}
	if diff := cmp.Diff([]string{"", "a, b", "a, b and 1 more"}, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestDescribe(t *testing.T) {
	checks := []Check{check("a", "root", OKf("")), check("b", "leaf", OKf(""))}
	for name, tc := range map[string]struct {
		format output.Format
		o      Options
		want   string
	}{
		"text":     {output.Text, Options{}, "a/root\n  the root is correct\n  root matters\nb/leaf\n  the leaf is correct\n  leaf matters\n"},
		"YAML":     {output.YAML, Options{Only: []string{"b"}}, "- id: b/leaf\n  expected: the leaf is correct\n  why: leaf matters\n"},
		"the rest": {output.Text, Options{Skip: []string{"a"}}, "b/leaf\n  the leaf is correct\n  leaf matters\n"},
		"none":     {output.JSON, Options{Skip: []string{"a", "b"}}, "[]\n"},
	} {
		var out bytes.Buffer
		if err := Describe(&out, tc.format, checks, tc.o); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tc.want, out.String()); diff != "" {
			t.Errorf("%s: -want +got\n%s", name, diff)
		}
	}
	if err := Describe(&bytes.Buffer{}, output.Text, checks, Options{Only: []string{"c"}}); err == nil {
		t.Error("an unknown group is accepted")
	}
}

func TestTextFoldsChecksThatDidNotRunForTheSameReason(t *testing.T) {
	skipped := Skippedf("add --probe")
	results, err := Run(t.Context(), []Check{check("a", "one", skipped), check("a", "two", skipped), check("a", "three", skipped), check("a", "four", OKf("%s", strings.Repeat("ü", 101)))}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := Text(&out, textreport.Header{}, results); err != nil {
		t.Fatal(err)
	}
	want := "\nA\n  -     one and 2 more  add --probe\n  ok    four            " + strings.Repeat("ü", 101) + "\n\n4 checks: 1 ok, 0 failed, 0 warnings, 0 unknown, 3 skipped\nNext: nothing to do, no check failed\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestTextWritesAReasonOnce(t *testing.T) {
	unreachable := Unknownf("connect the VPN", "no answer")
	results, err := Run(t.Context(), []Check{check("a", "one", unreachable), check("a", "two", unreachable), check("b", "three", unreachable), check("b", "four", Unknownf("log in", "no answer"))}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := Text(&out, textreport.Header{}, results); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]int{"connect the VPN": 1, "log in": 1, "UNKNOWN  a/one, a/two, b/three\n": 1, "one and 1 more    no answer": 1} {
		if n := strings.Count(out.String(), text); n != want {
			t.Errorf("%q is there %d times:\n%s", text, n, &out)
		}
	}
}

type closed struct{}

func (closed) Write([]byte) (int, error) { return 0, os.ErrClosed }

func TestReportsReturnWriteErrors(t *testing.T) {
	results := sample(t)
	for name, err := range map[string]error{
		"text": Text(closed{}, textreport.Header{}, results), "JSON": Document(closed{}, output.JSON, target.Target{}, results), "JUnit": JUnit(closed{}, target.Target{}, results),
		"description": Describe(closed{}, output.Text, []Check{check("a", "root", OKf(""))}, Options{}),
	} {
		if err != os.ErrClosed {
			t.Errorf("%s: error %v", name, err)
		}
	}
}
