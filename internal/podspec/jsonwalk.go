// SPDX-License-Identifier: Apache-2.0

package podspec

import (
	"bytes"
	"fmt"

	"github.com/go-json-experiment/json/jsontext"
)

// source is a JSON text that is read from the start to the end, as described at
// jsonscan.Reader, which reads what API servers write. A library reads all of JSON,
// and decides on everything else.
//
// The byte slices are valid only until the source is used again: a string for each
// name of a pod would be most of the garbage of a review. A null is an object or an
// array without content, or an empty string, as everywhere in Kubernetes.
type source interface {
	Object()
	Array()
	Next() bool
	Name() []byte
	Text() []byte
	Skip()
	Kind() byte
	Offset() int
	Err() error
}

// library is the source that is strict and has errors with positions.
type library struct {
	*jsontext.Decoder
	open []jsontext.Kind // '{', '[', or 'n' for a null in their place
	name []byte
	err  error
}

func (l *library) Err() error   { return l.err }
func (l *library) Name() []byte { return l.name }
func (l *library) Offset() int  { return int(l.InputOffset()) }
func (l *library) Object()      { l.begin('{', "an object") }
func (l *library) Array()       { l.begin('[', "an array") }

func (l *library) Kind() byte {
	if l.err != nil {
		return 0
	}
	return byte(l.PeekKind())
}

func (l *library) Skip() {
	if l.err == nil {
		l.err = l.SkipValue()
	}
}

func (l *library) begin(kind jsontext.Kind, what string) {
	if l.err != nil {
		return
	}
	t, err := l.ReadToken()
	if l.err = err; err != nil {
		return
	}
	if t.Kind() != kind && t.Kind() != 'n' {
		l.err = fmt.Errorf("want %s, have %s", what, t.Kind())
		return
	}
	l.open = append(l.open, t.Kind())
}

func (l *library) Next() bool {
	if l.err != nil {
		return false
	}
	last := len(l.open) - 1
	kind, next := l.open[last], l.PeekKind()
	if kind == 'n' || next == '}' || next == ']' {
		if l.open = l.open[:last]; kind != 'n' {
			_, l.err = l.ReadToken()
		}
		return false
	}
	if kind == '{' {
		l.name = l.Text()
	}
	return l.err == nil
}

func (l *library) Text() []byte {
	if l.err != nil {
		return nil
	}
	v, err := l.ReadValue()
	switch {
	case err != nil || v.Kind() == 'n':
		l.err = err
		return nil
	case v.Kind() != '"':
		l.err = fmt.Errorf("want a string, have %s", v.Kind())
		return nil
	}
	text, err := unquote(v)
	l.err = err
	return text
}

// unquote copies only what has escapes.
func unquote(v jsontext.Value) ([]byte, error) {
	if bytes.IndexByte(v, '\\') < 0 {
		return v[1 : len(v)-1], nil
	}
	return jsontext.AppendUnquote(nil, v)
}
