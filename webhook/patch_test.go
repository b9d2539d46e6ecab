// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	utiljson "k8s.io/apimachinery/pkg/util/json"

	"github.com/castai/privatelink-webhook/internal/podspec"
	"github.com/castai/privatelink-webhook/internal/testutil/corpus"
	"github.com/castai/privatelink-webhook/internal/testutil/golden"
)

const registry = corpus.Registry

func TestEveryPodOfTheCorpusIsAPodToTheAPIServer(t *testing.T) {
	for name, pod := range corpus.Pods() {
		var typed corev1.Pod
		if err := utiljson.Unmarshal(pod, &typed); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if typed.APIVersion != "v1" || typed.Kind != "Pod" {
			t.Errorf("%s: %s of %s", name, typed.Kind, typed.APIVersion)
		}
	}
}

func TestPatchesOfTheCorpus(t *testing.T) {
	p, pods := testPatcher(t), corpus.Pods()
	patches := map[string][]byte{}
	for name, pod := range pods {
		patches[name], _ = p.Create(pod)
	}
	patches["ephemeral.update"], _ = p.UpdateEphemeral(pods["ephemeral.new"], pods["ephemeral.old"])

	for name, patch := range patches {
		t.Run(name, func(t *testing.T) {
			var got bytes.Buffer
			if err := json.Indent(&got, patch, "", "  "); err != nil {
				t.Fatal(err)
			}
			got.WriteByte('\n')
			path := filepath.Join("testdata", "patches", name+".json")
			golden.Compare(t, path, got.Bytes())
		})
	}
	files, err := filepath.Glob("testdata/patches/*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if name := strings.TrimSuffix(filepath.Base(f), ".json"); patches[name] == nil {
			t.Errorf("%s belongs to no pod of the corpus", f)
		}
	}
}

func TestTheRecordOfOriginals(t *testing.T) {
	const old = "us-docker.pkg.dev/castai-hub/library/agent:v1"
	container := func(name, image string) string { return fmt.Sprintf(`{"name":%q,"image":%q}`, name, image) }
	pod := func(metadata string, containers ...string) string {
		return `{"metadata":` + metadata + `,"spec":{"containers":[` + strings.Join(containers, ",") + `]}}`
	}
	annotated := func(record string) string {
		return `{"annotations":{"other":"stays","` + podspec.OriginalImages + `":` + string(encoded(t, record)) + `}}`
	}
	public := container("new", "busybox")
	room := maxAnnotations - len(podspec.OriginalImages+`:{"big":""}{"containers/new":"busybox"}`)
	longest := strings.Repeat("n", maxRecord-len("containers/busybox")-8) // of the name; an entry takes 8 bytes more
	for name, tc := range map[string]struct {
		pod  string
		want map[string]string // nil: no record
	}{
		"a pod without metadata gets its images, and no record":   {`{"spec":{"containers":[` + public + `]}}`, nil},
		"a pod with null metadata gets its images, and no record": {pod("null", public), nil},
		"no annotations":   {pod("{}", public), map[string]string{"containers/new": "busybox"}},
		"null annotations": {pod(`{"annotations":null}`, public), map[string]string{"containers/new": "busybox"}},
		"the record of the first invocation is kept": {
			pod(annotated(`{"containers/a":"`+old+`"}`), public, container("a", registry+"/agent:v1")),
			map[string]string{"containers/new": "busybox", "containers/a": old},
		},
		"an entry that does not map to the current image is dropped": {
			pod(annotated(`{"containers/a":"`+old+`"}`), public, container("a", registry+"/agent:v2")),
			map[string]string{"containers/new": "busybox"},
		},
		"entries that name no field of the pod are dropped": {
			pod(annotated(`{"containers/gone":"`+old+`","x":"y"}`), public), map[string]string{"containers/new": "busybox"},
		},
		"a private image as an original is dropped": {
			pod(annotated(`{"containers/a":"`+registry+`/agent:v1"}`), public, container("a", registry+"/agent:v1")),
			map[string]string{"containers/new": "busybox"},
		},
		"the record of a changed image is replaced": {
			pod(annotated(`{"containers/new":"nginx"}`), public), map[string]string{"containers/new": "busybox"},
		},
		"a record that is no JSON is replaced":             {pod(annotated(`{"containers/new`), public), map[string]string{"containers/new": "busybox"}},
		"a record of other types is replaced":              {pod(annotated(`{"containers/new":7}`), public), map[string]string{"containers/new": "busybox"}},
		"annotations that just leave room get the record":  {pod(`{"annotations":{"big":"`+strings.Repeat("x", room)+`"}}`, public), map[string]string{"containers/new": "busybox"}},
		"a pod without room for it goes without":           {pod(`{"annotations":{"big":"`+strings.Repeat("x", room+1)+`"}}`, public), nil},
		"a record of the largest size is written":          {pod("{}", container(longest, "busybox")), map[string]string{"containers/" + longest: "busybox"}},
		"of a longer one the number of entries is":         {pod("{}", container(longest+"x", "busybox")), map[string]string{"...": "1 more"}},
		"names that JSON escapes are recorded as they are": {pod("{}", container("a\"<\n", "busybox")), map[string]string{"containers/a\"<\n": "busybox"}},
	} {
		t.Run(name, func(t *testing.T) {
			patch, report := testPatcher(t).Create([]byte(tc.pod))
			if report.Changed() != 1 {
				t.Errorf("%d images changed, want 1", report.Changed())
			}
			after := decode(t, applied(t, []byte(tc.pod), patch))
			if diff := cmp.Diff(tc.want, recorded(after)); diff != "" {
				t.Errorf("record (-want +got):\n%s", diff)
			}
			if strings.Contains(tc.pod, "stays") && !strings.Contains(fmt.Sprint(after), "other:stays") {
				t.Errorf("another annotation is gone: %v", after)
			}
		})
	}
}

