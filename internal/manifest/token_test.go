// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"testing"

	"go.yaml.in/yaml/v3"
)

func TestLocateRefusesATextThatIsNotTheValue(t *testing.T) {
	for name, tc := range map[string]struct {
		text string
		node yaml.Node
	}{
		"another plain text":            {"a: busybox", yaml.Node{Value: "alpine"}},
		"a longer plain text":           {"a: busyboxes", yaml.Node{Value: "busybox"}},
		"another text in quotes":        {"a: 'busyboxes'", yaml.Node{Value: "busybox"}},
		"quotes that do not close":      {`a: "busybox\"`, yaml.Node{Value: `busybox`}},
		"another text in a block":       {"a: |-\n  busyboxes", yaml.Node{Value: "busybox"}},
		"a block of several lines":      {"a: |\n  busybox", yaml.Node{Value: "busybox\n"}},
		"a plain text of several lines": {"a: busy\n  box", yaml.Node{Value: "busy box"}},
		"a tag at the end":              {"a: !!str", yaml.Node{Value: "busybox"}},
		"a comment at the end":          {"a: !!str #", yaml.Node{Value: "busybox"}},
		"a text after a tag":            {"a: !!str ", yaml.Node{Value: "busybox"}},
		"another alias":                 {"a: *busybox", yaml.Node{Kind: yaml.AliasNode, Value: "alpine"}},
		"a column behind the end":       {"a:", yaml.Node{Value: "busybox"}},
		"a line behind the end":         {"a: busybox", yaml.Node{Value: "busybox", Line: 2}},
	} {
		t.Run(name, func(t *testing.T) {
			tc.node.Line, tc.node.Column = max(tc.node.Line, 1), 4
			at, err := newPosition(&document{text: []byte(tc.text)}).locate(&tc.node)
			if err == nil {
				t.Errorf("found in %+v", at)
			}
		})
	}
}

func TestLocateFindsTheText(t *testing.T) {
	for in, want := range map[string]struct{ value, source string }{
		`a: busybox`:                 {"busybox", "busybox"},
		`a: "busy\"box" # "comment"`: {`busy"box`, `"busy\"box"`},
		`a: 'busy''box' # 'comment'`: {"busy'box", "'busy''box'"},
	} {
		at, err := newPosition(&document{text: []byte(in)}).locate(&yaml.Node{Value: want.value, Line: 1, Column: 4})
		if err != nil || in[at.start:at.end] != want.source {
			t.Errorf("%s: error %v, found %+v", in, err, at)
		}
	}
}

func TestTextsThatNeedNoQuotes(t *testing.T) {
	for text, want := range map[string]bool{
		"quay.io/a/b:1@sha256:0": true, "busybox": false, "1.5": false, "/a": false, "a/": false, "a/b c": false, "a: /b": false,
	} {
		if have := plainSafe(text); have != want {
			t.Errorf("%q: %v", text, have)
		}
	}
}
