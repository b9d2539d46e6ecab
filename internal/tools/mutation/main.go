// SPDX-License-Identifier: Apache-2.0

// Command mutation judges the result of gremlins for one package: it fails if the
// tests killed fewer than 90 % of the mutants that change the behavior of the package.
//
//	go run ./internal/tools/mutation PACKAGE EQUIVALENT < RESULT
//
// EQUIVALENT is a file of mutants that were reviewed and change no behavior. A line
// names the file, the kind of mutant, and the line of code with the changed operator
// in «», as the command prints survivors. The indented lines that follow are the
// reason, of one or several mutants. RESULT is the JSON file that gremlins writes.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
)

// required is the smallest share of mutants to be killed, in percent.
const required = 90

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: mutation PACKAGE EQUIVALENT < RESULT")
		os.Exit(2)
	}
	if err := run(os.Stdin, os.Stdout, os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "mutation:", err)
		os.Exit(1)
	}
}

type result struct {
	Files []struct {
		Name    string   `json:"file_name"`
		Mutants []mutant `json:"mutations"`
	} `json:"files"`
}

type mutant struct {
	Kind   string `json:"type"`
	Status string `json:"status"`
	Line   int    `json:"line"`
	Column int    `json:"column"`
}

func run(stdin io.Reader, stdout io.Writer, pkg, file string) error {
	equivalent, err := readEquivalent(file, pkg)
	if err != nil {
		return err
	}
	var r result
	if err := json.NewDecoder(stdin).Decode(&r); err != nil {
		return fmt.Errorf("the result of gremlins for %s: %w", pkg, err)
	}
	killed, survivors, err := r.split(pkg)
	if err != nil {
		return err
	}
	found := map[string]bool{}
	alive := 0
	for _, m := range survivors {
		found[m] = true
		if !slices.Contains(equivalent, m) {
			alive++
			fmt.Fprintln(stdout, m)
		}
	}
	all := killed + alive
	fmt.Fprintf(stdout, "%s: %d of %d mutants killed, %d more are equivalent\n", pkg, killed, all, len(survivors)-alive)
	if all == 0 || killed*100 < all*required {
		return fmt.Errorf("%s: the tests killed fewer than %d %% of the mutants: add tests for the behavior on the lines above, or name a mutant in %s with the reason why it changes none", pkg, required, file)
	}
	for _, m := range equivalent {
		if !found[m] {
			return fmt.Errorf("%s: no mutant that survived is %q: remove the entry, or correct it", file, m)
		}
	}
	return nil
}

// split counts the mutants of the package that were killed, and describes the others.
func (r result) split(pkg string) (killed int, survivors []string, err error) {
	for _, f := range r.Files {
		name := path.Join(pkg, f.Name)
		source, err := os.ReadFile(name)
		if err != nil {
			return 0, nil, err
		}
		lines := strings.Split(string(source), "\n")
		for _, m := range f.Mutants {
			switch m.Status {
			case "KILLED", "TIMED OUT":
				killed++
			case "NOT VIABLE": // does not compile
			default:
				if m.Line > len(lines) || m.Column > len(lines[m.Line-1]) {
					return 0, nil, fmt.Errorf("%s has no line %d with %d columns: run gremlins again", name, m.Line, m.Column)
				}
				survivors = append(survivors, name+" "+m.Kind+": "+mark(lines[m.Line-1], m.Column-1))
			}
		}
	}
	return killed, survivors, nil
}

// operator is what a mutant replaces: a token of signs, break or continue.
var operator = regexp.MustCompile(`^([-+*/%&|=<>!^]+|\w+)`)

// mark puts the operator at the index into «», so that a description holds
// when the line moves.
func mark(line string, at int) string {
	return strings.TrimSpace(line[:at] + operator.ReplaceAllString(line[at:], "«$1»"))
}

// readEquivalent returns the entries of the file for the package.
func readEquivalent(file, pkg string) ([]string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var entries, unexplained []string
	for line := range strings.Lines(string(text)) {
		entry := strings.TrimSpace(line)
		switch {
		case entry == "" || strings.HasPrefix(entry, "#"):
		case line[0] == '\t':
			unexplained = nil
		default:
			unexplained = append(unexplained, entry)
			if name, _, _ := strings.Cut(entry, " "); path.Dir(name) == pkg {
				entries = append(entries, entry)
			}
		}
	}
	if len(unexplained) > 0 {
		return nil, fmt.Errorf("%s: no reason for %q: add it on an indented line", file, unexplained[0])
	}
	return entries, nil
}
