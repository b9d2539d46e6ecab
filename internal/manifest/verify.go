// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"go.yaml.in/yaml/v3"
)

// verify reads the new text of a document and compares it with the old one, node by
// node: the edited tokens must have their new values, and all else must be as it was,
// so that all other readers of YAML see the same.
func (d *document) verify(text []byte, edits []edit) error {
	if len(edits) == 0 {
		return nil
	}
	after := &document{name: d.name, before: d.before, text: text}
	if err := after.parse(d.spans != nil); err != nil {
		return err
	}
	v := verifier{edits: map[*yaml.Node]edit{}, twin: map[*yaml.Node]*yaml.Node{}}
	for _, e := range edits {
		v.edits[e.token] = e
	}
	if after.root == nil {
		return d.errorf(1, "nothing would be left of the document")
	}
	if at := v.differ(d.root, after.root); at != nil {
		return d.errorf(at.Line, "more than the images would change; nothing was written: rewrite the images of this file by hand and report it as a fault of this program")
	}
	return nil
}

type verifier struct {
	edits map[*yaml.Node]edit
	twin  map[*yaml.Node]*yaml.Node // the node of the output that stands for one of the input
}

// differ returns the node of the input where the two are not as planned, or nil.
func (v verifier) differ(a, b *yaml.Node) *yaml.Node {
	v.twin[a] = b
	if e, ok := v.edits[a]; ok {
		if !e.readsAs(b) {
			return a
		}
		return nil
	}
	if a.Kind != b.Kind || a.Tag != b.Tag || a.Value != b.Value || a.Anchor != b.Anchor || len(a.Content) != len(b.Content) {
		return a
	}
	if a.Kind == yaml.AliasNode && v.twin[a.Alias] != b.Alias {
		return a
	}
	for i := range a.Content {
		if at := v.differ(a.Content[i], b.Content[i]); at != nil {
			return at
		}
	}
	return nil
}

// readsAs reports whether a node of the output is what the edit meant to write.
func (e edit) readsAs(b *yaml.Node) bool {
	return isText(b) && b.Value == e.value && b.Anchor == e.token.Anchor
}
