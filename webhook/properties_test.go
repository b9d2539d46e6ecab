// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"bytes"
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/castai/privatelink-webhook/internal/podspec"
	"github.com/castai/privatelink-webhook/internal/testutil/corpus"
)

func TestPropertiesOverTheCorpus(t *testing.T) {
	p, pods := testPatcher(t), corpus.Pods()
	for name, pod := range pods {
		t.Run(name, func(t *testing.T) {
			checkCreate(t, p, pod)
			for _, old := range []string{"minimal", "agent", "image-volume", "env-values"} {
				checkUpdate(t, p, pod, pods[old])
			}
		})
	}
	t.Run("ephemeral containers", func(t *testing.T) { checkEphemeral(t, p, pods["ephemeral.new"], pods["ephemeral.old"]) })
}

func FuzzPatch(f *testing.F) {
	pods := corpus.Pods()
	delete(pods, "hundred-containers") // as a seed it only slows mutation down
	for i, name := range slices.Sorted(maps.Keys(pods)) {
		var pod bytes.Buffer
		if err := json.Compact(&pod, pods[name]); err != nil {
			f.Fatal(err)
		}
		choices := make([]byte, 64)
		for j := range choices {
			choices[j] = byte(i*31 + j*j*7)
		}
		f.Add(pod.Bytes(), choices, "docker.io/acme/widget:v7", `{"containers/a":"us-docker.pkg.dev/castai-hub/library/agent:v1"}`)
	}
	p := testPatcher(f)
	f.Fuzz(func(t *testing.T, pod, choices []byte, image, record string) {
		checkCreate(t, p, pod)
		checkEphemeral(t, p, pod, pods["ephemeral.old"])
		checkEphemeral(t, p, pods["ephemeral.new"], pod)
		checkUpdate(t, p, pod, pods["env-values"])
		checkUpdate(t, p, pods["env-values"], pod)

		g := generator{choices: choices, images: []any{
			image, "ghcr.io/castai/images/agent:v1", "us-docker.pkg.dev/castai-hub/library/agent:v1", registry + "/agent:v1",
			registry + "/ghcr.io/castai/images/agent:v1", "busybox", "v1.2.3", "", nil, "Ghcr.IO/x:1", corpus.Kept + "/x:1",
		}, record: record}
		one, two := encoded(t, g.pod()), encoded(t, g.pod())
		checkCreate(t, p, one)
		checkEphemeral(t, p, one, two)
		checkUpdate(t, p, one, two)
	})
}

// generator makes pods of all shapes, one choice a byte; mutations of the text
// of a pod seldom end in a pod. Names repeat, and many values are missing.
type generator struct {
	choices []byte
	images  []any
	record  string
}

func (g *generator) choose(n int) int {
	if len(g.choices) == 0 {
		return 0
	}
	c := int(g.choices[0])
	g.choices = g.choices[1:]
	return c % n
}

// maybe sets a key, mostly.
func (g *generator) maybe(m map[string]any, key string, value func() any) {
	switch g.choose(8) {
	case 0:
	case 1:
		m[key] = nil
	default:
		m[key] = value()
	}
}

func (g *generator) one(of ...any) func() any { return func() any { return of[g.choose(len(of))] } }

func (g *generator) list(item func(map[string]any)) func() any {
	return func() any {
		out := []any{}
		for range g.choose(4) {
			m := map[string]any{}
			item(m)
			out = append(out, m)
		}
		return out
	}
}

func (g *generator) pod() any {
	names, image := g.one("a", "b", "a/env/SCANNERS_IMAGE", "ü<\n"), g.one(g.images...)
	container := func(c map[string]any) {
		g.maybe(c, "name", names)
		g.maybe(c, "image", image)
		g.maybe(c, "future", g.one(json.Number("1.50"), "x", []any{}))
		g.maybe(c, "env", g.list(func(v map[string]any) {
			g.maybe(v, "name", g.one("SCANNERS_IMAGE", "OTHER"))
			g.maybe(v, "value", image)
		}))
	}
	pod := map[string]any{}
	g.maybe(pod, "metadata", func() any {
		m := map[string]any{}
		g.maybe(m, "name", names)
		g.maybe(m, "annotations", func() any {
			a := map[string]any{}
			g.maybe(a, "x/y", g.one("1"))
			g.maybe(a, podspec.OriginalImages, g.one(g.record))
			return a
		})
		return m
	})
	g.maybe(pod, "spec", func() any {
		s := map[string]any{}
		for _, list := range []string{"containers", "initContainers", "ephemeralContainers"} {
			g.maybe(s, list, g.list(container))
		}
		g.maybe(s, "volumes", g.list(func(v map[string]any) {
			g.maybe(v, "name", names)
			g.maybe(v, "image", func() any {
				source := map[string]any{}
				g.maybe(source, "reference", image)
				return source
			})
		}))
		return s
	})
	return pod
}

