// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode"

	kubeyaml "k8s.io/apimachinery/pkg/util/yaml"
)

// lookahead is how far kubectl looks for the brace that begins JSON.
const lookahead = 4096

// decode reads a text with kubectl's decoder, as its resource builder does. The
// result has one item for each document, nil for those that kubectl skips. With an
// error it has the documents before the fault.
// https://github.com/kubernetes/kubernetes/blob/master/staging/src/k8s.io/cli-runtime/pkg/resource/visitor.go
func decode(text []byte) (objects []any, err error) {
	decoder := kubeyaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), lookahead)
	for {
		var raw json.RawMessage
		err := decoder.Decode(&raw)
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return objects, err
		}
		object, err := decodeJSON(raw)
		if err != nil {
			return objects, err
		}
		objects = append(objects, object)
	}
}

func decodeJSON(raw []byte) (object any, err error) {
	if len(bytes.TrimSpace(raw)) == 0 {
		return nil, nil
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	err = decoder.Decode(&object)
	return object, err
}

// notRead reports that kubectl cannot read a document; index counts from 0.
func (m *Manifest) notRead(index int, fault error) error {
	if index >= len(m.documents) {
		return fmt.Errorf("%s: document %d: kubectl cannot read it: %w", m.name, index+1, fault)
	}
	d := m.documents[index]
	line, message := splitLine(fault)
	return d.errorf(max(line, 1), "kubectl cannot read this document: %s: %s", message, remedy(d.text))
}

// part is the text of one document of a stream.
type part struct {
	start, end int // offsets
	line       int // of the first byte, from 1
	isJSON     bool
}

// split finds the documents in the text where kubectl's decoder finds them: JSON
// objects one after another, or YAML between lines that begin with three hyphens. After one
// JSON object it also accepts YAML.
func (m *Manifest) split() ([]part, error) {
	parts, rest := m.splitJSON()
	if rest < 0 {
		return parts, nil
	}
	line := 1 + bytes.Count(m.text[:rest], []byte("\n"))
	begin := part{start: rest, line: line}
	for at := rest; at < len(m.text); {
		end := len(m.text)
		if i := bytes.IndexByte(m.text[at:], '\n'); i >= 0 {
			end = at + i + 1
		}
		length := breaks(m.text[at:end])
		if after, ok := bytes.CutPrefix(m.text[at:end], []byte("---")); ok {
			if after = bytes.TrimSpace(after); len(after) > 0 && after[0] != '#' {
				return nil, fmt.Errorf("%s:%d: kubectl accepts nothing but a comment after ---: move the rest of this line to the next one", m.name, line)
			}
			if begin.start < at { // else the line belongs to the document that it begins
				begin.end = at
				parts = append(parts, begin)
				begin = part{start: end, line: line + length}
			}
		}
		at, line = end, line+length
	}
	if begin.start < len(m.text) {
		begin.end = len(m.text)
		parts = append(parts, begin)
	}
	return parts, nil
}

// splitJSON finds the JSON objects that the text begins with, and the offset of YAML
// behind them, -1 if there is none. Behind more than one object kubectl requires JSON.
func (m *Manifest) splitJSON() (parts []part, rest int) {
	if !kubeyaml.IsJSONBuffer(m.text[:min(len(m.text), lookahead)]) {
		return nil, 0
	}
	decoder := json.NewDecoder(bytes.NewReader(m.text))
	p := part{line: 1, isJSON: true}
	for {
		var raw json.RawMessage
		err := decoder.Decode(&raw)
		switch {
		case errors.Is(err, io.EOF):
			return parts, -1
		case err != nil && len(parts) > 1:
			return parts, -1 // kubectl's decoder reports it
		case err != nil:
			return parts, m.skipSpace(p.start)
		}
		p.end = int(decoder.InputOffset())
		skipped := len(m.text[p.start:p.end]) - len(bytes.TrimLeftFunc(m.text[p.start:p.end], unicode.IsSpace))
		p.line += bytes.Count(m.text[p.start:p.start+skipped], []byte("\n"))
		p.start += skipped
		parts = append(parts, p)
		p = part{start: p.end, line: p.line + bytes.Count(m.text[p.start:p.end], []byte("\n")), isJSON: true}
	}
}

// skipSpace passes white space up to the end of the line, as kubectl's decoder does
// before it turns to YAML.
func (m *Manifest) skipSpace(at int) int {
	for at < len(m.text) && m.text[at] != '\n' && unicode.IsSpace(rune(m.text[at])) {
		at++
	}
	if at < len(m.text) && m.text[at] == '\n' {
		at++
	}
	return at
}

// breaks counts the line breaks of YAML in a text.
func breaks(text []byte) (count int) {
	for i := 0; i < len(text); {
		n := breakAt(text[i:])
		if n > 0 {
			count++
		}
		i += max(n, 1)
	}
	return count
}
