// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"slices"

	"go.yaml.in/yaml/v3"
)

// maxExpansion bounds the nodes that aliases may multiply into; a few lines of
// nested aliases could otherwise stand for billions.
const maxExpansion = 1 << 20

// graph resolves the aliases and merge keys (<<) of a stream. An alias makes one
// text appear in several places, so it also counts how often each text is read.
type graph struct {
	s       *stream
	aliases []*yaml.Node
	merged  map[*yaml.Node][]pair
	reads   map[*yaml.Node]int // nil without aliases: all is read once
	budget  int
}

type pair struct{ key, value *yaml.Node }

func newGraph(s *stream) (*graph, error) {
	g := &graph{s: s, merged: map[*yaml.Node][]pair{}, budget: maxExpansion}
	for _, doc := range s.docs {
		if err := g.index(doc); err != nil {
			return nil, err
		}
	}
	if len(g.aliases) == 0 {
		return g, nil
	}
	g.reads = map[*yaml.Node]int{}
	for _, doc := range s.docs {
		if err := g.count(doc, map[*yaml.Node]bool{}); err != nil {
			return nil, err
		}
	}
	return g, nil
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

// merge lists the entries of a mapping: its own, all of them if a key occurs
// twice, and the merged ones that no earlier entry overrides.
func (g *graph) merge(m *yaml.Node, within []*yaml.Node) ([]pair, error) {
	if pairs, ok := g.merged[m]; ok {
		return pairs, nil
	}
	if slices.Contains(within, m) {
		return nil, g.endless(m)
	}
	within = append(within, m)
	var pairs []pair
	var sources []*yaml.Node
	for i := 0; i+1 < len(m.Content); i += 2 {
		key, value := m.Content[i], m.Content[i+1]
		if !isMerge(key) {
			pairs = append(pairs, pair{key, value})
			continue
		}
		switch value = resolve(value); value.Kind {
		case yaml.MappingNode:
			sources = append(sources, value)
		case yaml.SequenceNode:
			sources = append(sources, value.Content...)
		}
	}
	for _, source := range sources {
		source = resolve(source)
		if source.Kind != yaml.MappingNode {
			continue
		}
		inherited, err := g.merge(source, within)
		if err != nil {
			return nil, err
		}
		overriding := map[string]bool{}
		for _, p := range pairs {
			overriding[keyOf(p.key)] = true
		}
		for _, p := range inherited {
			if g.budget--; g.budget < 0 {
				return nil, g.excessive(m)
			}
			if !overriding[keyOf(p.key)] {
				pairs = append(pairs, p)
			}
		}
	}
	g.merged[m] = pairs
	return pairs, nil
}

// count visits all values as a reader of the stream would, aliases expanded.
// open holds the collections that the visit is inside of.
func (g *graph) count(n *yaml.Node, open map[*yaml.Node]bool) error {
	g.reads[n]++
	target := resolve(n)
	if g.reads[n] > 1 || n != target {
		if g.budget--; g.budget < 0 {
			return g.excessive(n)
		}
	}
	if open[target] {
		return g.endless(n)
	}
	var children []*yaml.Node
	switch target.Kind {
	case yaml.SequenceNode:
		children = target.Content
	case yaml.MappingNode:
		for _, p := range g.merged[target] {
			children = append(children, p.key, p.value)
		}
	}
	open[target] = true
	for _, child := range children {
		if err := g.count(child, open); err != nil {
			return err
		}
	}
	delete(open, target)
	return nil
}

// readsOf counts the fields of the stream whose value is this token.
func (g *graph) readsOf(token *yaml.Node) int {
	if g.reads == nil {
		return 1
	}
	return g.reads[token]
}

// fields returns the tokens of a key of a mapping: one, or none, or several if
// the mapping is faulty. A token is the node as written, perhaps an alias.
func (g *graph) fields(n *yaml.Node, key string) (tokens []*yaml.Node) {
	n = resolve(n)
	if n.Kind != yaml.MappingNode {
		return nil
	}
	for _, p := range g.merged[n] {
		if text, ok := textOf(p.key); ok && text == key {
			tokens = append(tokens, p.value)
		}
	}
	return tokens
}

// descend follows a path of keys.
func (g *graph) descend(n *yaml.Node, path []string) []*yaml.Node {
	tokens := []*yaml.Node{n}
	for _, key := range path {
		var next []*yaml.Node
		for _, t := range tokens {
			next = append(next, g.fields(t, key)...)
		}
		tokens = next
	}
	return tokens
}

// text returns the text at a path of keys, "" if there is none. Of a key that
// occurs twice the last counts, as it does for kubectl.
func (g *graph) text(n *yaml.Node, path ...string) (last string) {
	for _, token := range g.descend(n, path) {
		last, _ = textOf(token)
	}
	return last
}

func (g *graph) endless(n *yaml.Node) error {
	return g.s.errorf(n.Line, "an anchor contains an alias of itself; remove the alias")
}

func (g *graph) excessive(n *yaml.Node) error {
	return g.s.errorf(n.Line, "aliases stand for more than %d values; write fewer aliases inside of anchors", maxExpansion)
}

func resolve(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

// textOf returns the value of a string. A scalar with a custom tag is a
// string for every reader.
func textOf(token *yaml.Node) (string, bool) {
	n := resolve(token)
	if n.Kind != yaml.ScalarNode {
		return "", false
	}
	switch n.ShortTag() {
	case "!!null", "!!bool", "!!int", "!!float", "!!timestamp", "!!binary":
		return "", false
	}
	return n.Value, true
}

// keyOf identifies the scalar keys of a mapping; collections as keys have no
// meaning in a manifest and count as one.
func keyOf(token *yaml.Node) string {
	n := resolve(token)
	return n.ShortTag() + " " + n.Value
}

func isMerge(key *yaml.Node) bool {
	return key.Kind == yaml.ScalarNode && key.Value == "<<" && key.ShortTag() == "!!merge"
}
