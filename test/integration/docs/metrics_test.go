// SPDX-License-Identifier: Apache-2.0

package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var (
	metricInCode  = regexp.MustCompile(`"(privatelink_[a-z_]+)"`)
	metricInTable = regexp.MustCompile("(?m)^\\| `(privatelink_[a-z_]+)` \\|")
)

func TestMetricsTableIsComplete(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(repository, "webhook", "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	var code []string
	for _, f := range files {
		if strings.HasSuffix(f, "_test.go") {
			continue
		}
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range metricInCode.FindAllStringSubmatch(string(text), -1) {
			code = append(code, m[1])
		}
	}
	page, err := os.ReadFile(filepath.Join(repository, "docs", "reference", "metrics.md"))
	if err != nil {
		t.Fatal(err)
	}
	var table []string
	for _, m := range metricInTable.FindAllStringSubmatch(string(page), -1) {
		table = append(table, m[1])
	}
	slices.Sort(code)
	slices.Sort(table)
	if d := cmp.Diff(slices.Compact(code), table); d != "" {
		t.Errorf("docs/reference/metrics.md differs from the code (-code +page):\n%s", d)
	}
}
