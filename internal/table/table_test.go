// SPDX-License-Identifier: Apache-2.0

package table

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/mattn/go-runewidth"

	"github.com/castai/privatelink-webhook/internal/terminal"
)

func images(t *Table) {
	t.Text("# .../ is 123456789012.dkr.ecr.us-east-1.amazonaws.com/castai-with-a-long-prefix/of-a-team/")
	t.Row("SOURCE", "TARGET", "WHY")
	t.Row("us-docker.pkg.dev/castai-hub/library/kvisor-controller:v1.164.8", ".../kvisor-controller:v1.164.8", "catalog castai-kvisor (phase2, umbrella) and 3 more")
	t.Row("-", ".../y:1", "already private")
}

func TestAPipeGetsTheWhole(t *testing.T) {
	var out bytes.Buffer
	table := New(&out)
	images(table)
	table.Row("not aligned: a last cell of a row that has fewer than others, however long it may be")
	if err := table.Flush(); err != nil {
		t.Fatal(err)
	}
	const want = `# .../ is 123456789012.dkr.ecr.us-east-1.amazonaws.com/castai-with-a-long-prefix/of-a-team/
SOURCE                                                           TARGET                          WHY
us-docker.pkg.dev/castai-hub/library/kvisor-controller:v1.164.8  .../kvisor-controller:v1.164.8  catalog castai-kvisor (phase2, umbrella) and 3 more
-                                                                .../y:1                         already private
not aligned: a last cell of a row that has fewer than others, however long it may be
`
	if out.String() != want {
		t.Errorf("%s\nwant\n%s", &out, want)
	}
}

func TestATerminalGetsOneLineARow(t *testing.T) {
	for _, limit := range []int{40, 80, 120, 1000} {
		var out bytes.Buffer
		table := &Table{out: &out, limit: limit}
		images(table)
		table.Row("NO", "unknown: the metrics of the replica cannot be read: connection refused by the node")
		if err := table.Flush(); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		if len(lines) != 5 {
			t.Errorf("%d lines for 5 rows:\n%s", len(lines), &out)
		}
		for _, line := range lines[1:] {
			if w := runewidth.StringWidth(line); w > limit {
				t.Errorf("%d columns of %d: %s", w, limit, line)
			}
		}
		if limit == 80 {
			const want = "us-docker.pk…ler:v1.164.8  .../kvisor-c…ler:v1.164.8  catalog castai-kvisor (ph…"
			if lines[2] != want {
				t.Errorf("%s\nwant %s", lines[2], want)
			}
		}
		if limit == 1000 && strings.Contains(out.String(), ellipsis) {
			t.Errorf("a wide terminal:\n%s", &out)
		}
	}
}

func TestCut(t *testing.T) {
	for _, tc := range []struct {
		text  string
		width int
		want  string
	}{
		{"agent:v1", 8, "agent:v1"},
		{"library/agent:v1.2.3", 11, "libra…1.2.3"},
		{"library/agent:v1.2.3", 10, "libra….2.3"},
		{"the webhook's certificate expires", 12, "the webhook…"},
		{"", 8, ""},
		{"größer/日本日本日本日本/x:v1", 12, "größer…/x:v1"},
	} {
		got := cut(tc.text, tc.width)
		if got != tc.want || runewidth.StringWidth(got) > tc.width {
			t.Errorf("cut(%q, %d) = %q, want %q", tc.text, tc.width, got, tc.want)
		}
	}
}

func TestCellsAreOneLine(t *testing.T) {
	var out bytes.Buffer
	table := New(&out)
	table.Row("a\nb\tc\x1b[2K", "x")
	table.Row("short", "y")
	if err := table.Flush(); err != nil {
		t.Fatal(err)
	}
	if want := `a\nb\tc\x1b[2K  x` + "\n" + `short           y` + "\n"; out.String() != want {
		t.Errorf("%q, want %q", &out, want)
	}
}

func TestStylesAreForTerminals(t *testing.T) {
	var out bytes.Buffer
	table := New(&out)
	table.Row("FAIL", "x")
	table.Style(0, terminal.Red)
	if err := table.Flush(); err != nil || out.String() != "FAIL  x\n" {
		t.Errorf("%v, %q", err, &out)
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, os.ErrClosed }

func TestFlushReturnsWriteErrors(t *testing.T) {
	table := New(failing{})
	images(table)
	if err := table.Flush(); !errors.Is(err, os.ErrClosed) {
		t.Error(err)
	}
}

func FuzzCut(f *testing.F) {
	f.Add("library/agent:v1.2.3", 10)
	f.Add("日本日本", 5)
	f.Add("e\u0301e\u0301e\u0301", 2)
	f.Fuzz(func(t *testing.T, text string, width int) {
		if width < minWidth || width > 1000 {
			return
		}
		text = terminal.EscapeLine(text)
		if got := cut(text, width); runewidth.StringWidth(got) > width {
			t.Errorf("cut(%q, %d) = %q has %d columns", text, width, got, runewidth.StringWidth(got))
		}
	})
}
