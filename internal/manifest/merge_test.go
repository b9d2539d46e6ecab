// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestMergeKeysAreReadAsKubectlDoes compares the graph with kubectl's decoder for every
// way to write a merge key.
func TestMergeKeysAreReadAsKubectlDoes(t *testing.T) {
	for in, want := range map[string]string{
		"x: {a: own, <<: {a: merged}}":                             "merged",
		"x: {<<: {a: merged}, a: own}":                             "own",
		"x: {<<: {a: first}, <<: {a: second}}":                     "second",
		"x: {<<: [{a: first}, {a: second}]}":                       "first",
		"x: {a: own, <<: [{a: first}, {a: second}]}":               "first",
		"x: {<<: {a: first}, a: own, <<: {b: other}}":              "own",
		"x: {\"<<\": {a: none}, a: own}":                           "own",
		"x: {a: own, !!str <<: {a: none}}":                         "own",
		"x: {a: own, !!merge <<: {a: merged}}":                     "merged",
		"x: {a: own, ! <<: {a: merged}}":                           "merged",
		"x: {a: own, &m <<: {a: merged}}":                          "merged",
		"x: {a: first, ! a: own}":                                  "own",
		"x: {a: first, !!merge a: own}":                            "own",
		"b: &m <<\nx: {a: own, *m : {a: none}}":                    "own",
		"b: &b {a: merged}\nx: {a: own, <<: *b}":                   "merged",
		"x: {<<: {<<: {a: deep}, a: merged}}":                      "merged",
		"x: {<<: {a: merged, <<: {a: deep}}}":                      "deep",
		"x: {<<: [{<<: {a: deep}}, {a: second}]}":                  "deep",
		"x: {a: first, a: second}":                                 "second",
		"x: {<<: {}, a: own}":                                      "own",
		"x: {a: own, <<: []}":                                      "own",
		"x: {<<: {a: merged}, ? a : own}":                          "own",
		"x: {\"a\": own, <<: {'a': merged}}":                       "merged",
		"x: {<<: &b {a: merged}, c: *b, a: own}":                   "own",
		"x: {a: own, <<: {a: merged}} # comment\n---\nx: {a: own}": "merged",
	} {
		m, err := Parse("in", []byte(in))
		if err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		d := m.documents[0]
		kubectl := d.Object.(map[string]any)["x"].(map[string]any)["a"]
		if have := resolve(d.token([]string{"x", "a"})).Value; have != want || kubectl != want {
			t.Errorf("%s: reads %s, kubectl %s, want %s", in, have, kubectl, want)
		}
	}
}

func TestKeysAreReadAsKubectlDoes(t *testing.T) {
	for _, in := range []string{
		"on: x", "yes: x", "1: x", "0x10: x", "1.50: x", "'on': x", "true: x", "a b: x", "2026-11-28: x", "!!str 1: x", "? a\n: x", "~x: x", ".inf: x", "'': x", "&k on: x",
	} {
		m, err := Parse("in", []byte(in))
		if err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		for key := range m.documents[0].Object.(map[string]any) {
			if token := m.documents[0].token([]string{key}); token == nil || token.Value != "x" {
				t.Errorf("%s: no value for the key %q", in, key)
			}
		}
	}
}

