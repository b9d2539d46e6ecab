// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/castai/privatelink-webhook/internal/editdistance"
)

// Load reads privatelink.yaml. It is strict: an unknown key, a wrong type, a
// key twice or a second document is a fault, as is everything that New refuses.
// file is the name that the faults carry. The error is of type Faults.
func Load(file string, data []byte) (*Rules, error) {
	d := decoder{file: file, lines: map[string]int{}}
	return d.load(data)
}

// LoadServed reads privatelink.yaml as the server does, which a rolling update or a
// rollback may give a file of the next minor version. It returns the keys that it
// ignored, as faults: unknown ones at the top level, and in repositories and track, which
// concern the mirror only. Without them the server does what its version always did.
//
// All else is refused as Load does: an unknown key in a rule, since the rule may mean
// something else with it; a key that is a typing error for a known one; and another
// apiVersion, which stands for keys that changed their meaning.
func LoadServed(file string, data []byte) (rules *Rules, ignored Faults, err error) {
	d := decoder{file: file, lines: map[string]int{}, ignoresNewKeys: true}
	rules, err = d.load(data)
	return rules, d.ignored, err
}

func (d *decoder) load(data []byte) (*Rules, error) {
	rules, err := New(d.document(data))
	var faults Faults
	if errors.As(err, &faults) {
		d.add(faults)
	}
	if len(d.faults) > 0 {
		return nil, d.faults
	}
	return rules, nil
}

// add appends the faults of the rules to those of the file, except for fields
// that could not be read.
func (d *decoder) add(faults Faults) {
	unread := map[string]bool{}
	for _, f := range d.faults {
		unread[f.Field] = true
	}
	for _, f := range faults {
		if !unread[f.Field] && !unread[""] {
			f.File, f.Line = d.file, d.line(f.Field)
			d.faults = append(d.faults, f)
		}
	}
}

// decoder walks the YAML nodes, so that every fault has a line and a field and
// one fault does not hide the next.
type decoder struct {
	file   string
	lines  map[string]int // field → line
	faults Faults

	ignoresNewKeys bool
	ignored        Faults
}

func (d *decoder) fault(n *yaml.Node, field, what, fix string) {
	f := Fault{File: d.file, Field: field, What: withoutUser(what), Fix: fix}
	if n != nil {
		f.Line = n.Line
	}
	d.faults = append(d.faults, f)
}

// line finds the line of a field, or of the nearest field above it.
func (d *decoder) line(field string) int {
	for field != "" {
		if l, ok := d.lines[field]; ok {
			return l
		}
		field = field[:max(strings.LastIndexAny(field, ".["), 0)]
	}
	return 1
}

func (d *decoder) document(data []byte) (c Config) {
	in := yaml.NewDecoder(strings.NewReader(string(data)))
	var doc, second yaml.Node
	if err := in.Decode(&doc); err != nil {
		what := "not YAML: " + err.Error()
		if errors.Is(err, io.EOF) {
			what = "the file is empty"
		}
		d.fault(nil, "", what, "write at least: registry: <your ECR prefix>")
		return c
	}
	if err := in.Decode(&second); !errors.Is(err, io.EOF) {
		d.fault(&second, "", "a second document follows", "keep one document in the file")
	}
	d.mapping(doc.Content[0], "", map[string]func(*yaml.Node, string){
		"apiVersion":        d.constant(APIVersion),
		"kind":              d.constant(Kind),
		"registry":          d.text(&c.Registry),
		"namespaces":        d.list(&c.Namespaces),
		"namespaceSelector": func(n *yaml.Node, field string) { d.selector(n, field+".", &c.NamespaceSelector) },
		"keep":              d.list(&c.Keep),
		"envVars":           d.list(&c.EnvVars),
		"rules": func(n *yaml.Node, field string) {
			d.items(n, field, func(n *yaml.Node, field string) {
				var r Rule
				d.mapping(n, field+".", map[string]func(*yaml.Node, string){
					"source": d.text(&r.Source), "target": d.text(&r.Target),
				})
				c.Rules = append(c.Rules, r)
			})
		},
		"repositories": func(n *yaml.Node, field string) { d.repositories(n, field+".", &c.Repositories) },
		"track":        func(n *yaml.Node, field string) { d.track(n, field+".", &c.Track) },
	})
	return c
}

func (d *decoder) selector(n *yaml.Node, prefix string, s *LabelSelector) {
	d.mapping(n, prefix, map[string]func(*yaml.Node, string){
		"matchLabels": d.texts(&s.MatchLabels),
		"matchExpressions": func(n *yaml.Node, field string) {
			d.items(n, field, func(n *yaml.Node, field string) {
				var r LabelRequirement
				d.mapping(n, field+".", map[string]func(*yaml.Node, string){
					"key": d.text(&r.Key), "operator": d.text(&r.Operator), "values": d.list(&r.Values),
				})
				s.MatchExpressions = append(s.MatchExpressions, r)
			})
		},
	})
}

func (d *decoder) repositories(n *yaml.Node, prefix string, r *Repositories) {
	d.mapping(n, prefix, map[string]func(*yaml.Node, string){
		"tagMutability": d.text(&r.TagMutability), "excludedTags": d.list(&r.ExcludedTags),
		"encryption": d.text(&r.Encryption), "kmsKey": d.text(&r.KMSKey), "scanOnPush": d.truth(&r.ScanOnPush),
		"lifecyclePolicy": d.text(&r.LifecyclePolicy), "repositoryPolicy": d.text(&r.RepositoryPolicy),
		"tags": d.texts(&r.Tags),
	})
}

