// SPDX-License-Identifier: Apache-2.0

package podspec

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Workload is a pod spec in a manifest, and the object that has it: a pod, a
// workload with a pod template, or a custom resource of which a controller makes
// pods.
type Workload struct {
	APIVersion, Kind, Namespace, Name string // of the object; Name may be a generateName
	// Path has the keys and indexes from the root of the document to Spec.
	Path []string
	// Template is the object that has the metadata and the spec of the pod; nil if the
	// pod's metadata is not in the manifest.
	Template map[string]any
	// Spec is an object, unless the manifest is faulty.
	Spec any
	// field is set for a field of customFields: Spec is then made up for it.
	field *Location
}

// Walk calls visit for every pod spec in a document, as encoding/json decodes it
// into any:
//
//   - of the kinds that Kubernetes itself serves, those that Template knows;
//   - in custom resources, every object with a list of containers that have images, and
//     the fields of customFields, as an object with one container;
//   - all of these in lists, and in custom resources that contain whole objects.
//
// Field names are case-sensitive, as in the API server.
func Walk(document any, visit func(Workload)) {
	(&walker{report: visit}).object(document, Workload{})
}

type walker struct {
	report func(Workload)
	path   []string // to the value that is visited
}

// at calls f with the path extended by the keys.
func (k *walker) at(keys []string, f func()) {
	outer := k.path
	k.path = append(k.path, keys...)
	f()
	k.path = outer
}

func (k *walker) visit(w Workload) {
	w.Path = slices.Clone(k.path)
	k.report(w)
}

// object visits an object, or the items of a list. w has its version and kind if the
// object is an item: the API server omits them in the items of a typed list.
func (k *walker) object(value any, w Workload) {
	o, ok := value.(map[string]any)
	if !ok {
		return
	}
	w.APIVersion, w.Kind = either(o, "apiVersion", w.APIVersion), either(o, "kind", w.Kind)
	if kind, ok := strings.CutSuffix(w.Kind, "List"); ok {
		if items, ok := o["items"].([]any); ok {
			for i, item := range items {
				k.at([]string{"items", strconv.Itoa(i)}, func() { k.object(item, Workload{APIVersion: w.APIVersion, Kind: kind}) })
			}
			return
		}
	}
	metadata, _ := o["metadata"].(map[string]any)
	w.Namespace = either(metadata, "namespace", "")
	w.Name = either(metadata, "name", either(metadata, "generateName", ""))
	if path, isCustom := Template(w.APIVersion, w.Kind); isCustom {
		k.customFields(o, w)
		desired := maps.Clone(o)
		delete(desired, "metadata")
		delete(desired, "status")
		k.custom(desired, w, nil)
	} else if path != nil {
		k.template(o, path, w)
	}
}

// template visits the pod spec at a path. What stands there or on the way is not
// required to be an object: Locations reports it.
func (k *walker) template(o map[string]any, path []string, w Workload) {
	for i, key := range path {
		w.Template, w.Spec = o, o[key]
		if w.Spec == nil {
			return
		}
		inner, ok := w.Spec.(map[string]any)
		if !ok || i == len(path)-1 {
			k.at(path[:i+1], func() { k.visit(w) })
			return
		}
		o = inner
	}
}

// custom visits the pod specs in a value of a custom resource; parent is the object
// around it, if any.
func (k *walker) custom(value any, w Workload, parent map[string]any) {
	switch v := value.(type) {
	case []any:
		for i, item := range v {
			k.inner(item, w, nil, strconv.Itoa(i))
		}
	case map[string]any:
		isPodSpec := hasImages(v)
		if isPodSpec {
			pod := w
			pod.Template, pod.Spec = parent, v
			k.visit(pod)
		}
		for _, key := range slices.Sorted(maps.Keys(v)) {
			if !isPodSpec || !isList(key) {
				k.inner(v[key], w, v, key)
			}
		}
	}
}

// inner visits a value below another of a custom resource. It may be an object of its
// own.
func (k *walker) inner(value any, w Workload, parent map[string]any, key string) {
	k.at([]string{key}, func() {
		if o, ok := value.(map[string]any); ok && either(o, "apiVersion", "") != "" && either(o, "kind", "") != "" {
			k.object(o, Workload{})
			return
		}
		k.custom(value, w, parent)
	})
}

// hasImages reports whether an object has a list of containers, one of them with an
// image. Without an image it may be anything, such as the containers that a policy
// is about.
func hasImages(o map[string]any) bool {
	return slices.ContainsFunc(Lists(), func(l List) bool {
		items, _ := o[l.Name].([]any)
		return len(l.Image) == 1 && slices.ContainsFunc(items, func(item any) bool {
			container, _ := item.(map[string]any)
			_, ok := container[l.Image[0]]
			return ok
		})
	})
}

func isList(name string) bool {
	return slices.ContainsFunc(Lists(), func(l List) bool { return l.Name == name })
}

// customField is a field of a custom resource that holds the image of a container.
type customField struct {
	group, kind string
	path        []string
}

func customFields() []customField {
	return []customField{
		// https://github.com/liqotech/liqo/blob/master/apis/offloading/v1beta1/vkoptionstemplate_types.go
		{"offloading.liqo.io", "VkOptionsTemplate", []string{"spec", "containerImage"}},
	}
}

func (k *walker) customFields(o map[string]any, w Workload) {
	for _, f := range customFields() {
		if f.group == group(w.APIVersion) && f.kind == w.Kind {
			k.at(f.path, func() { k.customField(o, w, f) })
		}
	}
}

func (k *walker) customField(o map[string]any, w Workload, f customField) {
	last := len(f.path) - 1
	for _, key := range f.path[:last] {
		o, _ = o[key].(map[string]any)
	}
	if value, ok := o[f.path[last]]; ok {
		w.field = newLocation(slices.Clone(k.path), o, f.path[last])
		w.Spec = map[string]any{"containers": []any{map[string]any{"name": f.path[last], "image": value}}}
		k.visit(w)
	}
}

// below returns the path of a value below another, which is not changed.
func below(path []string, keys ...string) []string {
	return slices.Concat(path, keys)
}

// either returns the text of a field, or other if it has none.
func either(o map[string]any, name, other string) string {
	if text, ok := o[name].(string); ok && text != "" {
		return text
	}
	return other
}

func group(apiVersion string) string {
	group, _, ok := strings.Cut(apiVersion, "/")
	if !ok {
		return ""
	}
	return group
}