func TestTheRecordIsBounded(t *testing.T) {
	patch, report := testPatcher(t).Create(podOf(500, "quay.io/acme/"+strings.Repeat("w", 100)+":v1"))
	if report.Changed() != 500 {
		t.Errorf("%d images changed, want all 500", report.Changed())
	}
	var ops []struct {
		Path  string
		Value any
	}
	if err := json.Unmarshal(patch, &ops); err != nil {
		t.Fatal(err)
	}
	value, _ := ops[len(ops)-1].Value.(string)
	if len(value) > maxRecord+100 || len(value) < maxRecord/2 {
		t.Errorf("a record of %d bytes, want about %d", len(value), maxRecord)
	}
	var record map[string]string
	if err := json.Unmarshal([]byte(value), &record); err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("%d more", 500-(len(record)-1)); record["..."] != want {
		t.Errorf(`the record ends in %q, want %q`, record["..."], want)
	}
}

func TestEphemeralContainers(t *testing.T) {
	pod := func(containers string) string { return `{"spec":{"ephemeralContainers":` + containers + `}}` }
	for name, tc := range map[string]struct{ pod, old, patch string }{
		"one that is new is rewritten":                                   {pod(`[{"name":"a","image":"busybox"}]`), pod(`null`), `[{"op":"replace","path":"/spec/ephemeralContainers/0/image","value":"` + registry + `/docker.io/library/busybox"}]`},
		"one that is there already stays":                                {pod(`[{"name":"a","image":"busybox"}]`), pod(`[{"name":"a","image":"busybox"}]`), `[]`},
		"one that was moved stays":                                       {pod(`[{"name":"b","image":"` + registry + `/b:1"},{"name":"a","image":"busybox"}]`), pod(`[{"name":"a","image":"busybox"}]`), `[]`},
		"an entry with a changed image stays: the API server rejects it": {pod(`[{"name":"a","image":"nginx"}]`), pod(`[{"name":"a","image":"busybox"}]`), `[]`},
		"containers and volumes stay": {
			`{"spec":{"containers":[{"name":"a","image":"busybox"}],"volumes":[{"name":"v","image":{"reference":"busybox"}}]}}`, `{}`, `[]`,
		},
		"a container of the same name does not make it old": {
			`{"spec":{"containers":[{"name":"a","image":"busybox"}],"ephemeralContainers":[{"name":"a","image":"busybox"}]}}`, `{"spec":{"containers":[{"name":"a","image":"busybox"}]}}`,
			`[{"op":"replace","path":"/spec/ephemeralContainers/0/image","value":"` + registry + `/docker.io/library/busybox"}]`,
		},
		"without the old pod nothing is touched":           {pod(`[{"name":"a","image":"busybox"}]`), ``, `[]`},
		"with an old pod that is none nothing is touched":  {pod(`[{"name":"a","image":"busybox"}]`), `{"spec":`, `[]`},
		"a new pod that is none is not touched":            {`{"spec":`, pod(`[]`), `[]`},
		"an old pod that is null is one without container": {pod(`[{"name":"a","image":"busybox"}]`), `null`, `[{"op":"replace","path":"/spec/ephemeralContainers/0/image","value":"` + registry + `/docker.io/library/busybox"}]`},
	} {
		t.Run(name, func(t *testing.T) {
			patch, report := testPatcher(t).UpdateEphemeral([]byte(tc.pod), []byte(tc.old))
			if string(patch) != tc.patch {
				t.Errorf("patch %s\nwant  %s", patch, tc.patch)
			}
			if understood := decode(t, []byte(tc.old)) != nil || tc.old == "null"; understood && report.Skipped != "" && decode(t, []byte(tc.pod)) != nil {
				t.Errorf("skipped: %s: %v", report.Skipped, report.Err)
			}
		})
	}
}

