// SPDX-License-Identifier: Apache-2.0

// Package manifest reads Kubernetes manifests as kubectl does, and rewrites their images
// as text.
//
// It replaces the characters of image references and nothing else: comments,
// order, indentation, quoting, line endings and document markers stay, so that
// a diff shows the images only. Decoding and encoding the text would change all
// of these.
//
// Which values are images is decided on what kubectl's decoder reads; another parser
// only tells where they stand in the text. Each replaced text was proven to read as the
// value that the parser saw there, and both the parser and kubectl's decoder read the
// result and compare it before it is returned. A reference that cannot be replaced
// is reported.
package manifest

import (
	"bytes"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"

	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// Change is one image reference of a manifest and the result of mapping it.
type Change struct {
	// File is the name of the text.
	File string `json:"file"`
	// Document counts the documents of the text from 1.
	Document int `json:"document"`
	// Kind, Namespace and Name are those of the object, which inside a List is
	// the item.
	Kind      string `json:"kind"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name,omitempty"`
	// Path is a JSON pointer from the document's root, such as
	// /spec/template/spec/containers/0/image.
	Path string `json:"path"`
	// Env is the name of the variable, if the value of one holds the reference.
	Env string `json:"env,omitempty"`
	// Line is where the reference stands in the text, from 1. For a container
	// that an anchor shares it is a line of the anchor's definition.
	Line int `json:"line"`
	// Result is the result of mapping the reference. A field that holds no text is
	// unmapped.
	Result rewrite.Result `json:"result"`
	// Obstacle is the reason why the text was not rewritten although the rules map
	// it, with the remedy; "" otherwise.
	Obstacle string `json:"obstacle,omitempty"`
}

// Written reports whether the output has Result.Target in this field.
func (c Change) Written() bool { return c.Result.Changed() && c.Obstacle == "" }

// Rewrite returns the manifests in the text with their images and listed env
// values rewritten, and what it found. The text is a YAML stream or a stream of JSON
// documents; name stands for it in errors and may be a file name.
//
// Rewritten are the pod specs that podspec.Walk finds. Text inside text, such as a
// manifest in a ConfigMap, is not looked into. On an error there is no output.
func Rewrite(name string, in []byte, rules *rewrite.Rules) (out []byte, found Found, err error) {
	m, err := Parse(name, in)
	if err != nil {
		return nil, Found{}, err
	}
	return m.Rewrite(rules)
}

// Rewrite is the function Rewrite for a text that is parsed already. The manifest must
// not be used afterwards: its documents have the new images.
func (m *Manifest) Rewrite(rules *rewrite.Rules) (out []byte, found Found, err error) {
	done := 0
	for _, d := range m.documents {
		fields, workloads, others := d.find(rules)
		edits, err := plan(d, fields)
		if err != nil {
			return nil, Found{}, err
		}
		found.add(fields, workloads, others)
		text := m.text[d.start:][:min(len(d.text), len(m.text)-d.start)]
		changed := apply(text, edits)
		if err := d.verify(changed, edits); err != nil {
			return nil, Found{}, err
		}
		for _, f := range fields {
			if f.Written() {
				f.Set(f.Result.Target)
			}
		}
		out = append(out, m.text[done:d.start]...)
		out = append(out, changed...)
		done = d.start + len(text)
	}
	out = append(out, m.text[done:]...)
	if err := m.verify(out); err != nil {
		return nil, Found{}, err
	}
	return out, found, nil
}

// verify reads the output with kubectl's decoder. It must have the objects of the input,
// but for the images.
func (m *Manifest) verify(out []byte) error {
	objects, err := decode(out)
	if err != nil {
		return m.fault(len(objects), fmt.Errorf("kubectl could not read the result: %w", err))
	}
	objects = slices.DeleteFunc(objects, func(object any) bool { return object == nil })
	want := m.objects()
	for i := range min(len(want), len(objects)) {
		if !reflect.DeepEqual(want[i], objects[i]) {
			return m.fault(i, fmt.Errorf("kubectl would read more changes than the images"))
		}
	}
	if len(objects) != len(want) {
		return m.fault(min(len(want), len(objects)), fmt.Errorf("kubectl would read %d objects in place of %d", len(objects), len(want)))
	}
	return nil
}

// objects returns the documents that are not null.
func (m *Manifest) objects() (objects []any) {
	for _, d := range m.documents {
		if d.Object != nil {
			objects = append(objects, d.Object)
		}
	}
	return objects
}

func (m *Manifest) fault(index int, err error) error {
	return fmt.Errorf("%s: document %d: %w; nothing was written: rewrite the images of this file by hand and report it as a fault of this program", m.name, index+1, err)
}

// Join makes one text of the results for several files, which kubectl reads as the
// objects of all of them.
func Join(texts [][]byte) ([]byte, error) {
	var joined []byte
	var want []any
	for i, text := range texts {
		objects, err := decode(text)
		if err != nil {
			return nil, err
		}
		if i > 0 && len(joined) > 0 && !bytes.HasSuffix(joined, []byte("\n")) {
			joined = append(joined, '\n')
		}
		if i > 0 && !(isJSON(joined) && isJSON(text)) {
			joined = append(joined, "---\n"...)
		}
		joined, want = append(joined, text...), append(want, objects...)
	}
	have, err := decode(joined)
	isNull := func(object any) bool { return object == nil }
	if err != nil || !reflect.DeepEqual(slices.DeleteFunc(want, isNull), slices.DeleteFunc(have, isNull)) {
		return nil, fmt.Errorf("kubectl cannot read these files as one text, because some are JSON and some are YAML: rewrite them one at a time")
	}
	return joined, nil
}

// isJSON reports whether kubectl reads all of the text as JSON.
func isJSON(text []byte) bool {
	_, rest := (&Manifest{text: text}).splitJSON()
	return rest < 0
}

func indexKey(i int) string { return strconv.Itoa(i) }

func sortedKeys(o map[string]any) []string { return slices.Sorted(maps.Keys(o)) }
