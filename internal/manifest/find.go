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
	token *yaml.Node // as written: the scalar, or the alias in its place
}

// find returns the image fields of all documents.
func find(s *stream, g *graph, rules *rewrite.Rules) []*imageField {
	f := finder{graph: g, rules: rules, lists: podspec.Lists(), env: rules.EnvVars()}
	for i, doc := range s.docs {
		f.object(doc, Change{Document: i + 1})
	}
	return f.found
}

type finder struct {
	*graph
	rules *rewrite.Rules
	lists []podspec.List
	env   []string
	found []*imageField
}

// object looks at a Kubernetes object, or at the items of a list. The change at
// carries where we are; its Kind is what the list says about its items, for the
// API server omits the kind in the items of a typed list.
func (f *finder) object(n *yaml.Node, at Change) {
	if kind := f.text(n, "kind"); kind != "" {
		at.Kind = kind
	}
	if item, ok := strings.CutSuffix(at.Kind, "List"); ok {
		if lists := f.sequences(n, "items"); len(lists) > 0 {
			for _, items := range lists {
				for i, o := range items.Content {
					f.object(o, Change{Document: at.Document, Kind: item, Path: fmt.Sprintf("%s/items/%d", at.Path, i)})
				}
			}
			return
		}
	}
	at.Namespace = f.text(n, "metadata", "namespace")
	at.Name = f.text(n, "metadata", "name")
	if at.Name == "" {
		at.Name = f.text(n, "metadata", "generateName")
	}
	// Custom kinds embed a pod template as Deployments do, or a job template as
	// CronJobs do.
	if path := podspec.Template(at.Kind); path != nil && !f.template(n, path, at) {
		f.template(n, podspec.Template("CronJob"), at)
	}
}

// template looks at the pod spec at the path, and reports whether one is there.
func (f *finder) template(n *yaml.Node, path []string, at Change) (found bool) {
	at.Path += "/" + strings.Join(path, "/")
	for _, spec := range f.descend(n, path) {
		if f.isPodSpec(spec) {
			found = true
			f.podSpec(spec, at)
		}
	}
	return found
}

// isPodSpec asks for a list of containers. In a custom kind, something else may
// stand where we expect a pod spec, and have volumes of its own making.
func (f *finder) isPodSpec(n *yaml.Node) bool {
	return slices.ContainsFunc(f.lists, func(l podspec.List) bool {
		return len(l.Image) == 1 && len(f.sequences(n, l.Name)) > 0
	})
}

func (f *finder) podSpec(spec *yaml.Node, at Change) {
	for _, list := range f.lists {
		for _, items := range f.sequences(spec, list.Name) {
			for i, item := range items.Content {
				here := at
				here.Path = fmt.Sprintf("%s/%s/%d", at.Path, list.Name, i)
				f.item(item, list, here)
			}
		}
	}
}

// item looks at a container or volume.
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

func (f *finder) add(token *yaml.Node, at Change, path string, answer func(string) rewrite.Result) {
	text, ok := textOf(token)
	if !ok {
		return
	}
	at.Path += "/" + path
	at.Line, at.Result = token.Line, answer(text)
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