func TestUpdatesOfPods(t *testing.T) {
	const (
		agent, agent2 = "us-docker.pkg.dev/castai-hub/library/agent:v1", "us-docker.pkg.dev/castai-hub/library/agent:v2"
		ours, ours2   = registry + "/agent:v1", registry + "/agent:v2"
	)
	containers := func(named ...string) string { // name, image, name, image...
		var all []string
		for i := 0; i < len(named); i += 2 {
			all = append(all, fmt.Sprintf(`{"name":%q,"image":%q}`, named[i], named[i+1]))
		}
		return strings.Join(all, ",")
	}
	pod := func(containers string) string { return `{"metadata":{},"spec":{"containers":[` + containers + `]}}` }
	env := func(named ...string) string {
		return pod(`{"name":"a","image":"` + ours + `","env":[` + strings.ReplaceAll(containers(named...), `"image"`, `"value"`) + `]}`)
	}
	volume := func(image string) string {
		return `{"metadata":{},"spec":{"volumes":[{"name":"v","image":{"reference":"` + image + `"}}]}}`
	}
	static := func(image string) string {
		return `{"metadata":{"annotations":{"kubernetes.io/config.mirror":"x"}},"spec":{"containers":[` + containers("a", image) + `]}}`
	}
	replace := func(path, image string) string {
		return `{"op":"replace","path":"/spec/` + path + `","value":"` + image + `"}`
	}
	for name, tc := range map[string]struct{ pod, old, ops string }{
		"a second apply of the public manifest restores the stored image":  {pod(containers("a", agent)), pod(containers("a", ours)), replace("containers/0/image", ours)},
		"another image is rewritten":                                       {pod(containers("a", agent2)), pod(containers("a", ours)), replace("containers/0/image", ours2)},
		"a public image that was replaced by another one is rewritten":     {pod(containers("a", agent2)), pod(containers("a", agent)), replace("containers/0/image", ours2)},
		"a pod from before the webhook stays":                              {pod(containers("a", agent)), pod(containers("a", agent)), ""},
		"of several containers only the changed one is rewritten":          {pod(containers("a", agent, "b", agent2)), pod(containers("a", agent, "b", agent)), replace("containers/1/image", ours2)},
		"containers are compared by name, not position":                    {pod(containers("b", agent, "a", agent2)), pod(containers("a", agent2, "b", agent)), ""},
		"two containers that swap images are both changed":                 {pod(containers("a", agent, "b", agent2)), pod(containers("a", agent2, "b", agent)), replace("containers/0/image", ours) + "," + replace("containers/1/image", ours2)},
		"a container that is new is rewritten":                             {pod(containers("a", agent)), pod(""), replace("containers/0/image", ours)},
		"an init container of the same name is another one":                {`{"spec":{"initContainers":[` + containers("a", agent) + `]}}`, pod(containers("a", agent)), replace("initContainers/0/image", ours)},
		"a private image stays":                                            {pod(containers("a", ours2)), pod(containers("a", ours)), ""},
		"ephemeral containers stay":                                        {`{"spec":{"ephemeralContainers":[` + containers("a", agent) + `]}}`, pod(""), ""},
		"a listed variable is restored":                                    {env("SCANNERS_IMAGE", agent), env("SCANNERS_IMAGE", ours), replace("containers/0/env/0/value", ours)},
		"a listed variable from before the webhook stays":                  {env("SCANNERS_IMAGE", agent), env("SCANNERS_IMAGE", agent), ""},
		"another variable stays":                                           {env("OTHER", agent), env("OTHER", ours), ""},
		"variables are compared by name, not position":                     {env("X", "1", "SCANNERS_IMAGE", agent), env("SCANNERS_IMAGE", agent), ""},
		"an image volume is restored":                                      {volume(agent), volume(ours), replace("volumes/0/image/reference", ours)},
		"an image volume from before the webhook stays":                    {volume(agent), volume(agent), ""},
		"repeated variables are restored":                                  {env("SCANNERS_IMAGE", agent, "SCANNERS_IMAGE", agent2), env("SCANNERS_IMAGE", ours, "SCANNERS_IMAGE", ours2), replace("containers/0/env/0/value", ours) + "," + replace("containers/0/env/1/value", ours2)},
		"repeated variables from before the webhook stay":                  {env("SCANNERS_IMAGE", agent, "SCANNERS_IMAGE", agent2), env("SCANNERS_IMAGE", agent, "SCANNERS_IMAGE", agent2), ""},
		"of repeated variables those with a value of before stay":          {env("SCANNERS_IMAGE", agent, "SCANNERS_IMAGE", agent2), env("SCANNERS_IMAGE", agent), replace("containers/0/env/1/value", ours2)},
		"a repeated container name with an image of before stays":          {pod(containers("a", agent, "a", agent)), pod(containers("a", agent)), ""},
		"a name that looks like a variable is a container's":               {pod(containers("a/env/SCANNERS_IMAGE", agent)), env("SCANNERS_IMAGE", agent), replace("containers/0/image", ours)},
		"a static pod stays":                                               {static(agent2), static(agent), ""},
		"without the old pod nothing is touched":                           {pod(containers("a", agent)), "", ""},
		"with an old pod that is null nothing is touched":                  {pod(containers("a", agent)), "null", ""},
		"with an old pod that is not understood nothing is touched":        {pod(containers("a", agent)), `{"spec":{"containers":7}}`, ""},
		"a new pod that is not understood is not touched":                  {`{"spec":{"containers":7}}`, pod(""), ""},
		"a long name is compared to its end":                               {pod(containers(strings.Repeat("a", 5000)+"b", agent)), pod(containers(strings.Repeat("a", 5000)+"c", agent)), replace("containers/0/image", ours)},
		"the old image is compared as text: another spelling is a change":  {pod(containers("a", "busybox")), pod(containers("a", "docker.io/library/busybox")), replace("containers/0/image", registry+"/docker.io/library/busybox")},
		"a variable that had its value from elsewhere has a value now":     {env("SCANNERS_IMAGE", agent), pod(`{"name":"a","image":"` + ours + `","env":[{"name":"SCANNERS_IMAGE","valueFrom":{}}]}`), replace("containers/0/env/0/value", ours)},
		"the record of the creation stays":                                 {strings.Replace(pod(containers("a", agent2)), `"metadata":{}`, `"metadata":{"annotations":{"`+podspec.OriginalImages+`":"{}"}}`, 1), pod(containers("a", ours)), replace("containers/0/image", ours2)},
		"a pod that terminates loses its finalizers, and nothing is done":  {`{"metadata":{"deletionTimestamp":"x"},"spec":{"containers":[` + containers("a", agent) + `]}}`, pod(containers("a", agent)), ""},
		"an unmapped image stays, and is reported":                         {pod(containers("a", "a:b:c")), pod(containers("a", ours)), ""},
		"an image that becomes empty stays: the API server sets the error": {pod(containers("a", "")), pod(containers("a", ours)), ""},
	} {
		t.Run(name, func(t *testing.T) {
			patch, report := testPatcher(t).Update([]byte(tc.pod), []byte(tc.old))
			if want := "[" + tc.ops + "]"; string(patch) != want {
				t.Errorf("patch %s\nwant  %s", patch, want)
			}
			if skipped := report.Skipped == skippedInvalid; skipped != strings.Contains(name, "touched") {
				t.Errorf("skipped: %q, %v", report.Skipped, report.Err)
			}
			if reported := report.Warning() != "" && report.Skipped == ""; reported != strings.Contains(name, "is reported") {
				t.Errorf("warning %q", report.Warning())
			}
			checkUpdate(t, testPatcher(t), []byte(tc.pod), []byte(tc.old))
		})
	}
}

