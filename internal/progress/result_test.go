// SPDX-License-Identifier: Apache-2.0

package progress

import (
	"bytes"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/castai/privatelink-webhook/internal/exitcode"
	"github.com/castai/privatelink-webhook/internal/mirror"
	"github.com/castai/privatelink-webhook/internal/mirror/archive"
	"github.com/castai/privatelink-webhook/internal/output"
	"github.com/castai/privatelink-webhook/internal/testutil/golden"
)

func item(name string, state mirror.State) *mirror.Item {
	return &mirror.Item{Job: mirror.Job{Source: "ghcr.io/" + name, Target: "r/" + name}, State: state}
}

// plan has an image in each state that can precede a run.
func plan() *mirror.Plan {
	failed, differs := item("failed:1", mirror.StateFailed), item("differs:1", mirror.StateDiffers)
	failed.Err = errors.New("HTTP 500")
	differs.Found = "sha256:ba98"
	return &mirror.Plan{
		Items:  []*mirror.Item{item("missing:1", mirror.StateMissing), failed, item("present:1", mirror.StatePresent), differs},
		Create: []string{"castai/missing"}, Manifests: 3, Upload: 2048, Mount: 1024, Read: 3072,
	}
}

// TestResults compares what is printed with testdata/<result>.txt and .json.
func TestResults(t *testing.T) {
	var done mirror.Progress
	done.Done.Store(4096)
	done.Mounted.Store(1024)
	summary := archive.Summary{
		Parts: []archive.Part{{Name: "a.tar", Size: 2048, Digest: "sha256:0123"}}, Size: 2048, Images: 2, Blobs: 5,
		Fetched: 1024, Kept: 512, Assumed: 4096, Unread: []string{"ghcr.io/old:1: not found"},
	}
	for name, tc := range map[string]struct {
		report func(*Reporter) error
		code   int
	}{
		"compared": {func(r *Reporter) error { return r.Compared(plan()) }, exitcode.Failed},
		"missing": {func(r *Reporter) error {
			return r.Compared(&mirror.Plan{Items: []*mirror.Item{item("a:1", mirror.StateMissing)}})
		}, exitcode.ActionNeeded},
		"present": {func(r *Reporter) error {
			return r.Compared(&mirror.Plan{Items: []*mirror.Item{item("a:1", mirror.StatePresent)}})
		}, exitcode.OK},
		"not-copied": {func(r *Reporter) error { return r.Copied(plan(), &done, 1234*time.Millisecond) }, exitcode.Failed},
		"copied": {func(r *Reporter) error {
			return r.Copied(&mirror.Plan{Items: []*mirror.Item{item("a:1", mirror.StateCopied)}}, &done, time.Second)
		}, exitcode.OK},
		"exported":        {func(r *Reporter) error { return r.Exported(summary, nil) }, exitcode.OK},
		"exported-partly": {func(r *Reporter) error { return r.Exported(summary, plan().Items[1:2]) }, exitcode.Failed},
	} {
		for format, extension := range map[output.Format]string{output.Text: ".txt", output.JSON: ".json"} {
			file := name + extension
			t.Run(file, func(t *testing.T) {
				var out bytes.Buffer
				err := tc.report(New(Options{Out: &out, ErrOut: &out, Format: format, Version: "v1"}))
				if exitcode.Code(err) != tc.code {
					t.Errorf("exit code %d, want %d: %v", exitcode.Code(err), tc.code, err)
				}
				golden.Compare(t, filepath.Join("testdata", file), out.Bytes())
			})
		}
	}
}

func TestAFirstExportOmitsEmptyFields(t *testing.T) {
	var out bytes.Buffer
	if err := New(Options{Out: &out, ErrOut: &out}).Exported(archive.Summary{Images: 1, Size: 1024, Fetched: 1024}, nil); err != nil {
		t.Error(err)
	}
	if got := strings.TrimSpace(out.String()); got != "1 images, 1.0 KiB; 1.0 KiB were fetched" {
		t.Errorf("%q", got)
	}
}
