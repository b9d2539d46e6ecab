// SPDX-License-Identifier: Apache-2.0

package podspec

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/castai/privatelink-webhook/internal/testutil/corpus"
)

const key = "example.com/wanted"

func scanner() *Scanner { return NewScanner([]string{"LISTED", "ALSO"}, []string{key}) }

// found is an image as people and patches see it.
type found struct{ Pointer, Location, Value string }

func images(pod Pod) (out []found) {
	for _, i := range pod.Images {
		out = append(out, found{i.Pointer(), i.Location(), i.Value})
	}
	return out
}

func TestScanFindsEveryImage(t *testing.T) {
	for name, tc := range map[string]struct {
		spec string
		want []found
	}{
		"containers": {`{"containers":[{"name":"a","image":"x"},{"name":"b","image":"y"}]}`, []found{
			{"/spec/containers/0/image", "containers/a", "x"}, {"/spec/containers/1/image", "containers/b", "y"},
		}},
		"init containers":      {`{"initContainers":[{"name":"a","image":"x"}]}`, []found{{"/spec/initContainers/0/image", "initContainers/a", "x"}}},
		"ephemeral containers": {`{"ephemeralContainers":[{"name":"a","image":"x"}]}`, []found{{"/spec/ephemeralContainers/0/image", "ephemeralContainers/a", "x"}}},
		"image volumes, among others": {`{"volumes":[{"name":"a","emptyDir":{}},{"name":"b","image":{"pullPolicy":"Always","reference":"x"}}]}`, []found{
			{"/spec/volumes/1/image/reference", "volumes/b", "x"},
		}},
		"listed variables": {`{"containers":[{"name":"a","env":[{"name":"OTHER","value":"x"},{"name":"LISTED","value":"y"},{"name":"ALSO","value":"z"}]}]}`, []found{
			{"/spec/containers/0/env/1/value", "containers/a/env/LISTED", "y"}, {"/spec/containers/0/env/2/value", "containers/a/env/ALSO", "z"},
		}},
		"no variable of an ephemeral container": {`{"ephemeralContainers":[{"name":"a","env":[{"name":"LISTED","value":"y"}]}]}`, nil},
		"no variable that has no value":         {`{"containers":[{"name":"a","env":[{"name":"LISTED"},{"name":"LISTED","valueFrom":{"value":"x"}}]}]}`, nil},
		"values that are empty or null": {`{"containers":[{"name":"a","image":"","env":[{"name":"LISTED","value":null}]},{"name":"b","image":null}]}`, []found{
			{"/spec/containers/0/image", "containers/a", ""}, {"/spec/containers/0/env/0/value", "containers/a/env/LISTED", ""}, {"/spec/containers/1/image", "containers/b", ""},
		}},
		"a name that comes last": {`{"containers":[{"env":[{"value":"y","name":"LISTED"}],"image":"x","name":"a"}]}`, []found{
			{"/spec/containers/0/env/0/value", "containers/a/env/LISTED", "y"}, {"/spec/containers/0/image", "containers/a", "x"},
		}},
		"no name": {`{"containers":[{"image":"x"}]}`, []found{{"/spec/containers/0/image", "containers/", "x"}}},
		"texts with escapes": {`{"contain\u0065rs":[{"n\u0061me":"\u0061\n","im\u0061ge":"\ud83d\ude80\/x","env":[{"name":"LIST\u0045D","value":"\""}]}]}`, []found{
			{"/spec/containers/0/image", "containers/a\n", "🚀/x"}, {"/spec/containers/0/env/0/value", "containers/a\n/env/LISTED", `"`},
		}},
		"nulls where lists and items are": {`{"containers":[null,{"name":"a","image":"x","env":[null]},{"env":null}],"volumes":null,"initContainers":[]}`, []found{
			{"/spec/containers/1/image", "containers/a", "x"},
		}},
		"a volume that is no image volume": {`{"volumes":[{"name":"a","image":null},{"name":"b","image":{}}]}`, []found{
			{"/spec/volumes/0/image/reference", "volumes/a", ""}, {"/spec/volumes/1/image/reference", "volumes/b", ""},
		}},
		"nothing at places that only look alike": {`{"Containers":[{"image":"x"}],"containers":[{"Image":"x","image ":"x","container":{"image":"x"}}],"template":{"spec":{"containers":[{"image":"x"}]}}}`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			pod, err := scanner().Scan([]byte(`{"spec":` + tc.spec + `}`))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, images(pod)); diff != "" {
				t.Errorf("images (-want +got):\n%s", diff)
			}
		})
	}
}