// checkCreate holds for every text, pod or not.
func checkCreate(t *testing.T, p *Patcher, pod []byte) {
	t.Helper()
	given := bytes.Clone(pod)
	patch, report := p.Create(pod)
	if !bytes.Equal(given, pod) {
		t.Fatal("the pod was written to")
	}
	checkReport(t, report)
	if report.Skipped != "" {
		if string(patch) != "[]" {
			t.Fatalf("skipped: %s, but the patch is %s", report.Skipped, patch)
		}
		return
	}
	checkOperations(t, patch, "create")
	before := decode(t, pod)
	after := applied(t, pod, patch)
	checkAnnotations(t, before, decode(t, after), string(patch) != "[]")

	want, got := decode(t, pod), decode(t, after)
	rewriteTree(p.cache.rules, want)
	forget(want)
	forget(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("the patched pod is not the pod with its references rewritten (-want +got):\n%s\npatch %s", diff, patch)
	}
	if second, _ := p.Create(after); string(second) != "[]" {
		t.Fatalf("a second pass changes %s to\n%s", after, second)
	}
	checkReinvocation(t, p, after)
	checkSecondApply(t, p, pod, after)
}

// checkSecondApply sends the pod that was created, as kubectl apply does, in an
// update of the pod that was stored; and an update that changes nothing.
func checkSecondApply(t *testing.T, p *Patcher, pod, stored []byte) {
	t.Helper()
	patch, _ := p.Update(pod, stored)
	want, got := decode(t, stored), decode(t, applied(t, pod, patch))
	forget(want)
	forget(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("the pod applied again is not the stored one (-want +got):\n%s\npatch %s", diff, patch)
	}
	if patch, report := p.Update(pod, pod); string(patch) != "[]" || len(report.Images) > 0 {
		t.Fatalf("an update of nothing examines %v and patches %s", report.Images, patch)
	}
}

// checkReinvocation inserts a container at the front, as an injector does between two
// rounds: what the first round recorded must survive the second.
func checkReinvocation(t *testing.T, p *Patcher, afterOne []byte) {
	t.Helper()
	pod, _ := decode(t, afterOne).(map[string]any)
	spec, _ := pod["spec"].(map[string]any)
	list, ok := spec["containers"].([]any)
	if !ok {
		return
	}
	one := recorded(pod)
	const sidecar = "an-injected-sidecar"
	spec["containers"] = append([]any{map[string]any{"name": sidecar, "image": "docker.io/acme/sidecar:1"}}, list...)
	roundTwo := encoded(t, pod)
	patch, report := p.Create(roundTwo)
	if report.Skipped != "" {
		return // a static pod
	}
	two, _ := decode(t, applied(t, roundTwo, patch)).(map[string]any)
	if _, ok := two["metadata"].(map[string]any); !ok {
		return
	}
	got := recorded(two)
	if got["containers/"+sidecar] != "docker.io/acme/sidecar:1" {
		t.Fatalf("round two records %v, without the sidecar", got)
	}
	if _, cut := got["..."]; cut {
		return
	}
	for location, original := range one {
		image, there := references(pod)[location]
		// What a user wrote into the record need not be true, and is dropped.
		if there && p.cache.rules.Image(original).Changed() && slices.Contains(image, p.cache.rules.Image(original).Target) && got[location] != original {
			t.Fatalf("round one recorded %s of %s, round two %v", original, location, got)
		}
	}
}

// checkEphemeral holds for every pair of texts.
func checkEphemeral(t *testing.T, p *Patcher, pod, old []byte) {
	t.Helper()
	patch, report := p.UpdateEphemeral(pod, old)
	checkReport(t, report)
	if string(patch) == "[]" {
		return
	}
	checkOperations(t, patch, "ephemeral")
	existing := map[string]bool{}
	for _, c := range items(decode(t, old), "ephemeralContainers") {
		name, _ := c["name"].(string)
		if _, ok := c["image"]; ok { // every one that the API server accepted has one
			existing[name] = true
		}
	}
	want := decode(t, pod)
	for _, c := range items(want, "ephemeralContainers") {
		if name, _ := c["name"].(string); !existing[name] {
			rewriteField(c, "image", p.cache.rules.Image)
		}
	}
	after := applied(t, pod, patch)
	if diff := cmp.Diff(want, decode(t, after)); diff != "" {
		t.Fatalf("not the pod with its new ephemeral containers rewritten (-want +got):\n%s", diff)
	}
	if second, _ := p.UpdateEphemeral(after, old); string(second) != "[]" {
		t.Fatalf("a second pass changes it again: %s", second)
	}
}

