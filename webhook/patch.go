// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/castai/privatelink-webhook/internal/jsonpatch"
	"github.com/castai/privatelink-webhook/internal/podspec"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// maxRecord bounds the value of podspec.OriginalImages in bytes, maxAnnotations all
// annotations of a pod: the API server rejects a pod that has more.
const (
	maxRecord      = 32 << 10
	maxAnnotations = 256 << 10
)

// noPatch is the patch that changes nothing. kubewebhook always sets patchType, and
// the API server rejects a response that has a patchType but no patch.
var noPatch = []byte("[]")

// Change is an image reference that was examined, and the result of mapping it.
type Change struct {
	podspec.ImageField
	rewrite.Result
}

// The values of Report.Skipped.
const (
	skippedStaticPod = "a static pod: change its manifest on the node"
	skippedOperation = "only the creation and the update of pods and of their ephemeral containers are handled: check the rules of the webhook configuration"
	skippedTooLarge  = "too many images or fields"
	skippedInvalid   = "invalid pod" // Report.Err says why
)

// Report describes what a patch does, for logs, metrics and warnings.
type Report struct {
	// Pod is the name, or generateName followed by an asterisk.
	Pod string
	// Images are all references that were examined, rewritten or not.
	Images []Change
	// Skipped says why no references were examined, for the log. It is empty if they were.
	Skipped string
	// Err is the error in a pod that was skipped because it is invalid or too large.
	Err error
}

// Changed is the number of references that were rewritten.
func (r Report) Changed() int {
	n := 0
	for _, c := range r.Images {
		if c.Changed() {
			n++
		}
	}
	return n
}

// Patcher computes JSON patches for pods under one set of rules. It is immutable
// and safe for concurrent use.
//
// Patches only replace strings that were just read and add one annotation: an
// operation that cannot be applied makes the API server reject the pod, whatever
// the failure policy.
type Patcher struct {
	cache   resultCache
	scanner *podspec.Scanner
}

// NewPatcher returns a Patcher for the rules.
func NewPatcher(rules *rewrite.Rules) *Patcher {
	scanner := podspec.NewScanner(rules.EnvVars(), []string{podspec.OriginalImages, podspec.MirrorPodAnnotation})
	scanner.MaxImages = maxImages
	return &Patcher{cache: newResultCache(rules), scanner: scanner}
}

// The limits of a pod that is examined. They bound the memory of a review: an
// image costs about a kilobyte until it is answered, and the search for duplicate
// keys about 80 bytes a key. Pods that run have some dozens and some hundreds.
const (
	maxImages = 8192
	maxFields = 300_000
)

var errTooManyFields = errors.New("pod: too many fields")

// scan reads the pod if it is within the limits. Colons are counted instead of
// fields: there are at least as many, and their number is known without decoding.
func (p *Patcher) scan(pod []byte) (podspec.Pod, error) {
	if bytes.Count(pod, []byte(":")) > maxFields {
		return podspec.Pod{}, errTooManyFields
	}
	return p.scanner.Scan(pod)
}

// unread is the report of a pod that could not be scanned.
func unread(err error) Report {
	if errors.Is(err, errTooManyFields) || errors.Is(err, podspec.ErrTooManyImages) {
		return Report{Skipped: skippedTooLarge, Err: err}
	}
	return Report{Skipped: skippedInvalid, Err: err}
}

// Create returns the JSON patch (RFC 6902) for a pod, as JSON, that is being
// created: its image references, the environment values of the configured names,
// and the annotation podspec.OriginalImages. It never returns an error: an invalid pod and
// references that cannot be mapped are not changed and are reported. The patch
// that changes nothing is [].
func (p *Patcher) Create(pod []byte) ([]byte, Report) {
	seen, err := p.scan(pod)
	if err != nil {
		return noPatch, unread(err)
	}
	report := Report{Pod: podName(seen)}
	if isStatic(seen) {
		report.Skipped = skippedStaticPod
		return noPatch, report
	}
	patch := p.replace(seen.Images, &report, func(i podspec.ImageField) bool { return i.List != ephemeral })
	if !patch.IsEmpty() && seen.HasMetadata {
		p.record(seen, report, &patch)
	}
	return patch.Patch(), report
}

// Update returns the JSON patch for an update of a pod, like Create. A reference
// is changed only if the update sets it: if the old pod has no such field, by the
// names of container, variable and volume, or has another value in it. So a pod
// that runs is never restarted by a change of something else, and to apply a
// public manifest again changes nothing. No annotation is added: it records the
// creation.
//
// If names repeat, as those of environment variables may, a value counts as
// unchanged if the old pod has it in any field of the same names.
func (p *Patcher) Update(pod, old []byte) ([]byte, Report) {
	if string(old) == "null" { // everything would count as set by the update
		return noPatch, unread(errors.New("old pod: an update without the old pod"))
	}
	return p.update(pod, old, func(before []podspec.ImageField) func(podspec.ImageField) bool {
		unchanged := make(map[fieldValue]bool, len(before))
		for _, i := range before {
			unchanged[valueOf(i)] = true
		}
		return func(i podspec.ImageField) bool { return i.List != ephemeral && !unchanged[valueOf(i)] }
	})
}

