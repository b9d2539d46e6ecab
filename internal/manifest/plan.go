// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"bytes"
	"cmp"
	"slices"

	"go.yaml.in/yaml/v3"
)

// edit replaces the bytes of one token.
type edit struct {
	span
	token *yaml.Node
	value string // what the token is to mean
	text  string // how that is written
}

// claim is what the image fields of one token require. All require the same:
// a token stands under one key, and the key says whether it is a field or a variable.
type claim struct {
	fields []*imageField
	target string
}

// plan returns the edits. With anchors one text stands for several values, so the
// two rules are: a text is replaced only if all its fields have the same target, and
// an alias whose value that would change is replaced by a literal.
func plan(d *document, fields []*imageField) ([]edit, error) {
	p := planner{document: d, position: newPosition(d), claims: map[*yaml.Node]*claim{}, final: map[*yaml.Node]string{}}
	var scalars []*yaml.Node
	for _, field := range fields {
		token, target := field.token, field.Result.Target
		if token == nil {
			continue
		}
		c := p.claims[token]
		if c == nil {
			c = &claim{target: target}
			p.claims[token] = c
			if token.Kind == yaml.ScalarNode {
				scalars = append(scalars, token)
			}
		}
		c.fields = append(c.fields, field)
	}
	slices.SortStableFunc(scalars, byPosition)
	for _, token := range scalars {
		p.scalar(token)
	}
	for _, token := range d.aliases {
		if err := p.alias(token); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(p.edits, func(a, b edit) int { return cmp.Compare(a.start, b.start) })
	return p.edits, nil
}

type planner struct {
	*document
	*position
	claims map[*yaml.Node]*claim
	final  map[*yaml.Node]string // what a replaced scalar will read as
	edits  []edit
}

// goal is what a token is to read as in the end.
func (p *planner) goal(token *yaml.Node) string {
	c, now := p.claims[token], resolve(token).Value
	switch {
	case c == nil:
		return now
	case c.target != now && p.readsOf(token) != len(c.fields):
		p.obstruct(token, "an anchor shares this text with a field that holds no image: write the image out where it is one")
		return now
	}
	return c.target
}

func (p *planner) obstruct(token *yaml.Node, why string) {
	for _, field := range p.claims[token].fields {
		field.Obstacle = why
	}
}

func (p *planner) scalar(token *yaml.Node) {
	goal := p.goal(token)
	if goal == token.Value {
		return
	}
	at, err := p.locate(token)
	if err != nil {
		p.obstruct(token, err.Error()+": change it by hand")
		return
	}
	p.final[token] = goal
	p.edits = append(p.edits, edit{span: at, token: token, value: goal, text: encode(at.style, goal)})
}

// alias keeps an alias whose anchor will read as it should, and otherwise writes
// the value instead of it.
func (p *planner) alias(token *yaml.Node) error {
	anchor := resolve(token)
	if anchor.Kind != yaml.ScalarNode {
		return nil
	}
	goal, will := p.goal(token), anchor.Value
	if final, ok := p.final[anchor]; ok {
		will = final
	}
	if goal == will {
		return nil
	}
	at, err := p.locate(token)
	if err != nil {
		return p.errorf(token.Line, "alias *%s: %w: write its value out by hand", token.Value, err)
	}
	p.edits = append(p.edits, edit{span: at, token: token, value: goal, text: encode(at.style, goal)})
	return nil
}

// apply writes the edits, which are in order and apart.
func apply(in []byte, edits []edit) []byte {
	var out bytes.Buffer
	last := 0
	for _, e := range edits {
		out.Write(in[last:e.start])
		out.WriteString(e.text)
		last = e.end
	}
	out.Write(in[last:])
	return out.Bytes()
}

func byPosition(a, b *yaml.Node) int {
	return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
}
