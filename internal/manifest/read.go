// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

const byteOrderMark = "\ufeff"

// Manifest is a text with Kubernetes objects. It is not safe for concurrent use.
type Manifest struct {
	name      string
	text      []byte
	documents []*document
}

// Document is one object of a manifest.
type Document struct {
	// Number counts the documents of the text from 1.
	Number int
	// Object is what kubectl reads, as encoding/json decodes it, with numbers as
	// json.Number. Other values than objects are of no use to kubectl.
	Object any
}

// document is a document and its source. Its offsets and lines are relative to text.
type document struct {
	Document
	name   string     // of the manifest
	start  int        // offset of text in the manifest
	before int        // lines before text in the manifest
	text   []byte     // with a final line break
	root   *yaml.Node // nil if there is nothing but comments
	// spans are the tokens of JSON. For YAML they are found when needed, by the line
	// and column of the node: see position.
	spans map[*yaml.Node]span
	*graph
}

// Parse reads a text as kubectl does; name stands for it in errors and may be a file
// name. Only what kubectl reads the same way as other readers of YAML is accepted.
func Parse(name string, text []byte) (*Manifest, error) {
	m := &Manifest{name: name, text: text}
	if err := m.checkEncoding(); err != nil {
		return nil, err
	}
	parts, err := m.split()
	if err != nil {
		return nil, err
	}
	limit := newLimit()
	for _, p := range parts {
		d := &document{name: name, start: p.start, before: p.line - 1, text: text[p.start:p.end]}
		if err := d.parse(p.isJSON); err != nil {
			return nil, err
		}
		if d.root != nil {
			if d.graph, err = newGraph(d, limit); err != nil {
				return nil, err
			}
		}
		m.documents = append(m.documents, d)
	}
	// The documents are small enough now, with all aliases expanded.
	objects, err := decode(text)
	if err != nil {
		return nil, m.notRead(len(objects), err)
	}
	if len(objects) != len(m.documents) {
		return nil, fmt.Errorf("%s: kubectl reads %d documents, but there are %d: write --- between documents", name, len(objects), len(m.documents))
	}
	m.number(objects)
	return m, nil
}

// number gives the documents their objects and drops those without any.
func (m *Manifest) number(objects []any) {
	all := m.documents
	m.documents = nil
	for i, d := range all {
		if d.root == nil {
			continue
		}
		d.Number, d.Object = len(m.documents)+1, objects[i]
		m.documents = append(m.documents, d)
	}
}

// Documents returns the documents of the manifest. Those that have only comments
// are not among them.
func (m *Manifest) Documents() []Document {
	documents := make([]Document, len(m.documents))
	for i, d := range m.documents {
		documents[i] = d.Document
	}
	return documents
}

// parse reads the one document of the text into nodes.
func (d *document) parse(isJSON bool) error {
	if isJSON {
		return d.parseJSON()
	}
	if !bytes.HasSuffix(d.text, []byte("\n")) {
		d.text = append(bytes.Clone(d.text), '\n') // kubectl does so, and a block scalar shows it
	}
	decoder := yaml.NewDecoder(bytes.NewReader(d.text))
	doc, err := next(decoder)
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err != nil {
		return d.notYAML(err)
	}
	d.root = doc.Content[0]
	switch second, err := next(decoder); {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return d.notYAML(err)
	default:
		return d.errorf(second.Content[0].Line, "kubectl does not read a document that follows without a line ---: add the line")
	}
}

// next reads a document. The parser is known to panic where it should report a
// fault: https://github.com/mikefarah/yq/issues/2481.
func next(decoder *yaml.Decoder) (doc yaml.Node, err error) {
	defer func() {
		if fault := recover(); fault != nil {
			err = fmt.Errorf("the parser gave up: %v", fault)
		}
	}()
	err = decoder.Decode(&doc)
	return doc, err
}

// errorf is an error at a line of the document.
func (d *document) errorf(line int, format string, args ...any) error {
	return fmt.Errorf("%s:%d: %w", d.name, d.before+line, fmt.Errorf(format, args...))
}

// checkEncoding refuses what the parsers would refuse without naming the line,
// and UTF-16, which the YAML parser would read but kubectl would not.
func (m *Manifest) checkEncoding() error {
	if bytes.HasPrefix(m.text, []byte("\xff\xfe")) || bytes.HasPrefix(m.text, []byte("\xfe\xff")) {
		return fmt.Errorf("%s:1: the text is UTF-16, as PowerShell's > writes it: save it as UTF-8", m.name)
	}
	for i := 0; i < len(m.text); {
		r, n := utf8.DecodeRune(m.text[i:])
		if r == utf8.RuneError && n == 1 {
			return fmt.Errorf("%s:%d: byte 0x%02x is not UTF-8: save the text as UTF-8", m.name, 1+bytes.Count(m.text[:i], []byte("\n")), m.text[i])
		}
		i += n
	}
	return nil
}

// notYAML adds the position before a fault of the parser and the likely remedy
// behind it.
func (d *document) notYAML(fault error) error {
	_, message := splitLine(fault) // the line is where the collection around the fault begins
	return d.errorf(d.faultLine(), "not YAML: %s: %s", message, remedy(d.text))
}

// splitLine splits the line number off a message of the YAML parsers, 0 if it has none.
func splitLine(fault error) (line int, message string) {
	_, message, ok := strings.Cut(fault.Error(), "yaml: ")
	if !ok {
		return 0, fault.Error()
	}
	if before, rest, ok := strings.Cut(message, ": "); ok {
		if n, err := fmt.Sscanf(before, "line %d", &line); n == 1 && err == nil {
			return line, rest
		}
	}
	return 0, message
}

const renderFirst = "this looks like a template: render it first, for instance with helm template"

// remedy guesses why a text is no YAML.
func remedy(text []byte) string {
	switch {
	case bytes.HasPrefix(bytes.TrimSpace(text), []byte("<")):
		return "this looks like a web page: check the address and the token that it was fetched with"
	case bytes.HasPrefix(text, []byte("%")):
		return "kubectl accepts no directives: remove the line"
	case bytes.Contains(text, []byte("{{")):
		return renderFirst
	}
	return "correct that line or the one before"
}

// faultLine is the line at which the parser stopped: it is given one line at a
// time, and the fault is in the last one that it has read, or the one before.
func (d *document) faultLine() int {
	lines := &lineReader{rest: d.text}
	for decoder := yaml.NewDecoder(lines); ; {
		if _, err := next(decoder); err != nil {
			return max(lines.count, 1)
		}
	}
}

type lineReader struct {
	rest  []byte
	count int
}

func (r *lineReader) Read(p []byte) (int, error) {
	if len(r.rest) == 0 {
		return 0, io.EOF
	}
	end := bytes.IndexByte(r.rest, '\n') + 1
	if end == 0 {
		end = len(r.rest)
	}
	n := copy(p, r.rest[:end])
	if n == end {
		r.count++
	}
	r.rest = r.rest[n:]
	return n, nil
}
