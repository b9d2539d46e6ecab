// SPDX-License-Identifier: Apache-2.0

package progress

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/castai/privatelink-webhook/internal/exitcode"
	"github.com/castai/privatelink-webhook/internal/mirror"
	"github.com/castai/privatelink-webhook/internal/output"
	"github.com/castai/privatelink-webhook/internal/target"
)

// Images are grouped by what needs them, and names are text.
func TestHTML(t *testing.T) {
	item := func(name string, s mirror.State, why ...string) *mirror.Item {
		return &mirror.Item{Job: mirror.Job{Source: "ghcr.io/castai/" + name, Target: "r.example.com/castai/" + name, Why: why}, State: s}
	}
	failed := item("d:v1", mirror.StateFailed)
	failed.Err = errors.New("no <answer>")
	var out, log bytes.Buffer
	r := New(Options{Out: &out, ErrOut: &log, Format: output.HTML, Version: "v0.1.0", Target: target.Target{Registry: "r.example.com/castai"}})
	r.Event(mirror.Event{Kind: mirror.EventWarning, Source: "ghcr.io/castai/a:v1", Message: "slow"})
	err := r.Compared(&mirror.Plan{Items: []*mirror.Item{item("a:v1", mirror.StatePresent, "chart agent"), item("<b>:v1", mirror.StateMissing, "chart kvisor"), item("c:v1", mirror.StateMissing, "chart agent"), failed}}, "")
	if exitcode.Code(err) != exitcode.Failed || !strings.Contains(log.String(), "slow") {
		t.Errorf("%v, log %q", err, &log)
	}
	for _, want := range []string{
		"2 of 4 images are missing", `<h2 id="group-0">Images of chart agent</h2>`, `<h2 id="group-1">Images of chart kvisor</h2>`, `<h2 id="group-2">Images of the lock file</h2>`,
		"r.example.com/castai/&lt;b&gt;:v1: failed</h3>", "no &lt;answer&gt;", `<td class="ok">ok</td>`,
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %s", want)
		}
	}
	if strings.Contains(out.String(), "<b>:v1") || strings.Count(out.String(), "<!DOCTYPE html>") != 1 {
		t.Error("markup, or not one document")
	}
}
