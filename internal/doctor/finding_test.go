// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
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

func TestExplainListsExpectationAndReason(t *testing.T) {
	var out bytes.Buffer
	checks := []Check{check("a", "root", OKf("")), check("b", "leaf", OKf(""))}
	if err := Explain(&out, checks); err != nil {
		t.Fatal(err)
	}
	const want = "a/root\n  the root is correct\n  root matters\nb/leaf\n  the leaf is correct\n  leaf matters\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestTextFoldsChecksThatDidNotRunForTheSameReason(t *testing.T) {
	skipped := Skippedf("add --probe")
	results, err := Run(t.Context(), []Check{check("a", "one", skipped), check("a", "two", skipped), check("a", "three", skipped), check("a", "four", OKf("%s", strings.Repeat("ü", 101)))}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := Text(&out, results); err != nil {
		t.Fatal(err)
	}
	want := "A\n  -     one and 2 more  add --probe\n  ok    four            " + strings.Repeat("ü", 97) + "...\n\n4 checks: 1 ok, 0 failed, 0 warnings, 0 unknown, 3 skipped\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

type closed struct{}

func (closed) Write([]byte) (int, error) { return 0, os.ErrClosed }

func TestReportsReturnWriteErrors(t *testing.T) {
	results := sample(t)
	for name, err := range map[string]error{
		"text": Text(closed{}, results), "JSON": JSON(closed{}, results), "JUnit": JUnit(closed{}, results),
		"explanation": Explain(closed{}, []Check{check("a", "root", OKf(""))}),
	} {
		if err != os.ErrClosed {
			t.Errorf("%s: error %v", name, err)
		}
	}
}