// mapping calls the function of each key and refuses all other keys.
func (d *decoder) mapping(n *yaml.Node, prefix string, keys map[string]func(*yaml.Node, string)) {
	n = resolve(n)
	if n.Kind != yaml.MappingNode {
		d.fault(n, strings.TrimSuffix(prefix, "."), "want keys and values, have "+describe(n), "see docs/reference/configuration.md for the form")
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		read, known := keys[key.Value]
		switch {
		case !known && d.ignoresNewKeys && slices.Contains([]string{"", "repositories.", "track."}, prefix) && !isTypo(key.Value, keys):
			d.ignored = append(d.ignored, Fault{File: d.file, Line: key.Line, Field: prefix + key.Value, What: "unknown key", Fix: "update the webhook to the version that has it"})
		case !known:
			d.fault(key, prefix+key.Value, "unknown key", hint(key.Value, keys))
		case seen[key.Value]:
			d.fault(key, prefix+key.Value, "the key stands twice", "keep one of the two")
		default:
			d.lines[prefix+key.Value] = key.Line
			read(value, prefix+key.Value)
		}
		seen[key.Value] = true
	}
}

func (d *decoder) items(n *yaml.Node, field string, read func(*yaml.Node, string)) {
	n = resolve(n)
	if n.Kind != yaml.SequenceNode {
		if n.Tag != "!!null" {
			d.fault(n, field, "want a list, have "+describe(n), "write "+field+": [...]")
		}
		return
	}
	for i, item := range n.Content {
		at := fmt.Sprintf("%s[%d]", field, i)
		d.lines[at] = item.Line
		read(item, at)
	}
}

func (d *decoder) list(into *[]string) func(*yaml.Node, string) {
	return func(n *yaml.Node, field string) {
		if resolve(n).Tag != "!!null" {
			*into = []string{} // an empty list is a choice, an absent one the default
		}
		d.items(n, field, func(n *yaml.Node, field string) {
			var s string
			d.text(&s)(n, field)
			*into = append(*into, s)
		})
	}
}

func (d *decoder) text(into *string) func(*yaml.Node, string) {
	return func(n *yaml.Node, field string) {
		n = resolve(n)
		if n.Kind != yaml.ScalarNode || n.Tag != "!!str" {
			d.fault(n, field, "want text, have "+describe(n), "put the value in quotes if it is meant as text")
			return
		}
		*into = n.Value
	}
}

func (d *decoder) truth(into *bool) func(*yaml.Node, string) {
	return func(n *yaml.Node, field string) {
		if n = resolve(n); n.Tag != "!!bool" || n.Decode(into) != nil {
			d.fault(n, field, "want true or false, have "+describe(n), "write "+field+": true, or leave it out")
		}
	}
}

// texts reads keys and values of the user's own choice.
func (d *decoder) texts(into *map[string]string) func(*yaml.Node, string) {
	return func(n *yaml.Node, field string) {
		n = resolve(n)
		if n.Kind != yaml.MappingNode {
			d.fault(n, field, "want keys and values, have "+describe(n), "write "+field+": {key: value}")
			return
		}
		*into = map[string]string{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			key, at := n.Content[i].Value, field+"."+n.Content[i].Value
			if _, twice := (*into)[key]; twice {
				d.fault(n.Content[i], at, "the key stands twice", "keep one of the two")
			}
			var value string
			d.text(&value)(n.Content[i+1], at)
			(*into)[key] = value
		}
	}
}

func (d *decoder) constant(want string) func(*yaml.Node, string) {
	return func(n *yaml.Node, field string) {
		if n = resolve(n); n.Value != want {
			d.fault(n, field, fmt.Sprintf("want %q, have %s", want, describe(n)), "write "+field+": "+want+", or leave it out")
		}
	}
}

func resolve(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

func describe(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "keys and values"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Tag == "!!null":
		return "nothing"
	case n.Tag == "!!str":
		return fmt.Sprintf("%q", n.Value)
	}
	return n.Value + " (" + strings.TrimPrefix(n.Tag, "!!") + ")"
}

// hint offers the known key that the unknown one looks like.
func hint(key string, keys map[string]func(*yaml.Node, string)) string {
	letters := strings.NewReplacer("_", "", "-", "", " ", "").Replace(strings.ToLower(key))
	for known := range keys {
		k := strings.ToLower(known)
		if letters != "" && (strings.HasPrefix(k, letters) || strings.HasPrefix(letters, k)) {
			return "did you mean " + known + "?"
		}
	}
	return "the keys here are " + strings.Join(slices.Sorted(maps.Keys(keys)), ", ")
}

// isTypo reports whether the key is so close to a known one that it is no key of
// another version: new keys are chosen to differ from the others by more.
func isTypo(key string, keys map[string]func(*yaml.Node, string)) bool {
	for known := range keys {
		a, b := strings.ToLower(key), strings.ToLower(known)
		longer := len(a) - len(b) // no distance is smaller, and a key may be of any length
		if -2 <= longer && longer <= 2 && editdistance.Of(a, b) <= 2 {
			return true
		}
	}
	return false
}