func TestInvalidPodsAreNotPatched(t *testing.T) {
	const spec = `"spec":{"containers":[{"name":"a","image":"busybox"}]}`
	for name, pod := range map[string]string{
		"nothing":                           "",
		"no JSON":                           "apiVersion: v1",
		"no object":                         `["pod"]`,
		"ends early":                        `{` + spec,
		"something follows":                 `{` + spec + `}{}`,
		"a key twice":                       `{` + spec + `,` + spec + `}`,
		"a key twice, deep":                 `{"x":{"y":[{"z":1,"z":1}]},` + spec + `}`,
		"a key twice, once escaped":         `{"sp\u0065c":{},` + spec + `}`,
		"a key of 100 kB twice":             `{"` + strings.Repeat("k", 100_000) + `":1,"` + strings.Repeat("k", 100_000) + `":2,` + spec + `}`,
		"UTF-8 that is none":                "{\"x\":\"\xff\"," + spec + `}`,
		"half a surrogate pair":             `{"x":"\ud800",` + spec + `}`,
		"an image that is a number":         `{"spec":{"containers":[{"name":"a","image":7}]}}`,
		"containers that are an object":     `{"spec":{"containers":{"name":"a","image":"busybox"}}}`,
		"a container that is a text":        `{"spec":{"containers":["busybox"]}}`,
		"annotations that are a list":       `{"metadata":{"annotations":[]},` + spec + `}`,
		"a record that is a number":         `{"metadata":{"annotations":{"` + podspec.OriginalImages + `":1}},` + spec + `}`,
		"metadata that is true":             `{"metadata":true,` + spec + `}`,
		"a name that is an object":          `{"metadata":{"name":{}},` + spec + `}`,
		"nesting without end":               strings.Repeat(`{"x":`, 20_000) + "1" + strings.Repeat("}", 20_000),
		"a listed variable that is no text": `{"spec":{"containers":[{"name":"a","image":"busybox","env":[{"name":"SCANNERS_IMAGE","value":[]}]}]}}`,
	} {
		t.Run(name, func(t *testing.T) {
			patch, report := testPatcher(t).Create([]byte(pod))
			if string(patch) != "[]" {
				t.Errorf("patch %s", patch)
			}
			if report.Skipped != skippedInvalid || report.Err == nil || !strings.HasPrefix(report.Err.Error(), "pod") {
				t.Errorf("skipped: %q, %.400v", report.Skipped, report.Err)
			}
			if w := report.Warning(); !strings.Contains(w, "not understood") {
				t.Errorf("the warning is %q", w)
			}
		})
	}
}

