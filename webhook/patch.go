// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/castai/privatelink-webhook/internal/jsonpatch"
	"github.com/castai/privatelink-webhook/internal/podspec"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// OriginalImages is the annotation that records, on pods that were created with
// public images, what each image was: a JSON object, location → reference.
const OriginalImages = "privatelink.cast.ai/original-images"

// maxRecord bounds the annotation's value, maxAnnotations what all annotations
// of a pod may come to: the API server refuses a pod that has more.
const (
	maxRecord      = 32 << 10
	maxAnnotations = 256 << 10
)

// noPatch is the answer when nothing changes. kubewebhook always sends a
// patchType, and the API server refuses one without a patch.
var noPatch = []byte("[]")

// Change is one image reference that was looked at.
type Change struct {
	podspec.ImageField
	rewrite.Result
}

// Report says what a review came to.
type Report struct {
	Pod    string   // name, or generateName with an asterisk
	Images []Change // every reference that was looked at
	// Skipped says why nothing was looked at; "" otherwise.
	Skipped string
}

// Changed counts the references that were rewritten.
func (r Report) Changed() int {
	n := 0
	for _, c := range r.Images {
		if c.Changed() {
			n++
		}
	}
	return n
}

// Patcher turns pods into patches under one set of rules. It is pure, immutable
// and safe for concurrent use.
//
// Patches only replace strings that were just read and add one annotation: an
// operation that cannot be applied makes the API server reject the pod, whatever
// the failure policy.
type Patcher struct {
	answers answers
	scanner *podspec.Scanner
}

// NewPatcher returns a patcher for the rules.
func NewPatcher(rules *rewrite.Rules) *Patcher {
	return &Patcher{answers: newAnswers(rules), scanner: podspec.NewScanner(rules.EnvVars(), []string{OriginalImages, podspec.MirrorPodAnnotation})}
}

// Create returns the JSON patch for a pod that is being created: its image
// references, the listed environment values, and the annotation that records
// the originals. It never fails: what cannot be understood is left alone.
func (p *Patcher) Create(pod []byte) ([]byte, Report) {
	seen, err := p.scanner.Scan(pod)
	if err != nil {
		return noPatch, notUnderstood("", err)
	}
	report := Report{Pod: podName(seen)}
	if _, mirror := seen.Annotations[podspec.MirrorPodAnnotation]; mirror {
		report.Skipped = "a static pod: change its manifest on the node"
		return noPatch, report
	}
	ops := p.replace(seen.Images, &report, func(i podspec.ImageField) bool { return i.List != ephemeral })
	if len(ops) > 0 && seen.HasMetadata {
		ops = append(ops, p.record(seen, report)...)
	}
	return encode(ops), report
}

// UpdateEphemeral returns the JSON patch for an update of the subresource
// pods/ephemeralcontainers. Only entries that the update adds are touched: the
// API server refuses a change of existing ones. It keeps no annotation of this
// subresource, so none is written.
func (p *Patcher) UpdateEphemeral(pod, old []byte) ([]byte, Report) {
	seen, err := p.scanner.Scan(pod)
	if err != nil {
		return noPatch, notUnderstood("", err)
	}
	before, err := p.scanner.Scan(old)
	if err != nil {
		return noPatch, notUnderstood("old ", err)
	}
	existing := map[string]bool{}
	for _, i := range before.Images {
		existing[i.Location()] = true
	}
	report := Report{Pod: podName(seen)}
	ops := p.replace(seen.Images, &report, func(i podspec.ImageField) bool {
		return i.List == ephemeral && !existing[i.Location()]
	})
	return encode(ops), report
}

const ephemeral = "ephemeralContainers"

// notUnderstood cuts the error, which quotes keys of any length.
func notUnderstood(which string, err error) Report {
	return Report{Skipped: cut(which+err.Error(), 300)}
}

func (p *Patcher) replace(images []podspec.ImageField, report *Report, wanted func(podspec.ImageField) bool) (ops []jsonpatch.Operation) {
	report.Images, ops = make([]Change, 0, len(images)), make([]jsonpatch.Operation, 0, len(images)+1)
	for _, image := range images {
		if !wanted(image) {
			continue
		}
		result := p.answers.of(image)
		report.Images = append(report.Images, Change{image, result})
		if result.Changed() {
			ops = append(ops, jsonpatch.Replace(image.Pointer(), result.Target))
		}
	}
	return ops
}

// record adds the annotation. What an earlier round recorded is kept where it
// still explains the image that stands there now; a value that came with a
// copied manifest does not, and is never trusted for anything else. A pod that
// has no room for the annotation goes without.
func (p *Patcher) record(pod podspec.Pod, report Report) []jsonpatch.Operation {
	var earlier map[string]string
	if err := json.Unmarshal([]byte(pod.Annotations[OriginalImages]), &earlier); err != nil {
		earlier = nil
	}
	originals, size, dropped := make(map[string]string, len(report.Images)), 0, 0
	for _, c := range report.Images {
		location, original := c.Location(), c.Source
		if !c.Changed() {
			original = earlier[location]
			if explained := p.answers.of(podspec.ImageField{Value: original, EnvIndex: -1}); !explained.Changed() || explained.Target != c.Source {
				continue
			}
		}
		if size += len(location) + len(original) + 8; size > maxRecord {
			dropped++
			continue
		}
		originals[location] = original
	}
	if dropped > 0 {
		originals["..."] = fmt.Sprintf("%d more", dropped)
	}
	value, _ := json.Marshal(originals) // strings only: cannot fail
	switch {
	case pod.AnnotationsSize+len(OriginalImages)+len(value) > maxAnnotations:
		return nil
	case !pod.HasAnnotations:
		return []jsonpatch.Operation{jsonpatch.Add("/metadata/annotations", map[string]string{OriginalImages: string(value)})}
	}
	return []jsonpatch.Operation{jsonpatch.Add("/metadata/annotations/"+jsonpatch.Escape(OriginalImages), string(value))}
}

func encode(ops []jsonpatch.Operation) []byte {
	if len(ops) == 0 {
		return noPatch
	}
	patch, _ := json.Marshal(ops) // strings and a map of strings: cannot fail
	return patch
}

func podName(p podspec.Pod) string {
	if p.Name == "" && p.GenerateName != "" {
		return p.GenerateName + "*"
	}
	return p.Name
}

// Warning is what the user of kubectl is told: only what was not rewritten, in
// one line for the whole pod, without environment values. The API server may
// cut warnings at 256 characters; this stays below 120.
func (r Report) Warning() string {
	if strings.HasPrefix(r.Skipped, "pod") || strings.HasPrefix(r.Skipped, "old pod") {
		return "privatelink: pod not understood, images left alone; see the log of privatelink-webhook"
	}
	left, first := 0, Change{}
	for _, c := range r.Images {
		if c.Outcome == rewrite.Unmapped {
			if left++; left == 1 {
				first = c
			}
		}
	}
	if left == 0 {
		return ""
	}
	what := cut(first.Source, 24)
	if first.EnvIndex >= 0 {
		what = cut(first.Location(), 40)
	}
	// Quoted: the API server drops a warning with control characters.
	return fmt.Sprintf("privatelink: %d not rewritten: %s: %s", left, cut(fmt.Sprintf("%+q", what), 42), cut(first.Reason.Text(), 40))
}

// cut shortens text to about n bytes.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n-3], "") + "..."
}
