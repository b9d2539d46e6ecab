// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"encoding/json"
	"slices"
	"strconv"

	"go.yaml.in/yaml/v3"
	kubeyaml "sigs.k8s.io/yaml"
)

// The limits of what aliases may multiply a text into; a few lines of nested aliases
// could otherwise stand for billions of values.
const (
	maxExpansion     = 1 << 20
	maxExpansionSize = 64 << 20
)

// limit is what is left of the limits for the documents of a manifest.
type limit struct{ values, bytes int }

func newLimit() *limit { return &limit{maxExpansion, maxExpansionSize} }

func (l *limit) add(n *yaml.Node) bool {
	l.values--
	l.bytes -= len(n.Value)
	return l.values >= 0 && l.bytes >= 0
}

// graph resolves the aliases and merge keys (<<) of a document as kubectl's parser
// does: a merge key counts where it stands, so that it overrides the keys before it
// and is overridden by the keys after it. In a list of merges the first one wins.
//
// An alias makes one text appear in several places, so it also counts how often each
// text is read.
type graph struct {
	d       *document
	limit   *limit
	aliases []*yaml.Node
	entries map[*yaml.Node][]entry
	reads   map[*yaml.Node]int // nil without aliases: all is read once
	keys    map[string]string  // plain scalars as keys
}

// entry is a key and value of a mapping, its own or a merged one.
type entry struct {
	key, value *yaml.Node
	name       string // of the key
	last       bool   // no later entry has the key: this one counts
}

func newGraph(d *document, l *limit) (*graph, error) {
	g := &graph{d: d, limit: l, entries: map[*yaml.Node][]entry{}, keys: map[string]string{}}
	if err := g.index(d.root); err != nil {
		return nil, err
	}
	if len(g.aliases) == 0 {
		return g, nil
	}
	g.reads = map[*yaml.Node]int{}
	return g, g.count(d.root, true, map[*yaml.Node]bool{})
}

// index collects the aliases and applies the merge keys.
func (g *graph) index(n *yaml.Node) error {
	if n.Kind == yaml.AliasNode {
		g.aliases = append(g.aliases, n)
	}
	for _, child := range n.Content {
		if err := g.index(child); err != nil {
			return err
		}
	}
	if n.Kind == yaml.MappingNode {
		_, err := g.merge(n, nil)
		return err
	}
	return nil
}

// merge lists the entries of a mapping in the order in which they count.
func (g *graph) merge(m *yaml.Node, within []*yaml.Node) ([]entry, error) {
	if entries, ok := g.entries[m]; ok {
		return entries, nil
	}
	if slices.Contains(within, m) {
		return nil, g.endless(m)
	}
	within = append(within, m)
	var entries []entry
	for i := 0; i+1 < len(m.Content); i += 2 {
		key, value := m.Content[i], m.Content[i+1]
		if !isMerge(key) {
			entries = append(entries, entry{key: key, value: value, name: g.keyName(key)})
			continue
		}
		for _, source := range sources(value) {
			inherited, err := g.merge(source, within)
			if err != nil {
				return nil, err
			}
			for _, e := range inherited {
				if !g.limit.add(e.value) {
					return nil, g.excessive(m)
				}
				entries = append(entries, e)
			}
		}
	}
	seen := map[string]bool{}
	for i := range slices.Backward(entries) {
		entries[i].last = !seen[entries[i].name]
		seen[entries[i].name] = true
	}
	g.entries[m] = entries
	return entries, nil
}

// sources returns the mappings of a merge key, those that count more after the others.
// kubectl refuses other values.
func sources(value *yaml.Node) (mappings []*yaml.Node) {
	value = resolve(value)
	candidates := []*yaml.Node{value}
	if value.Kind == yaml.SequenceNode {
		candidates = value.Content
	}
	for _, c := range slices.Backward(candidates) {
		if c = resolve(c); c.Kind == yaml.MappingNode {
			mappings = append(mappings, c)
		}
	}
	return mappings
}