func TestPodsBeyondTheLimitsAreNotPatched(t *testing.T) {
	within, beyond := string(podOf(maxImages, "busybox")), string(podOf(maxImages+1, "busybox"))
	fields := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `"%x":0,`, i)
		}
		return `{"x":{` + b.String() + `"":0},"spec":{"containers":[{"image":"busybox"}]}}`
	}
	for name, tc := range map[string]struct {
		pod     string
		skipped string
	}{
		"as many images as allowed":  {within, ""},
		"one image more":             {beyond, skippedTooLarge},
		"430,000 containers":         {`{"spec":{"containers":[` + strings.Repeat(`{"image":"a"},`, 430_000) + `{}]}}`, skippedTooLarge},
		"as many fields as allowed":  {fields(maxFields - 5), ""},
		"one field more":             {fields(maxFields - 4), skippedTooLarge},
		"a value of as many colons":  {`{"x":"` + strings.Repeat(":", maxFields) + `"}`, skippedTooLarge},
		"20,000 variables of a name": {`{"spec":{"containers":[{"env":[` + strings.Repeat(`{"name":"SCANNERS_IMAGE","value":"a/b"},`, 20_000) + `{}]}]}}`, skippedTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			p := testPatcher(t)
			patch, report := p.Create([]byte(tc.pod))
			if report.Skipped != tc.skipped || (string(patch) == "[]") != (tc.skipped != "") || (report.Err == nil) != (tc.skipped == "") {
				t.Errorf("skipped %q, %v, a patch of %d bytes", report.Skipped, report.Err, len(patch))
			}
			if w := report.Warning(); (w == "") != (tc.skipped == "") || len(w) >= 120 {
				t.Errorf("warning %q", w)
			}
			if patch, report := p.Update([]byte(tc.pod), []byte("{}")); report.Skipped != tc.skipped {
				t.Errorf("update: skipped %q, patch %.100s", report.Skipped, patch)
			}
			if patch, report := p.Update([]byte("{}"), []byte(tc.pod)); report.Skipped != tc.skipped || string(patch) != "[]" {
				t.Errorf("update from it: skipped %q, patch %.100s", report.Skipped, patch)
			}
		})
	}
}

