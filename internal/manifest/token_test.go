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
