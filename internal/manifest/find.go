// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"cmp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/castai/privatelink-webhook/internal/podspec"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// Found is what a manifest has to do with images.
type Found struct {
	// Changes are the image references, changed or not, in the order of the text.
	Changes []Change
	// Workloads counts the pod specs.
	Workloads int
	// Others are further values that look like public images.
	Others []Other
}

// imageField is a field of a document that holds an image reference, or should.
type imageField struct {
	Change
	podspec.Location
	token *yaml.Node // as written: the scalar, or the alias that stands for it; nil if it is not to be changed
}

// Find returns what is in the manifest, without an attempt to rewrite it.
func (m *Manifest) Find(rules *rewrite.Rules) Found {
	var found Found
	for _, d := range m.documents {
		found.add(d.find(rules))
	}
	return found
}

func (f *Found) add(fields []*imageField, workloads int, others []Other) {
	first := len(f.Changes)
	for _, field := range fields {
		f.Changes = append(f.Changes, field.Change)
	}
	slices.SortStableFunc(f.Changes[first:], func(a, b Change) int { return cmp.Compare(a.Line, b.Line) })
	f.Workloads += workloads
	f.Others = append(f.Others, others...)
}

// find returns the image fields of a document.
func (d *document) find(rules *rewrite.Rules) (fields []*imageField, workloads int, others []Other) {
	isImage := map[string]bool{}
	podspec.Walk(d.Object, func(w podspec.Workload) {
		workloads++
		for _, l := range w.Locations(rules.EnvVars()) {
			isImage[l.Pointer()] = true
			fields = append(fields, d.field(w, l, rules))
		}
	})
	return fields, workloads, d.others(isImage, rules)
}

func (d *document) field(w podspec.Workload, l podspec.Location, rules *rewrite.Rules) *imageField {
	f := &imageField{Location: l, token: d.token(l.Path)}
	f.Change = Change{File: d.name, Document: d.Number, Kind: w.Kind, Namespace: w.Namespace, Name: w.Name, Path: l.Pointer(), Env: l.Env, Line: d.before + 1}
	if f.token != nil {
		f.Line = d.before + f.token.Line
	}
	n := f.scalar()
	switch {
	case l.Fault != "":
		f.Result = noReference(d.source(f.token), l.Fault)
	case n != nil && n.ShortTag() == "!!timestamp":
		f.Result = noReference(l.Text, "a timestamp in place of text: write it in quotes") // kubectl reads text, other readers do not
	case l.Env != "":
		f.Result = rules.EnvValue(l.Text)
	default:
		f.Result = rules.Image(l.Text)
	}
	if n == nil || !isText(n) || n.Value != l.Text {
		f.token = nil
		if f.Result.Changed() {
			f.Obstacle = "the value is not written as text; change it by hand"
		}
	}
	return f
}

// scalar returns the node with the value, nil if there is none.
func (f *imageField) scalar() *yaml.Node {
	if f.token == nil {
		return nil
	}
	if n := resolve(f.token); n.Kind == yaml.ScalarNode {
		return n
	}
	return nil
}

// noReference is the result for a field that holds something else than text.
func noReference(source, fault string) rewrite.Result {
	return rewrite.Result{Source: source, Target: source, Outcome: rewrite.Unmapped, Reason: rewrite.Unparsable, Rule: "not rewritten: " + fault}
}

// source returns a scalar as it is written, and what stands for other values.
func (d *document) source(token *yaml.Node) string {
	if token == nil {
		return ""
	}
	n := resolve(token)
	switch n.Kind {
	case yaml.ScalarNode:
		return cmp.Or(n.Value, "null")
	case yaml.SequenceNode:
		return "[…]"
	}
	return "{…}"
}

// Other is a value outside of the image fields that looks like a public image, such
// as the argument of an operator.
type Other struct {
	Document   int // from 1
	Kind, Name string
	Path       string // a JSON pointer
	Image      string
}

// others returns the values that look like public images: that name their registry and
// a tag or digest, that name their registry in a field for an image without its tag, or
// that have the key image in a custom resource. The rules map them.
func (d *document) others(isImage map[string]bool, rules *rewrite.Rules) []Other {
	s := scanner{isImage: isImage, rules: rules, at: Other{Document: d.Number}}
	s.value(nil, d.Object)
	return s.found
}

type scanner struct {
	isImage  map[string]bool
	rules    *rewrite.Rules
	isCustom bool // inside of a custom resource
	at       Other
	found    []Other
}

func (s *scanner) value(path []string, value any) {
	switch v := value.(type) {
	case string:
		s.text(path, v)
	case []any:
		for i, item := range v {
			s.value(append(path, indexKey(i)), item)
		}
	case map[string]any:
		s.object(path, v)
	}
}

// object skips what is not desired state, what is only about images, and secrets, which
// messages must not show.
func (s *scanner) object(path []string, o map[string]any) {
	kind, isObject := o["kind"].(string)
	if kind == "Secret" || kind == "CustomResourceDefinition" {
		return
	}
	outer := *s
	defer func() { s.at, s.isCustom = outer.at, outer.isCustom }()
	if metadata, ok := o["metadata"].(map[string]any); isObject && (ok || len(path) == 0) {
		s.at.Kind = kind
		s.at.Name, _ = metadata["name"].(string)
		version, _ := o["apiVersion"].(string)
		_, s.isCustom = podspec.Template(version, kind)
	}
	for _, key := range sortedKeys(o) {
		if isObject && key == "status" || strings.HasSuffix(key, "last-applied-configuration") || key == podspec.OriginalImages {
			continue
		}
		s.value(append(path, key), o[key])
	}
}

func (s *scanner) text(path []string, text string) {
	key := ""
	if len(path) > 0 {
		key = path[len(path)-1]
	}
	images := s.images(text, key)
	if len(images) == 0 || s.isImage[podspec.Pointer(path)] {
		return
	}
	for _, image := range images {
		found := s.at
		found.Path, found.Image = podspec.Pointer(path), image
		s.found = append(s.found, found)
	}
}

// images returns what looks like images in the text of a field.
func (s *scanner) images(text, key string) (images []string) {
	if key == "image" && s.isCustom {
		if s.rules.Image(text).Changed() {
			images = append(images, text)
		}
		return images
	}
	if isTagless(key) && s.rules.EnvValue(text).Changed() {
		return []string{text}
	}
	if !strings.Contains(text, "/") {
		return nil
	}
	for _, word := range strings.FieldsFunc(text, isDelimiter) {
		if ref := rewrite.SplitReference(word); ref.Tag+ref.Digest != "" && s.rules.EnvValue(word).Changed() {
			images = append(images, word)
		}
	}
	return images
}

// isTagless reports whether a field of this name holds an image whose tag stands in
// another one: in the values of a chart, and in a Kustomization.
func isTagless(key string) bool { return key == "repository" || key == "newName" }

// isDelimiter reports whether a character cannot be part of a reference.
func isDelimiter(r rune) bool {
	return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-:/@", r)
}
