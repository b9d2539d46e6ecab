// SPDX-License-Identifier: Apache-2.0

package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var directRequirement = regexp.MustCompile(`(?m)^\t(\S+) v\S+$`)

func TestEveryDirectRequirementHasAReason(t *testing.T) {
	mod, err := os.ReadFile(filepath.Join(repository, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	table, err := os.ReadFile(filepath.Join(repository, "docs", "adr", "0007-libraries.md"))
	if err != nil {
		t.Fatal(err)
	}
	required := directRequirement.FindAllStringSubmatch(string(mod), -1)
	if len(required) < 20 {
		t.Fatalf("only %d requirements: the search is wrong", len(required))
	}
	for _, m := range required {
		// A module of a larger repository is covered by the repository's entry.
		name := m[1]
		for name != "" && !strings.Contains(string(table), "`"+name+"`") {
			name = name[:max(0, strings.LastIndexByte(name, '/'))]
		}
		if strings.Count(name, "/") == 0 {
			t.Errorf("docs/adr/0007-libraries.md does not list %s", m[1])
		}
	}
}
