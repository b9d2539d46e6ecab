// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"go.yaml.in/yaml/v3"
)

// verify reads the output and compares it with the input, node by node: the
// edited tokens must have their new values, and all else must be as it was.
func verify(s *stream, out []byte, edits []edit) error {
	after, err := read(s.name, out)
	if err != nil {
		return err
	}
	v := verifier{edits: map[*yaml.Node]edit{}, twin: map[*yaml.Node]*yaml.Node{}}
	for _, e := range edits {
		v.edits[e.token] = e
	}
	if len(s.docs) != len(after.docs) || (s.spans == nil) != (after.spans == nil) {
		return s.errorf(1, "the documents would not be the same any more")
	}
	for i, doc := range s.docs {
		if at := v.differ(doc, after.docs[i]); at != nil {
			return s.errorf(at.Line, "more than the images would change")
		}
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
	text, ok := textOf(b)
	return ok && b.Kind == yaml.ScalarNode && text == e.value && b.Anchor == e.token.Anchor
}