// count visits all values as kubectl's parser does, aliases expanded. A value that a
// later key of its mapping overrides is not read, but the parser expands it, too.
// open holds the collections that the visit is inside of.
func (g *graph) count(n *yaml.Node, isRead bool, open map[*yaml.Node]bool) error {
	_, seen := g.reads[n]
	if isRead {
		g.reads[n]++
	}
	target := resolve(n)
	if seen || n != target {
		if !g.limit.add(target) {
			return g.excessive(n)
		}
	} else if !isRead {
		g.reads[n] = 0
	}
	if open[target] {
		return g.endless(n)
	}
	open[target] = true
	defer delete(open, target)
	switch target.Kind {
	case yaml.SequenceNode:
		for _, child := range target.Content {
			if err := g.count(child, isRead, open); err != nil {
				return err
			}
		}
	case yaml.MappingNode:
		for _, e := range g.entries[target] {
			if err := g.count(e.key, isRead, open); err != nil {
				return err
			}
			if err := g.count(e.value, isRead && e.last, open); err != nil {
				return err
			}
		}
	}
	return nil
}

// readsOf counts the fields of the document whose value is this token.
func (g *graph) readsOf(token *yaml.Node) int {
	if g.reads == nil {
		return 1
	}
	return g.reads[token]
}

// token returns the token at a path of keys and indexes: the node as written, perhaps
// an alias; nil if there is none.
func (g *graph) token(path []string) *yaml.Node {
	n := g.d.root
	for _, step := range path {
		if n = g.child(resolve(n), step); n == nil {
			return nil
		}
	}
	return n
}

func (g *graph) child(n *yaml.Node, step string) *yaml.Node {
	switch n.Kind {
	case yaml.SequenceNode:
		if i, err := strconv.Atoi(step); err == nil && i < len(n.Content) {
			return n.Content[i]
		}
	case yaml.MappingNode:
		for _, e := range g.entries[n] {
			if e.last && e.name == step {
				return e.value
			}
		}
	}
	return nil
}

// keyName returns a key as kubectl writes it in JSON: on is true.
func (g *graph) keyName(key *yaml.Node) string {
	n := resolve(key)
	if n.Kind != yaml.ScalarNode || n.Style != 0 || g.d.spans != nil {
		return n.Value
	}
	name, ok := g.keys[n.Value]
	if !ok {
		name = plainKey(n.Value)
		g.keys[n.Value] = name
	}
	return name
}

// plainKey converts a key without quotes. Where kubectl refuses it, the whole document
// is refused later.
func plainKey(text string) string {
	raw, err := kubeyaml.YAMLToJSON([]byte("? " + text + "\n: 0"))
	if err != nil {
		return text
	}
	var object map[string]int
	if json.Unmarshal(raw, &object) == nil {
		for name := range object {
			return name
		}
	}
	return text
}

func (g *graph) endless(n *yaml.Node) error {
	return g.d.errorf(n.Line, "an anchor contains an alias of itself: remove the alias")
}

func (g *graph) excessive(n *yaml.Node) error {
	return g.d.errorf(n.Line, "aliases stand for more than %d values or %d MiB: write fewer aliases inside of anchors", maxExpansion, maxExpansionSize>>20)
}

func resolve(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

// isText reports whether a scalar is a string for all readers. A scalar with a custom
// tag is one.
func isText(n *yaml.Node) bool {
	if n.Kind != yaml.ScalarNode {
		return false
	}
	return !slices.Contains([]string{"!!null", "!!bool", "!!int", "!!float", "!!timestamp", "!!binary"}, n.ShortTag())
}

func isMerge(key *yaml.Node) bool {
	return key.Kind == yaml.ScalarNode && key.Value == "<<" && (key.ShortTag() == "!!merge" || key.Tag == "!")
}
