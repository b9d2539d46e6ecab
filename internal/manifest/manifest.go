// SPDX-License-Identifier: Apache-2.0

// Package manifest rewrites the images of Kubernetes manifests as text.
//
// It replaces the characters of image references and nothing else: comments,
// order, indentation, quoting, line endings and document markers stay, so that
// a diff shows the images only. Decoding and encoding the text would change all
// of these.
//
// Nothing is written on a guess. Each replaced text was proven to read as the
// value that the parser saw there, and the result is read back and compared
// before it is returned; a reference that cannot be replaced is reported.
package manifest

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// Change is one image reference of a manifest and the result of mapping it.
type Change struct {
	// Document counts the documents of the stream from 1.
	Document int `json:"document"`
	// Kind, Namespace and Name are those of the object, which inside a List is
	// the item.
	Kind      string `json:"kind"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name,omitempty"`
	// Path is a JSON pointer from the document's root, such as
	// /spec/template/spec/containers/0/image.
	Path string `json:"path"`
	// Line is where the reference stands in the text, from 1. For a container
	// that an anchor shares it is a line of the anchor's definition.
	Line int `json:"line"`
	// Result is the result of mapping the reference.
	Result rewrite.Result `json:"result"`
	// Obstacle is the reason why the text was not rewritten although the rules map
	// it, with the remedy; "" otherwise.
	Obstacle string `json:"obstacle,omitempty"`
}

// Written reports whether the output has Result.Target in this field.
func (c Change) Written() bool { return c.Result.Changed() && c.Obstacle == "" }

// Rewrite returns the manifests in the text with their images and listed env
// values rewritten, and every reference that it found, changed or not, in the
// order of the text. The text is a YAML stream or a stream of JSON documents;
// name stands for it in errors and may be a file name.
//
// Rewritten are pods, the built-in workloads, custom kinds that embed a pod
// template where those do, and all of these in lists. Text inside text, such as
// a manifest in a ConfigMap, is not looked into. On an error there is no output.
func Rewrite(name string, in []byte, rules *rewrite.Rules) (out []byte, changes []Change, err error) {
	s, err := read(name, in)
	if err != nil {
		return nil, nil, err
	}
	g, err := newGraph(s)
	if err != nil {
		return nil, nil, err
	}
	fields := find(s, g, rules)
	edits, err := plan(s, g, fields)
	if err != nil {
		return nil, nil, err
	}
	for _, p := range fields {
		changes = append(changes, p.Change)
	}
	slices.SortStableFunc(changes, func(a, b Change) int {
		return cmp.Or(cmp.Compare(a.Document, b.Document), cmp.Compare(a.Line, b.Line))
	})
	if len(edits) == 0 {
		return bytes.Clone(in), changes, nil
	}
	out = apply(in, edits)
	if err := verify(s, out, edits); err != nil {
		return nil, nil, fmt.Errorf("%w; nothing was written: rewrite the images of this file by hand and report it as a fault of this program", err)
	}
	return out, changes, nil
}
