// SPDX-License-Identifier: Apache-2.0

// Package output encodes the results of commands for programs.
//
// YAML has the fields, the order and the values of the JSON: it is made from it, so
// that a type needs one set of tags.
package output

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Format is a value of --output.
type Format string

// The formats that several commands have.
const (
	Text Format = "" // a table or sentences, for people
	JSON Format = "json"
	YAML Format = "yaml"
	HTML Format = "html" // one file, for people who do not run the command
)

// Write encodes v as one document. The format is JSON or YAML.
func Write(w io.Writer, format Format, v any) error {
	text, err := encode(v, "  ")
	if err != nil {
		return err
	}
	switch format {
	case JSON:
		_, err = w.Write(text)
		return err
	case YAML:
		return writeYAML(w, text)
	}
	return fmt.Errorf("no encoder for the format %q", format)
}

// WriteEvent encodes v as one of many: JSON on one line, YAML as a document that
// begins with ---.
func WriteEvent(w io.Writer, format Format, v any) error {
	if format != JSON {
		var document bytes.Buffer
		document.WriteString("---\n")
		if err := Write(&document, format, v); err != nil {
			return err
		}
		_, err := w.Write(document.Bytes())
		return err
	}
	text, err := encode(v, "")
	if err == nil {
		_, err = w.Write(text)
	}
	return err
}

func encode(v any, indent string) ([]byte, error) {
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetIndent("", indent)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return text.Bytes(), err
}

// writeYAML writes JSON as YAML. The JSON is not read as YAML, which refuses control
// characters that JSON allows.
func writeYAML(w io.Writer, text []byte) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	root, err := readNode(d)
	if err != nil {
		return err
	}
	var document bytes.Buffer
	e := yaml.NewEncoder(&document)
	e.SetIndent(2)
	if err := errors.Join(e.Encode(root), e.Close()); err != nil {
		return err
	}
	_, err = w.Write(document.Bytes())
	return err
}

// readNode reads the next value.
func readNode(d *json.Decoder) (*yaml.Node, error) {
	token, err := d.Token()
	if err != nil {
		return nil, err
	}
	n := &yaml.Node{}
	switch token := token.(type) {
	case json.Delim:
		n.Kind = yaml.SequenceNode
		if token == '{' {
			n.Kind = yaml.MappingNode
		}
		for d.More() { // of an object, keys and values alternate
			child, err := readNode(d)
			if err != nil {
				return nil, err
			}
			n.Content = append(n.Content, child)
		}
		_, err = d.Token() // the closing delimiter
		return n, err
	case json.Number:
		n.Kind, n.Value = yaml.ScalarNode, number(token)
		return n, nil
	}
	return n, n.Encode(token) // quotes what other parsers would not read as a string
}

// number returns a number that YAML 1.1 reads as such: with an exponent it needs a
// point.
func number(n json.Number) string {
	s := n.String()
	if i := strings.IndexAny(s, "eE"); i >= 0 && !strings.Contains(s, ".") {
		return s[:i] + ".0" + s[i:]
	}
	return s
}
