// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const source = `package p

func f(a, b int) bool {
	return a < b && a != -1
}
`

const (
	boundary = "p/f.go CONDITIONALS_BOUNDARY: return a «<» b && a != -1\n"
	logical  = "p/f.go INVERT_LOGICAL: return a < b «&&» a != -1\n"
	negative = "p/f.go INVERT_NEGATIVES: return a < b && a != «-»1\n"
)

// mutants is the result of gremlins in which a number of mutants was killed, and those named survived.
func mutants(killed int, survivors ...string) string {
	m := strings.Repeat(`{"type":"CONDITIONALS_NEGATION","status":"KILLED","line":4,"column":20},`, killed) +
		`{"type":"ARITHMETIC_BASE","status":"NOT VIABLE","line":4,"column":11}`
	return fmt.Sprintf(`{"files":[{"file_name":"f.go","mutations":[%s]}]}`, strings.Join(append([]string{m}, survivors...), ","))
}

func TestJudge(t *testing.T) {
	const (
		livedBoundary = `{"type":"CONDITIONALS_BOUNDARY","status":"LIVED","line":4,"column":11}`
		livedLogical  = `{"type":"INVERT_LOGICAL","status":"NOT COVERED","line":4,"column":15}`
		timedOut      = `{"type":"INVERT_NEGATIVES","status":"TIMED OUT","line":4,"column":23}`
		livedNegative = `{"type":"INVERT_NEGATIVES","status":"LIVED","line":4,"column":23}`
	)
	for name, c := range map[string]struct {
		result     string
		equivalent string
		out, err   string
	}{
		"all killed":                {result: mutants(3), out: "p: 3 of 3 mutants killed, 0 more are equivalent\n"},
		"nine of ten":               {result: mutants(9, livedBoundary), out: boundary + "p: 9 of 10 mutants killed, 0 more are equivalent\n"},
		"eight of nine":             {result: mutants(8, livedBoundary), err: "p: the tests killed fewer than 90 % of the mutants"},
		"a timeout is a kill":       {result: mutants(8, timedOut, livedBoundary), out: boundary + "p: 9 of 10 mutants killed, 0 more are equivalent\n"},
		"not covered is a survivor": {result: mutants(9, livedLogical), out: logical + "p: 9 of 10 mutants killed, 0 more are equivalent\n"},
		"equivalent":                {result: mutants(1, livedNegative), equivalent: negative + "\tbecause\n", out: "p: 1 of 1 mutants killed, 1 more are equivalent\n"},
		"entries of other packages": {result: mutants(1), equivalent: "# comment\nq/f.go X: x\n\tbecause\n\np/r/f.go X: x\n\tbecause\n", out: "p: 1 of 1 mutants killed, 0 more are equivalent\n"},
		"entry of a killed mutant":  {result: mutants(9), equivalent: boundary + "\tbecause\n", err: `no mutant that survived is "p/f.go CONDITIONALS_BOUNDARY: return a «<» b && a != -1": remove the entry`},
		"entry without a reason":    {result: mutants(1, livedNegative), equivalent: negative, err: "no reason for"},
		"no mutants":                {result: mutants(0), err: "fewer than 90 %"},
		"other source":              {result: strings.ReplaceAll(mutants(1, livedBoundary), `"line":4`, `"line":400`), err: "p/f.go has no line 400"},
		"no result":                 {result: "", err: "the result of gremlins for p"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			write(t, "p/f.go", source)
			write(t, "equivalent.txt", c.equivalent)
			var out strings.Builder
			err := run(strings.NewReader(c.result), &out, "p", "equivalent.txt")
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("error %v, want one with %q", err, c.err)
				}
			} else if err != nil || out.String() != c.out {
				t.Errorf("error %v, output\n%s\nwant\n%s", err, &out, c.out)
			}
		})
	}
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
