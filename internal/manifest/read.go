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

// stream is a text and the documents that were read from it.
type stream struct {
	name string
	text []byte
	docs []*yaml.Node // the root value of each document
	// spans are the tokens of a JSON stream. For YAML they are found when
	// needed, by the line and column of the node: see position.
	spans map[*yaml.Node]span
}

// read reads a text as JSON documents if it consists of them, as YAML otherwise.
// JSON is not left to the YAML parser, which knows neither documents that follow
// each other without a marker (jq prints such) nor all of the escapes: \/ and
// surrogate pairs.
func read(name string, text []byte) (*stream, error) {
	s := &stream{name: name, text: text}
	if err := s.checkEncoding(); err != nil {
		return nil, err
	}
	if s.readJSON() {
		return s, nil
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	for {
		doc, err := next(decoder)
		if errors.Is(err, io.EOF) {
			return s, nil
		}
		if err != nil {
			return nil, s.notYAML(err)
		}
		s.docs = append(s.docs, doc.Content[0])
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

// errorf is an error at a line of the stream.
func (s *stream) errorf(line int, format string, args ...any) error {
	return fmt.Errorf("%s:%d: %w", s.name, line, fmt.Errorf(format, args...))
}

// line returns the line of a byte as editors count them.
func (s *stream) line(offset int) int { return 1 + bytes.Count(s.text[:offset], []byte("\n")) }

// checkEncoding refuses what the parsers would refuse without naming the line,
// and UTF-16, which the YAML parser would read but kubectl would not.
func (s *stream) checkEncoding() error {
	if bytes.HasPrefix(s.text, []byte("\xff\xfe")) || bytes.HasPrefix(s.text, []byte("\xfe\xff")) {
		return s.errorf(1, "the text is UTF-16, as PowerShell's > writes it; save it as UTF-8")
	}
	for i := 0; i < len(s.text); {
		r, n := utf8.DecodeRune(s.text[i:])
		if r == utf8.RuneError && n == 1 {
			return s.errorf(s.line(i), "byte 0x%02x is not UTF-8; save the text as UTF-8", s.text[i])
		}
		i += n
	}
	return nil
}

// notYAML adds the position before a fault of the parser and the likely remedy
// behind it.
func (s *stream) notYAML(fault error) error {
	message := strings.TrimPrefix(fault.Error(), "yaml: ")
	if _, rest, ok := strings.Cut(message, ": "); ok && strings.HasPrefix(message, "line ") {
		message = rest // the line is where the collection around the fault begins
	}
	remedy := "correct that line or the one before"
	switch {
	case bytes.HasPrefix(bytes.TrimSpace(s.text), []byte("<")):
		remedy = "this looks like a web page: check the address and the token that it was fetched with"
	case bytes.Contains(s.text, []byte("{{")):
		remedy = "this looks like a template: render it first, for instance with helm template"
	}
	return s.errorf(s.faultLine(), "not YAML: %s; %s", message, remedy)
}

// faultLine is the line at which the parser stopped: it is given one line at a
// time, and the fault is in the last one that it has read, or the one before.
func (s *stream) faultLine() int {
	lines := &lineReader{rest: s.text}
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