func TestScanReadsMetadata(t *testing.T) {
	for name, tc := range map[string]struct {
		pod  string
		want Pod
	}{
		"absent":              {`{}`, Pod{}},
		"null":                {`{"metadata":null}`, Pod{}},
		"null, the whole pod": {`null`, Pod{}},
		"empty":               {`{"metadata":{}}`, Pod{HasMetadata: true}},
		"names":               {`{"metadata":{"name":"n","generateName":"g-"}}`, Pod{HasMetadata: true, Name: "n", GenerateName: "g-"}},
		"null annotations":    {`{"metadata":{"annotations":null}}`, Pod{HasMetadata: true, AnnotationsSize: 5}},
		"empty annotations":   {`{"metadata":{"annotations":{}}}`, Pod{HasMetadata: true, HasAnnotations: true, AnnotationsSize: 3}},
		"only the annotations that are wanted": {
			`{"metadata":{"annotations":{"a":"b","` + key + `":"v\u0021","c":{"d":[1]}}}}`,
			Pod{HasMetadata: true, HasAnnotations: true, AnnotationsSize: 55, Annotations: map[string]string{key: "v!"}},
		},
		"an annotation that is null": {
			`{"metadata":{"annotations":{"` + key + `":null}}}`,
			Pod{HasMetadata: true, HasAnnotations: true, AnnotationsSize: 28, Annotations: map[string]string{key: ""}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := scanner().Scan([]byte(tc.pod))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got, cmpopts.IgnoreUnexported(ImageField{})); diff != "" {
				t.Errorf("pod (-want +got):\n%s", diff)
			}
		})
	}
}

func TestScanErrorsNameTheField(t *testing.T) {
	for pod, says := range map[string]string{
		``:                                      "pod: EOF",
		`7`:                                     "pod: want an object, have number",
		`{} x`:                                  "pod: something follows the object",
		`{}{}`:                                  "pod: something follows the object",
		`{"a":1,"a":2}`:                         `duplicate object member name "a"`,
		`{"spec":{"containers":[{"image":7}]}}`: "pod/spec/containers/0/image: want a string, have number",
		`{"spec":{"containers":[1]}}`:           "pod/spec/containers/0: want an object, have number",
		`{"spec":{"containers":{"a":1}}}`:       "pod/spec/containers: want an array, have {",
		`{"spec":{"containers":[{"env":{}}]}}`:  "pod/spec/containers/0/env: want an array, have {",
		`{"spec":{"volumes":[{"image":"x"}]}}`:  "pod/spec/volumes/0/image: want an object, have string",
		`{"metadata":{"annotations":{"` + key + `":1`: "pod/metadata/annotations/example.com~1wanted: want a string, have number",
		"{\"x\":\"\xff\"}":                            "invalid UTF-8",
		`{"x":"\ud800"}`:                              "surrogate",
		`{"x":tru}`:                                   "invalid character",
		`{"spec":{"containers":[{"image":"x"`:         "unexpected EOF",
	} {
		t.Run(pod, func(t *testing.T) {
			got, err := scanner().Scan([]byte(pod))
			if err == nil || !strings.Contains(err.Error(), says) {
				t.Errorf("the error is %v, want %q", err, says)
			}
			if len(got.Images) > 0 {
				t.Errorf("images in spite of it: %v", got.Images)
			}
		})
	}
}

func TestWithoutListedVariablesNoneIsRead(t *testing.T) {
	pod, err := NewScanner(nil, nil).Scan([]byte(`{"metadata":{"annotations":{"` + key + `":"v"}},"spec":{"containers":[{"env":[7,{"name":"LISTED","value":"x"}]}]}}`))
	if err != nil || len(pod.Images) > 0 || len(pod.Annotations) > 0 {
		t.Errorf("%v, %v", pod, err)
	}
}