func TestDocuments(t *testing.T) {
	for in, want := range map[string]string{
		"# only a comment\n":                      `[]`,
		"a: 1\n---\n# nothing\n---\nb: 1.50\n":    `[{"Number":1,"Object":{"a":1}},{"Number":2,"Object":{"b":1.5}}]`,
		"---\n---\na: 1\n":                        `[{"Number":1,"Object":null},{"Number":2,"Object":{"a":1}}]`,
		"{\"a\":1}{\"b\":1.50}\n":                 `[{"Number":1,"Object":{"a":1}},{"Number":2,"Object":{"b":1.50}}]`,
		"{\"a\":1}\n---\nb: c\n---\n{\"d\": e}\n": `[{"Number":1,"Object":{"a":1}},{"Number":2,"Object":{"b":"c"}},{"Number":3,"Object":{"d":"e"}}]`,
		"{\"a\":1}\n  b: c\n  d: e\n":             `[{"Number":1,"Object":{"a":1}},{"Number":2,"Object":{"b":"c","d":"e"}}]`,
		"{\"a\":1} ---\nb: c\n":                   `[{"Number":1,"Object":{"a":1}},{"Number":2,"Object":{"b":"c"}}]`,
		"{a: b}\n--- # c\n{\"c\":\"d\"}":          `[{"Number":1,"Object":{"a":"b"}},{"Number":2,"Object":{"c":"d"}}]`,
		"\ufeffa: b\r\n---\r\nc: d\r\n":           `[{"Number":1,"Object":{"a":"b"}},{"Number":2,"Object":{"c":"d"}}]`,
		"text":                                    `[{"Number":1,"Object":"text"}]`,
		"a: |\n  b":                               `[{"Number":1,"Object":{"a":"b\n"}}]`,
		"a: b\n...\n":                             `[{"Number":1,"Object":{"a":"b"}}]`,
		"a: b\n---":                               `[{"Number":1,"Object":{"a":"b"}}]`,
		"":                                        `[]`,
		"a: &x 1\nb: *x\n---\na: &x 2\nb: *x\n":   `[{"Number":1,"Object":{"a":1,"b":1}},{"Number":2,"Object":{"a":2,"b":2}}]`,
	} {
		m, err := Parse("in", []byte(in))
		if err != nil {
			t.Errorf("%q: %v", in, err)
			continue
		}
		have, err := json.Marshal(m.Documents())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, string(have)); diff != "" {
			t.Errorf("%q: -want +have\n%s", in, diff)
		}
	}
}

func TestJSONThenYAMLIsRewritten(t *testing.T) {
	in := `{"kind":"Pod","spec":{"containers":[{"image":"busybox"}]}}` + "\n---\n" + pod("  - image: alpine # x\n")
	want := `{"kind":"Pod","spec":{"containers":[{"image":"` + ecr + `/docker.io/library/busybox"}]}}` + "\n---\n" + pod("  - image: "+ecr+"/docker.io/library/alpine # x\n")
	out, found, err := Rewrite("in", []byte(in), rules(t))
	if err != nil || string(out) != want {
		t.Fatalf("%v\n%s", err, out)
	}
	if lines := []int{found.Changes[0].Line, found.Changes[1].Line}; lines[0] != 1 || lines[1] != 6 {
		t.Errorf("lines %v", lines)
	}
}

func TestLinesOfAStreamOfJSON(t *testing.T) {
	const object = "{\"kind\": \"Pod\",\n \"spec\": {\"containers\": [\n  {\"image\": \"busybox\"}]}}\n"
	m, err := Parse("in", []byte(object+"\n"+object+object))
	if err != nil {
		t.Fatal(err)
	}
	var lines []int
	for _, c := range m.Find(rules(t)).Changes {
		lines = append(lines, c.Line)
	}
	if diff := cmp.Diff([]int{3, 7, 10}, lines); diff != "" {
		t.Errorf("-want +have\n%s", diff)
	}
}

func TestJoin(t *testing.T) {
	for name, tc := range map[string]struct {
		texts []string
		want  string
		fails bool
	}{
		"one text as it is":              {[]string{"a: b"}, "a: b", false},
		"YAML":                           {[]string{"a: b", "---\nc: d\n", "# x\n", "\ufeffe: f\r\n"}, "a: b\n---\n---\nc: d\n---\n# x\n---\n\ufeffe: f\r\n", false},
		"JSON":                           {[]string{`{"a":1}`, `{"b":"\/"}`}, "{\"a\":1}\n{\"b\":\"\\/\"}", false},
		"JSON before YAML":               {[]string{`{"a":1}`, "b: c\n"}, "{\"a\":1}\n---\nb: c\n", false},
		"YAML before JSON":               {[]string{"b: c\n", `{"a":1}`}, "b: c\n---\n{\"a\":1}", false},
		"several objects before YAML":    {[]string{`{"a":1}{"b":1}`, "c: d\n"}, "", true},
		"several objects after YAML":     {[]string{"c: d\n", `{"a":1}{"b":1}`}, "", true},
		"JSON that is no YAML, after it": {[]string{"c: d\n", `{"a":"\/"}`}, "", true},
		"an empty text before another":   {[]string{"", "a: b\n"}, "---\na: b\n", false},
	} {
		t.Run(name, func(t *testing.T) {
			var texts [][]byte
			for _, text := range tc.texts {
				texts = append(texts, []byte(text))
			}
			have, err := Join(texts)
			if diff := cmp.Diff(tc.want, string(have)); diff != "" || (err != nil) != tc.fails {
				t.Errorf("error %v\n%s", err, diff)
			}
		})
	}
}