// UpdateEphemeral returns the JSON patch for an update of the subresource
// pods/ephemeralcontainers, like Create. Only entries that the update adds are
// changed: the API server rejects a change of existing ones. It ignores
// annotations in this subresource, so none is added.
func (p *Patcher) UpdateEphemeral(pod, old []byte) ([]byte, Report) {
	return p.update(pod, old, func(before []podspec.ImageField) func(podspec.ImageField) bool {
		existing := map[string]bool{}
		for _, i := range before {
			existing[i.Location()] = true
		}
		return func(i podspec.ImageField) bool { return i.List == ephemeral && !existing[i.Location()] }
	})
}

// update patches the references that the update sets, in the judgment of the
// function that compare returns for the references of the old pod.
func (p *Patcher) update(pod, old []byte, compare func(before []podspec.ImageField) func(podspec.ImageField) bool) ([]byte, Report) {
	seen, err := p.scan(pod)
	if err != nil {
		return noPatch, unread(err)
	}
	before, err := p.scan(old)
	if err != nil {
		return noPatch, unread(fmt.Errorf("old %w", err))
	}
	report := Report{Pod: podName(seen)}
	if isStatic(seen) {
		report.Skipped = skippedStaticPod
		return noPatch, report
	}
	patch := p.replace(seen.Images, &report, compare(before.Images))
	return patch.Patch(), report
}

// fieldValue is a reference and its field, by names instead of positions. It is
// not Location with the value, because names in hostile pods can contain slashes.
type fieldValue struct {
	list, item, env string
	isEnv           bool
	value           string
}

func valueOf(i podspec.ImageField) fieldValue {
	return fieldValue{i.List, i.Item, i.Env, i.EnvIndex >= 0, i.Value}
}

func isStatic(p podspec.Pod) bool {
	_, ok := p.Annotations[podspec.MirrorPodAnnotation]
	return ok
}

const ephemeral = "ephemeralContainers"

func (p *Patcher) replace(images []podspec.ImageField, report *Report, wanted func(podspec.ImageField) bool) (patch jsonpatch.Builder) {
	report.Images = make([]Change, 0, len(images))
	for _, image := range images {
		if !wanted(image) {
			continue
		}
		result := p.cache.get(image)
		report.Images = append(report.Images, Change{image, result})
		if result.Changed() {
			if patch.IsEmpty() {
				patch.Grow(512 + 256*len(images)) // of most patches, with the record
			}
			patch.Replace(image.Pointer(), result.Target)
		}
	}
	return patch
}

// record adds the annotation. An entry of an earlier invocation is kept if the
// rules map it to the current image; an entry that came with a copied manifest is
// not, and is not used for anything else. If the annotations of the pod would
// become too large, none is added.
func (p *Patcher) record(pod podspec.Pod, report Report, patch *jsonpatch.Builder) {
	earlier, _ := pod.OriginalImages() // users can write anything into it
	originals, size, dropped := make(map[string]string, len(report.Images)), 0, 0
	for _, c := range report.Images {
		location, original := c.Location(), c.Source
		if !c.Changed() {
			original = earlier[location]
			if explained := p.cache.get(podspec.ImageField{Value: original, EnvIndex: -1}); !explained.Changed() || explained.Target != c.Source {
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
	value := string(jsonpatch.AppendObject(make([]byte, 0, size+16), originals))
	switch {
	case pod.AnnotationsSize+len(podspec.OriginalImages)+len(value) > maxAnnotations:
	case !pod.HasAnnotations:
		patch.AddObject("/metadata/annotations", map[string]string{podspec.OriginalImages: value})
	default:
		patch.Add("/metadata/annotations/"+jsonpatch.Escape(podspec.OriginalImages), value)
	}
}

func podName(p podspec.Pod) string {
	if p.Name == "" && p.GenerateName != "" {
		return p.GenerateName + "*"
	}
	return p.Name
}

// Warning returns the warning that kubectl prints, on one line of less than 120
// characters: how many references were not rewritten, and why the first was not.
// It is empty if there are none. It has no environment values. The API server may
// cut warnings at 256 characters.
func (r Report) Warning() string {
	switch r.Skipped {
	case skippedTooLarge:
		return fmt.Sprintf("privatelink: more than %d images or %d fields, images not rewritten", maxImages, maxFields)
	case skippedInvalid:
		return "privatelink: pod not understood, images not rewritten: see the log of privatelink-webhook"
	}
	unmapped, first := 0, Change{}
	for _, c := range r.Images {
		if c.Outcome == rewrite.Unmapped {
			if unmapped++; unmapped == 1 {
				first = c
			}
		}
	}
	if unmapped == 0 {
		return ""
	}
	what := cut(first.Source, 24)
	if first.EnvIndex >= 0 {
		what = cut(first.Location(), 40)
	}
	// Quoted: the API server drops a warning with control characters.
	return fmt.Sprintf("privatelink: %d not rewritten: %s: %s", unmapped, cut(fmt.Sprintf("%+q", what), 42), cut(first.Reason.Text(), 40))
}

// cut shortens text to about n bytes.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n-3], "") + "..."
}