func TestWarnings(t *testing.T) {
	long := strings.Repeat("x", 63)
	for name, tc := range map[string]struct{ containers, want string }{
		"no warning about a public image":       {`{"name":"a","image":"busybox"}`, ""},
		"no warning about a private image":      {`{"name":"a","image":"` + registry + `/a:1"}`, ""},
		"no warning about a kept image":         {`{"name":"a","image":"` + corpus.Kept + `/a:1"}`, ""},
		"no warning about an empty image":       {`{"name":"a","image":""}`, ""},
		"an unmapped image is named":            {`{"name":"a","image":"a:b:c"}`, `privatelink: 1 not rewritten: "a:b:c": not an image reference`},
		"of several the first is named":         {`{"name":"a","image":"x"},{"name":"b","image":"a:b:c"},{"name":"c","image":"::"}`, `privatelink: 2 not rewritten: "a:b:c": not an image reference`},
		"a value of the environment is not":     {`{"name":"a","env":[{"name":"SCANNERS_IMAGE","value":"hunter2"}]}`, `privatelink: 1 not rewritten: "containers/a/env/SCANNERS_IMAGE": no registry host`},
		"a long image is cut":                   {`{"name":"a","image":"` + strings.Repeat("/", 10_000) + `"}`, `privatelink: 1 not rewritten: "/////////////////////...": not an image reference`},
		"a long reason is cut":                  {`{"name":"a","image":"Ghcr.IO/x:1"}`, `privatelink: 1 not rewritten: "Ghcr.IO/x:1": upper case in the host has no legal n...`},
		"a long location is cut":                {`{"name":"` + long + `","env":[{"name":"SCANNERS_IMAGE","value":"Ghcr.IO/x:1"}]}`, `privatelink: 1 not rewritten: "containers/xxxxxxxxxxxxxxxxxxxxxxxxxx...": upper case in the host has no legal n...`},
		"non-ASCII text is escaped":             {`{"name":"a","image":"ghсr.io/x"}`, `privatelink: 1 not rewritten: "gh\u0441r.io/x": not an image reference`},
		"control characters are escaped":        {`{"name":"a\n","env":[{"name":"SCANNERS_IMAGE","value":"v1"}]}`, `privatelink: 1 not rewritten: "containers/a\n/env/SCANNERS_IMAGE": no registry host`},
		"a cut through a character is no issue": {`{"name":"a","image":"` + strings.Repeat("ü", 5000) + `"}`, `privatelink: 1 not rewritten: "\u00fc\u00fc\u00fc\u00fc\u00fc\u00fc\u...: not an image reference`},
	} {
		t.Run(name, func(t *testing.T) {
			_, report := testPatcher(t).Create([]byte(`{"spec":{"containers":[` + tc.containers + `]}}`))
			if got := report.Warning(); got != tc.want {
				t.Errorf("warning %q\nwant    %q", got, tc.want)
			}
			checkReport(t, report)
		})
	}
}

func TestStaticPodsAreNotPatched(t *testing.T) {
	patch, report := testPatcher(t).Create(corpus.Pods()["mirror-pod"])
	if string(patch) != "[]" || report.Skipped != skippedStaticPod || report.Warning() != "" {
		t.Errorf("patch %s, skipped %q, warning %q", patch, report.Skipped, report.Warning())
	}
}

func TestPodsAreNamedForTheLog(t *testing.T) {
	for name, tc := range map[string]struct{ metadata, want string }{
		"by their name":   {`{"name":"a","generateName":"b-"}`, "a"},
		"by generateName": {`{"generateName":"b-"}`, "b-*"},
		"not at all":      {`{}`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if _, r := testPatcher(t).Create([]byte(`{"metadata":` + tc.metadata + `}`)); r.Pod != tc.want {
				t.Errorf("pod %q, want %q", r.Pod, tc.want)
			}
		})
	}
}
