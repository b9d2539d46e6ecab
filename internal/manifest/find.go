// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/castai/privatelink-webhook/internal/podspec"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// imageField is a field of a document that holds an image reference.
type imageField struct {
	Change
	token *yaml.Node // as written: the scalar, or the alias that stands for it
}

// find returns the image fields of all documents.
func find(s *stream, g *graph, rules *rewrite.Rules) []*imageField {
	f := finder{graph: g, rules: rules, env: rules.EnvVars()}
	for i, document := range s.docs {
		podspec.Walk(tree{g}, document, func(w podspec.Workload[*yaml.Node]) {
			f.podSpec(w.Spec, Change{Document: i + 1, Kind: w.Kind, Namespace: w.Namespace, Name: w.Name, Path: w.Path})
		})
	}
	return f.found
}

// tree reads objects with aliases followed and merge keys applied.
type tree struct{ *graph }

// Fields implements podspec.Tree.
func (t tree) Fields(n *yaml.Node, name string) []*yaml.Node { return t.fields(n, name) }

// Items implements podspec.Tree.
func (t tree) Items(n *yaml.Node) (items []*yaml.Node, ok bool) {
	n = resolve(n)
	return n.Content, n.Kind == yaml.SequenceNode
}

// Text implements podspec.Tree.
func (t tree) Text(n *yaml.Node) string {
	text, _ := textOf(n)
	return text
}

type finder struct {
	*graph
	rules *rewrite.Rules
	env   []string
	found []*imageField
}

// podSpec adds the image fields of a pod spec; at has its path.
func (f *finder) podSpec(spec *yaml.Node, at Change) {
	for _, list := range podspec.Lists() {
		for _, items := range f.sequences(spec, list.Name) {
			for i, item := range items.Content {
				here := at
				here.Path = fmt.Sprintf("%s/%s/%d", at.Path, list.Name, i)
				f.item(item, list, here)
			}
		}
	}
}

// item adds the image fields of a container or volume.
func (f *finder) item(n *yaml.Node, list podspec.List, at Change) {
	for _, token := range f.descend(n, list.Image) {
		f.add(token, at, strings.Join(list.Image, "/"), f.rules.Image)
	}
	if !list.Env {
		return
	}
	for _, vars := range f.sequences(n, "env") {
		for i, v := range vars.Content {
			if !slices.Contains(f.env, f.text(v, "name")) {
				continue
			}
			for _, token := range f.fields(v, "value") {
				f.add(token, at, fmt.Sprintf("env/%d/value", i), f.rules.EnvValue)
			}
		}
	}
}

func (f *finder) add(token *yaml.Node, at Change, path string, mapText func(string) rewrite.Result) {
	text, ok := textOf(token)
	if !ok {
		return
	}
	at.Path += "/" + path
	at.Line, at.Result = token.Line, mapText(text)
	f.found = append(f.found, &imageField{Change: at, token: token})
}

// sequences returns the values of a key that are sequences, aliases followed.
func (f *finder) sequences(n *yaml.Node, key string) (found []*yaml.Node) {
	for _, token := range f.fields(n, key) {
		if value := resolve(token); value.Kind == yaml.SequenceNode {
			found = append(found, value)
		}
	}
	return found
}