// FuzzScan: a scan succeeds if and only if the text is strict JSON whose fields
// are of the right types, and then agrees with a walk over the decoded pod by
// the table of Lists.
func FuzzScan(f *testing.F) {
	pods := corpus.Pods()
	for _, name := range slices.Sorted(maps.Keys(pods)) {
		var pod bytes.Buffer
		if err := json.Compact(&pod, bytes.ReplaceAll(pods[name], []byte("SCANNERS_IMAGE"), []byte("LISTED"))); err != nil {
			f.Fatal(err)
		}
		f.Add(pod.Bytes())
	}
	s := scanner()
	f.Fuzz(func(t *testing.T, doc []byte) {
		given := bytes.Clone(doc)
		got, err := s.Scan(doc)
		if !bytes.Equal(given, doc) {
			t.Fatal("the pod was written to")
		}
		checkQuick(t, s, doc)
		want, wrong := walk(s, doc)
		if (err == nil) != (wrong == nil) {
			t.Fatalf("Scan: %v, walk: %v", err, wrong)
		}
		if err != nil {
			return
		}
		less := func(a, b found) bool { return a.Pointer < b.Pointer }
		if diff := cmp.Diff(images(want), images(got), cmpopts.SortSlices(less)); diff != "" {
			t.Errorf("images (-walk +scan):\n%s", diff)
		}
		if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(Pod{}, "Images", "AnnotationsSize")); diff != "" {
			t.Errorf("metadata (-walk +scan):\n%s", diff)
		}
	})
}

// checkQuick holds that the library finds what the quick scan finds.
func checkQuick(t *testing.T, s *Scanner, doc []byte) (isQuick bool) {
	t.Helper()
	got, err := s.scanQuickly(doc)
	if err != nil {
		return false
	}
	want, err := s.scanStrictly(doc)
	if err != nil {
		t.Fatalf("scanned, but the library says %v", err)
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(ImageField{})); diff != "" {
		t.Errorf("-library +quick:\n%s", diff)
	}
	return true
}

func TestPodsAreScannedQuickly(t *testing.T) {
	for name, pod := range corpus.Pods() {
		if !checkQuick(t, scanner(), pod) && name != "unicode-escapes" {
			t.Errorf("%s is left to the library", name)
		}
	}
}

// walk is Scan by other means.
func walk(s *Scanner, doc []byte) (pod Pod, err error) {
	if !jsontext.Value(doc).IsValid() {
		return Pod{}, fmt.Errorf("not strict JSON")
	}
	var tree any
	if err := json.Unmarshal(doc, &tree); err != nil {
		return Pod{}, err
	}
	// A value of another type than it should have ends the walk.
	defer func() {
		if wrong := recover(); wrong != nil {
			pod, err = Pod{}, fmt.Errorf("%v", wrong)
		}
	}()
	root := as[map[string]any](tree)
	metadata := as[map[string]any](root["metadata"])
	annotations := as[map[string]any](metadata["annotations"])
	pod.HasMetadata, pod.HasAnnotations = metadata != nil, annotations != nil
	pod.Name, pod.GenerateName = as[string](metadata["name"]), as[string](metadata["generateName"])
	for k := range s.annotations {
		if v, ok := annotations[k]; ok {
			pod.Annotations = map[string]string{k: as[string](v)}
		}
	}
	spec := as[map[string]any](root["spec"])
	for _, l := range Lists() {
		for n, item := range as[[]any](spec[l.Name]) {
			fields := as[map[string]any](item)
			image := ImageField{List: l.Name, Index: n, Item: as[string](fields["name"]), EnvIndex: -1, field: l.Image}
			if v, ok := fields[l.Image[0]]; ok {
				for _, f := range l.Image[1:] {
					v = as[map[string]any](v)[f]
				}
				image.Value = as[string](v)
				pod.Images = append(pod.Images, image)
			}
			if !l.Env {
				continue
			}
			for e, variable := range as[[]any](fields["env"]) {
				v := as[map[string]any](variable)
				image.EnvIndex, image.Env, image.Value = e, as[string](v["name"]), as[string](v["value"])
				if _, ok := v["value"]; ok && s.env[image.Env] {
					pod.Images = append(pod.Images, image)
				}
			}
		}
	}
	return pod, nil
}

// as takes null and nothing for the zero value, as Kubernetes does.
func as[T any](v any) (t T) {
	if v != nil {
		t = v.(T)
	}
	return t
}

func TestTheNumberOfImagesIsBounded(t *testing.T) {
	for _, pod := range []string{
		`{"spec":{"containers":[{"image":"a","env":[{"name":"LISTED","value":"b"}]}],"volumes":[{"image":{"reference":"c"}}]}}`,
		`{"spec":{"containers":[{"image":"a","env":[{"name":"LISTED","value":"b"},{"name":"LISTED","value":"c"}]}]}}`,
	} {
		for limit, tooMany := range map[int]bool{0: false, 1: true, 2: true, 3: false} {
			s := scanner()
			s.MaxImages = limit
			if _, err := s.Scan([]byte(pod)); errors.Is(err, ErrTooManyImages) != tooMany {
				t.Errorf("limit %d of %s: %v", limit, pod, err)
			}
		}
	}
}
