// SPDX-License-Identifier: Apache-2.0

package podspec

import (
	"fmt"
	"slices"
	"strings"
)

// Workload is a pod spec in a manifest, and the object that has it: a pod or a
// workload with a pod template.
type Workload[N any] struct {
	Kind, Namespace, Name string // of the object; Name may be a generateName
	// Path is a JSON pointer from the root of the document to Spec.
	Path string
	// Template has the metadata and the spec of the pod.
	Template, Spec N
}

// Tree reads decoded objects, so that Walk works for any decoder. N is a value:
// an object, a list or a scalar.
type Tree[N any] interface {
	// Fields returns the values of a field of an object: none or one, or several
	// if the text repeats the key.
	Fields(object N, name string) []N
	// Items returns the items of a list; ok is false for other values.
	Items(value N) (items []N, ok bool)
	// Text returns a string, "" for other values.
	Text(value N) string
}

// Walk calls visit for every pod spec in a document: that of a pod, of a built-in
// workload, of a custom kind that embeds a pod template as Deployments or
// CronJobs do, and of all of these in lists.
func Walk[N any](tree Tree[N], document N, visit func(Workload[N])) {
	walker[N]{tree, visit}.object(document, Workload[N]{})
}

type walker[N any] struct {
	tree  Tree[N]
	visit func(Workload[N])
}

// object visits an object, or the items of a list. w has its path, and its kind
// if the object is an item: the API server omits the kind in the items of a typed
// list.
func (k walker[N]) object(o N, w Workload[N]) {
	if kind := k.text(o, "kind"); kind != "" {
		w.Kind = kind
	}
	if item, ok := strings.CutSuffix(w.Kind, "List"); ok {
		if lists := k.lists(o, "items"); len(lists) > 0 {
			for _, items := range lists {
				for i, o := range items {
					k.object(o, Workload[N]{Kind: item, Path: fmt.Sprintf("%s/items/%d", w.Path, i)})
				}
			}
			return
		}
	}
	w.Namespace = k.text(o, "metadata", "namespace")
	if w.Name = k.text(o, "metadata", "name"); w.Name == "" {
		w.Name = k.text(o, "metadata", "generateName")
	}
	if path := Template(w.Kind); path != nil && !k.template(o, path, w) {
		k.template(o, Template("CronJob"), w)
	}
}

// template visits the pod specs at a path, and reports whether there is one.
func (k walker[N]) template(o N, path []string, w Workload[N]) (found bool) {
	w.Path += "/" + strings.Join(path, "/")
	last := len(path) - 1
	for _, template := range k.descend(o, path[:last]) {
		for _, spec := range k.tree.Fields(template, path[last]) {
			if k.isPodSpec(spec) {
				w.Template, w.Spec, found = template, spec, true
				k.visit(w)
			}
		}
	}
	return found
}

// isPodSpec requires a list of containers: custom kinds may have something else
// at the same path.
func (k walker[N]) isPodSpec(o N) bool {
	return slices.ContainsFunc(Lists(), func(l List) bool {
		return len(l.Image) == 1 && len(k.lists(o, l.Name)) > 0
	})
}

func (k walker[N]) lists(o N, name string) (found [][]N) {
	for _, value := range k.tree.Fields(o, name) {
		if items, ok := k.tree.Items(value); ok {
			found = append(found, items)
		}
	}
	return found
}

func (k walker[N]) descend(o N, path []string) []N {
	found := []N{o}
	for _, name := range path {
		var next []N
		for _, o := range found {
			next = append(next, k.tree.Fields(o, name)...)
		}
		found = next
	}
	return found
}

// text returns the string at a path. Of a repeated key the last one counts, as
// it does for kubectl.
func (k walker[N]) text(o N, path ...string) (last string) {
	for _, value := range k.descend(o, path) {
		last = k.tree.Text(value)
	}
	return last
}

// JSON is the Tree of what encoding/json decodes into any. A field of another
// type counts as an empty list, so that decoding the pod reports it.
type JSON struct{}

// Fields implements Tree.
func (JSON) Fields(object any, name string) []any {
	if fields, ok := object.(map[string]any); ok && fields[name] != nil {
		return []any{fields[name]}
	}
	return nil
}

// Items implements Tree.
func (JSON) Items(value any) ([]any, bool) {
	items, _ := value.([]any)
	return items, true
}

// Text implements Tree.
func (JSON) Text(value any) string {
	text, _ := value.(string)
	return text
}
