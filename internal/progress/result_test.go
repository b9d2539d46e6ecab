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

// whole adds the header and the last line to what report prints.
func whole(r *Reporter, report func() error) error {
	if err := r.WriteHeader(); err != nil {
		return err
	}
	return r.WriteNext(report())
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
		"compared": {func(r *Reporter) error {
			return whole(r, func() error { return r.Compared(plan(), "run privatelink mirror with the same flags") })
		}, exitcode.Failed},
		"missing": {func(r *Reporter) error {
			return whole(r, func() error {
				return r.Compared(&mirror.Plan{Items: []*mirror.Item{item("a:1", mirror.StateMissing)}}, "run the command again without --dry-run")
			})
		}, exitcode.ActionNeeded},
		"present": {func(r *Reporter) error {
			return whole(r, func() error {
				return r.Compared(&mirror.Plan{Items: []*mirror.Item{item("a:1", mirror.StatePresent)}}, "")
			})
		}, exitcode.OK},
		"not-copied": {func(r *Reporter) error {
			return whole(r, func() error { return r.Copied(plan(), &done, 1234*time.Millisecond) })
		}, exitcode.Failed},
		"copied": {func(r *Reporter) error {
			return whole(r, func() error {
				return r.Copied(&mirror.Plan{Items: []*mirror.Item{item("a:1", mirror.StateCopied)}}, &done, time.Second)
			})
		}, exitcode.OK},
		"exported":        {func(r *Reporter) error { return r.Exported(summary, nil) }, exitcode.OK},
		"exported-partly": {func(r *Reporter) error { return r.Exported(summary, plan().Items[1:2]) }, exitcode.Failed},
	} {
		for format, extension := range map[output.Format]string{output.Text: ".txt", output.JSON: ".json"} {
			file := name + extension
			t.Run(file, func(t *testing.T) {
				var out bytes.Buffer
				r := New(Options{Out: &out, ErrOut: &out, Format: format, Version: "v1", Program: "privatelink check v1"})
				err := tc.report(r)
				if exitcode.Code(err) != tc.code {
					t.Errorf("exit code %d, want %d: %v", exitcode.Code(err), tc.code, err)
				}
				golden.Compare(t, filepath.Join("testdata", file), out.Bytes())
			})
		}
	}
}

// The last line agrees with the exit code, whatever fails after the report.
func TestWriteNext(t *testing.T) {
	present := &mirror.Plan{Items: []*mirror.Item{item("a:1", mirror.StatePresent)}}
	missing := &mirror.Plan{Items: []*mirror.Item{item("a:1", mirror.StateMissing), item("b:1", mirror.StateDiffers)}}
	lockErr := errors.New("the lock file cannot be written")
	for name, tc := range map[string]struct {
		plan   *mirror.Plan
		change func(error) error
		want   string
	}{
		"nothing is missing":           {present, func(err error) error { return err }, "Next: nothing to do, all images are in the private registry\n"},
		"an error after the report":    {present, func(error) error { return lockErr }, "Next: correct the errors, and run the command again\n"},
		"images are missing or differ": {missing, func(err error) error { return err }, "Next: copy the images: R; a tag that differs is moved by --overwrite only\n"},
		"both":                         {missing, func(error) error { return lockErr }, "Next: correct the errors; then copy the images: R; a tag that differs is moved by --overwrite only\n"},
		"no report":                    {nil, func(error) error { return lockErr }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			r := New(Options{Out: &out, ErrOut: &out})
			var err error
			if tc.plan != nil {
				err = r.Compared(tc.plan, "R")
			}
			out.Reset()
			err = tc.change(err)
			if got := r.WriteNext(err); !errors.Is(got, err) || out.String() != tc.want {
				t.Errorf("%q, error %v, want %q", &out, got, tc.want)
			}
		})
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
