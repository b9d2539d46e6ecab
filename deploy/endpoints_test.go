// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"cmp"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/castai/privatelink-webhook/internal/testutil/golden"
)

func TestNeededEndpoints(t *testing.T) {
	e, err := NeededEndpoints()
	if err != nil {
		t.Fatal(err)
	}
	if len(e.AWS) == 0 || len(e.CASTAI) == 0 || len(e.Regions) == 0 {
		t.Fatalf("%+v", e)
	}
	seen := map[string]bool{}
	for region, services := range e.Regions {
		if len(services) != len(e.CASTAI) {
			t.Errorf("%s has %d services, want %d", region, len(services), len(e.CASTAI))
		}
		pattern := regexp.MustCompile(`^com\.amazonaws\.vpce\.` + region + `\.vpce-svc-[0-9a-f]{17}$`)
		for _, s := range e.CASTAI {
			name := services[s.Name]
			if !pattern.MatchString(name) || seen[name] {
				t.Errorf("%s %s: %q", region, s.Name, name)
			}
			seen[name] = true
		}
	}
}

func TestEndpointTablesInDocs(t *testing.T) {
	e, err := NeededEndpoints()
	if err != nil {
		t.Fatal(err)
	}
	var awsTable, castaiTable strings.Builder
	awsTable.WriteString("| service | type | required | why |\n|---|---|---|---|\n")
	for _, s := range e.AWS {
		required := "no"
		if s.Required {
			required = "yes"
		}
		fmt.Fprintf(&awsTable, "| `%s` | %s | %s | %s |\n", s.Service, s.Type, required, s.Why)
	}
	castaiTable.WriteString("| name | host | for |\n|---|---|---|\n")
	for _, s := range e.CASTAI {
		fmt.Fprintf(&castaiTable, "| `%s` | %s | %s |\n", s.Name, cmp.Or(s.Host, "not known"), s.Why)
	}
	const file, begin, end = "../docs/reference/network.md", "-update -->\n", "<!-- end -->"
	document, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(string(document), begin)
	if len(parts) != 3 {
		t.Fatalf("%s has %d markers for tables, want 2", file, len(parts)-1)
	}
	var want strings.Builder
	want.WriteString(parts[0])
	for i, table := range []string{awsTable.String(), castaiTable.String()} {
		_, after, ok := strings.Cut(parts[i+1], end)
		if !ok {
			t.Fatalf("%s: a table has no end marker", file)
		}
		want.WriteString(begin + table + end + after)
	}
	if golden.Update() {
		if err := os.WriteFile(file, []byte(want.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := gocmp.Diff(want.String(), string(document)); diff != "" {
		t.Errorf("%s differs; update it with -update:\n%s", file, diff)
	}
}
