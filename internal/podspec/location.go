// SPDX-License-Identifier: Apache-2.0

package podspec

import (
	"slices"
	"strconv"
	"strings"
)

// Location is a field of a manifest that holds an image reference, or should.
type Location struct {
	// Path has the keys and indexes from the root of the document.
	Path []string
	// Text is the value if Fault is empty.
	Text string
	// Env is the name of the environment variable whose value this is, "" for the image
	// of a container or volume.
	Env string
	// Fault says what the field, or one on the way to it, holds: "a number in place of
	// text", "text in place of a list".
	Fault string

	object map[string]any
}

// Pointer returns the path as a JSON pointer (RFC 6901).
func (l Location) Pointer() string { return Pointer(l.Path) }

// Pointer writes a path of keys and indexes as a JSON pointer (RFC 6901).
func Pointer(path []string) string {
	var b strings.Builder
	for _, key := range path {
		b.WriteByte('/')
		if strings.ContainsAny(key, "~/") {
			key = strings.ReplaceAll(strings.ReplaceAll(key, "~", "~0"), "/", "~1")
		}
		b.WriteString(key)
	}
	return b.String()
}

// Set replaces the value in the decoded document. The location must have no fault.
func (l Location) Set(text string) { l.object[l.Path[len(l.Path)-1]] = text }

// Locations returns the fields of the pod spec that hold image references: of
// containers and volumes, and the values of the named environment variables. Absent
// fields are not among them; fields that hold something else are, with a fault.
func (w Workload) Locations(envVars []string) []Location {
	if w.field != nil {
		return []Location{*w.field}
	}
	f := locator{envVars: envVars}
	if spec, ok := f.object(w.Path, w.Spec); ok {
		for _, list := range Lists() {
			path := below(w.Path, list.Name)
			for i, item := range f.list(path, spec[list.Name]) {
				f.item(below(path, strconv.Itoa(i)), item, list)
			}
		}
	}
	return f.found
}

type locator struct {
	envVars []string
	found   []Location
}

func (f *locator) item(path []string, value any, list List) {
	item, ok := f.object(path, value)
	if !ok {
		return
	}
	f.image(path, item, list.Image)
	if list.Env {
		f.env(below(path, "env"), item["env"])
	}
}

// image adds the field at the names below an object.
func (f *locator) image(path []string, o map[string]any, names []string) {
	if len(names) == 1 {
		f.text(path, o, names[0], "")
		return
	}
	path = below(path, names[0])
	if o[names[0]] == nil {
		return // a volume of another type
	}
	if inner, ok := f.object(path, o[names[0]]); ok {
		f.image(path, inner, names[1:])
	}
}

// env adds the values of the listed variables. A fault in the list itself concerns no
// image.
func (f *locator) env(path []string, value any) {
	variables, _ := value.([]any)
	for i, v := range variables {
		variable, _ := v.(map[string]any)
		if name, _ := variable["name"].(string); slices.Contains(f.envVars, name) {
			f.text(below(path, strconv.Itoa(i)), variable, "value", name)
		}
	}
}

func (f *locator) text(path []string, o map[string]any, key, env string) {
	if _, ok := o[key]; ok {
		l := newLocation(below(path, key), o, key)
		l.Env = env
		f.found = append(f.found, *l)
	}
}

func (f *locator) object(path []string, value any) (map[string]any, bool) {
	o, ok := value.(map[string]any)
	if !ok {
		f.found = append(f.found, Location{Path: path, Fault: describe(value) + " in place of an object"})
	}
	return o, ok
}

func (f *locator) list(path []string, value any) []any {
	items, ok := value.([]any)
	if !ok && value != nil {
		f.found = append(f.found, Location{Path: path, Fault: describe(value) + " in place of a list"})
	}
	return items
}

func newLocation(path []string, o map[string]any, key string) *Location {
	l := &Location{Path: path, object: o}
	if text, ok := o[key].(string); ok {
		l.Text = text
	} else {
		l.Fault = describe(o[key]) + " in place of text"
	}
	return l
}

// describe names the type of a decoded value.
func describe(value any) string {
	switch value.(type) {
	case nil:
		return "null"
	case string:
		return "text"
	case bool:
		return "a boolean"
	case []any:
		return "a list"
	case map[string]any:
		return "an object"
	}
	return "a number"
}