// checkUpdate holds for every pair of texts.
func checkUpdate(t *testing.T, p *Patcher, pod, old []byte) {
	t.Helper()
	patch, report := p.Update(pod, old)
	checkReport(t, report)
	if report.Skipped != "" && string(patch) != "[]" {
		t.Fatalf("skipped: %s, but the patch is %s", report.Skipped, patch)
	}
	if string(patch) == "[]" {
		return
	}
	checkOperations(t, patch, "update")
	before, want := fieldValues(decode(t, old)), decode(t, pod)
	eachReference(want, func(f fieldValue, set func(string)) {
		switch listed := slices.Contains(p.cache.rules.EnvVars(), f.env); {
		case before[f] || f.isEnv && !listed:
		case f.isEnv:
			set(p.cache.rules.EnvValue(f.value).Target)
		default:
			set(p.cache.rules.Image(f.value).Target)
		}
	})
	after := applied(t, pod, patch)
	if diff := cmp.Diff(want, decode(t, after)); diff != "" {
		t.Fatalf("not the pod with the references rewritten that the update sets (-want +got):\n%s", diff)
	}
	if second, _ := p.Update(after, old); string(second) != "[]" {
		t.Fatalf("a second pass changes it again: %s", second)
	}
}

func checkReport(t *testing.T, r Report) {
	t.Helper()
	w := r.Warning()
	if len(w) >= 120 || !utf8.ValidString(w) || strings.ContainsFunc(w, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		t.Fatalf("a warning that the API server would cut or drop, %d bytes: %q", len(w), w)
	}
}

var (
	onPod       = regexp.MustCompile(`^/spec/((containers|initContainers)/(0|[1-9][0-9]*)/(image|env/(0|[1-9][0-9]*)/value)|volumes/(0|[1-9][0-9]*)/image/reference)$`)
	onEphemeral = regexp.MustCompile(`^/spec/ephemeralContainers/(0|[1-9][0-9]*)/image$`)
)

// checkOperations: only replace, of a place that may hold a reference, and on
// creation one add, of the annotation.
func checkOperations(t *testing.T, patch []byte, operation string) {
	t.Helper()
	var ops []struct{ Op, Path string }
	if err := json.Unmarshal(patch, &ops); err != nil || ops == nil {
		t.Fatalf("patch %s: %v", patch, err)
	}
	added := 0
	for _, o := range ops {
		switch {
		case o.Op == "replace" && operation != "ephemeral" && onPod.MatchString(o.Path), o.Op == "replace" && operation == "ephemeral" && onEphemeral.MatchString(o.Path):
		case o.Op == "add" && operation == "create" && (o.Path == "/metadata/annotations" || o.Path == "/metadata/annotations/privatelink.cast.ai~1original-images"):
			added++
		default:
			t.Fatalf("operation %s of %s", o.Op, o.Path)
		}
	}
	if added > 1 {
		t.Fatalf("%d annotations added", added)
	}
}

// checkAnnotations: all others stay, ours is there if something changed.
func checkAnnotations(t *testing.T, before, after any, changed bool) {
	t.Helper()
	metadata := func(pod any) (m, annotations map[string]any) {
		root, _ := pod.(map[string]any)
		m, _ = root["metadata"].(map[string]any)
		annotations, _ = m["annotations"].(map[string]any)
		return m, annotations
	}
	had, old := metadata(before)
	_, now := metadata(after)
	for key, value := range old {
		if key != podspec.OriginalImages && now[key] != value {
			t.Fatalf("annotation %q was %v and is %v", key, value, now[key])
		}
	}
	for key := range now {
		if _, ok := old[key]; !ok && key != podspec.OriginalImages {
			t.Fatalf("annotation %q came from nowhere", key)
		}
	}
	record, there := now[podspec.OriginalImages]
	if !changed {
		if record != old[podspec.OriginalImages] {
			t.Fatalf("a record was written without a change: %v", record)
		}
		return
	}
	if had != nil && !there {
		t.Fatal("nothing was recorded")
	}
	if there && recorded(after) == nil {
		t.Fatalf("the record is no map of texts: %v", record)
	}
}
