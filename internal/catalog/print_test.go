// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/castai/privatelink-webhook/internal/rewrite"
	"github.com/castai/privatelink-webhook/internal/testutil/golden"
)

// printed returns a list with an image of each kind: copied, named twice, derived,
// without a tag, kept, private, the webhook's own, and two that cannot be mapped.
func printed(t *testing.T) []Entry {
	t.Helper()
	l := New(rules(t, rewrite.Config{Keep: []string{"quay.io"}}))
	l.Add(gar+"/agent:v1", here)
	l.Add(gar+"/agent:v1", Origin{From: Chart, Name: "castai-agent"})
	l.Add(gar+"/kvisor-controller:v7", here)
	l.Add("quay.io/acme/x:1", here)
	l.Add(ecr+"/y:1", here)
	l.Add("X Y", here)
	l.Add("Z "+strings.Repeat("z", 8), Origin{From: Manifest, Name: strings.Repeat("long/", 20) + "a.yaml", Line: 3})
	l.addUntagged(gar+"/x", here)
	l.AddWebhook(carried, ecr+"/privatelink-webhook:v1", true)
	return l.Images()
}

func TestPrint(t *testing.T) {
	images := printed(t)
	for file, print := range map[string]func(*bytes.Buffer) error{
		"table.txt":   func(b *bytes.Buffer) error { return PrintTable(b, ecr, images) },
		"sources.txt": func(b *bytes.Buffer) error { return PrintSources(b, b, images) },
		"unmapped.txt": func(b *bytes.Buffer) error {
			if n := ReportUnmapped(b, images); n != 2 {
				t.Errorf("%d images are unmapped, want 2", n)
			}
			return nil
		},
	} {
		t.Run(file, func(t *testing.T) {
			var out bytes.Buffer
			if err := print(&out); err != nil {
				t.Fatal(err)
			}
			golden.Compare(t, "testdata/"+file, out.Bytes())
		})
	}
}

// Scripts read the output; the reasons are in the log.
func TestPrintSourcesSeparatesTheReasons(t *testing.T) {
	var out, log bytes.Buffer
	if err := PrintSources(&out, &log, printed(t)); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(out.String(), "not listed") || !strings.Contains(log.String(), gar+"/x: not listed: "+noteNoTag) {
		t.Errorf("out %s\nlog %s", &out, &log)
	}
}

type errWriter struct{ error }

func (w errWriter) Write([]byte) (int, error) { return 0, w.error }

func TestPrintReturnsWriteErrors(t *testing.T) {
	w := errWriter{os.ErrClosed}
	if err := PrintTable(w, ecr, printed(t)); err != os.ErrClosed {
		t.Errorf("table: %v", err)
	}
	if err := PrintSources(w, w, printed(t)); err != os.ErrClosed {
		t.Errorf("sources: %v", err)
	}
}
