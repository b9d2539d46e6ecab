// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"bytes"
	"encoding/json"
	"fmt"

	"go.yaml.in/yaml/v3"
)

// parseJSON reads a JSON object into the same nodes that the YAML parser makes. JSON
// is not left to that parser, which does not know all of the escapes: \/ and
// surrogate pairs. The text was found by a JSON decoder, so it has no faults.
func (d *document) parseJSON() error {
	r := jsonReader{Decoder: json.NewDecoder(bytes.NewReader(d.text)), text: d.text, line: 1, spans: map[*yaml.Node]span{}}
	r.UseNumber()
	root, err := r.value()
	d.root, d.spans = root, r.spans
	return err
}

type jsonReader struct {
	*json.Decoder
	text       []byte
	line, seen int // the line at the offset seen
	spans      map[*yaml.Node]span
}

// value reads the next value.
func (r *jsonReader) value() (*yaml.Node, error) {
	start := int(r.InputOffset())
	token, err := r.Token()
	if err != nil {
		return nil, err
	}
	end := int(r.InputOffset())
	for start < end && bytes.IndexByte([]byte(" \t\r\n,:"), r.text[start]) >= 0 {
		start++
	}
	r.line += bytes.Count(r.text[r.seen:start], []byte("\n"))
	r.seen = start
	n := &yaml.Node{Kind: yaml.ScalarNode, Line: r.line}
	r.spans[n] = span{start: start, end: end, style: yaml.DoubleQuotedStyle}
	switch t := token.(type) {
	case json.Delim:
		n.Kind, n.Tag = yaml.SequenceNode, "!!seq"
		if t == '{' {
			n.Kind, n.Tag = yaml.MappingNode, "!!map"
		}
		return n, r.fill(n)
	case string:
		n.Tag, n.Value, n.Style = "!!str", t, yaml.DoubleQuotedStyle
	case json.Number:
		n.Tag, n.Value = "!!float", t.String()
	case bool:
		n.Tag, n.Value = "!!bool", fmt.Sprint(t)
	case nil:
		n.Tag, n.Value = "!!null", "null"
	}
	return n, nil
}

// fill reads the rest of an array or object: keys and values alternate, as in a
// mapping node.
func (r *jsonReader) fill(n *yaml.Node) error {
	for r.More() {
		child, err := r.value()
		if err != nil {
			return err
		}
		n.Content = append(n.Content, child)
	}
	_, err := r.Token()
	return err
}
