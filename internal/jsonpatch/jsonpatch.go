// SPDX-License-Identifier: Apache-2.0

// Package jsonpatch has the operations of JSON Patch (RFC 6902) that this
// project writes.
package jsonpatch

import (
	"maps"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// Operation is one step of a patch.
type Operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value"`
}

// Add returns the operation that sets a member of an object.
func Add(path string, value any) Operation { return Operation{"add", path, value} }

// Replace returns the operation that changes a value that exists.
func Replace(path string, value any) Operation { return Operation{"replace", path, value} }

// Remove returns the operation that removes a member that exists.
func Remove(path string) Operation { return Operation{"remove", path, nil} }

// Builder writes a patch of strings without reflection. The zero value is an empty
// patch.
type Builder struct{ text []byte }

// Grow makes room for n more bytes.
func (b *Builder) Grow(n int) { b.text = slices.Grow(b.text, n) }

// Replace appends the operation that changes a string that exists.
func (b *Builder) Replace(path, value string) {
	b.begin("replace", path)
	b.text = append(appendString(b.text, value), '}')
}

// Add appends the operation that sets a member of an object to a string.
func (b *Builder) Add(path, value string) {
	b.begin("add", path)
	b.text = append(appendString(b.text, value), '}')
}

// AddObject appends the operation that sets a member of an object to an object of
// strings.
func (b *Builder) AddObject(path string, members map[string]string) {
	b.begin("add", path)
	b.text = append(AppendObject(b.text, members), '}')
}

func (b *Builder) begin(op, path string) {
	separator := byte(',')
	if len(b.text) == 0 {
		separator = '['
	}
	b.text = append(b.text, separator)
	b.text = append(b.text, `{"op":"`...)
	b.text = append(b.text, op...)
	b.text = append(b.text, `","path":`...)
	b.text = append(appendString(b.text, path), `,"value":`...)
}

// IsEmpty reports whether the patch has no operation.
func (b *Builder) IsEmpty() bool { return len(b.text) == 0 }

// Patch returns the JSON of the patch, to which no more can be appended.
func (b *Builder) Patch() []byte {
	if b.IsEmpty() {
		return []byte("[]")
	}
	return append(b.text, ']')
}

// AppendObject appends an object of strings as JSON, its names in order.
func AppendObject(b []byte, members map[string]string) []byte {
	b = append(b, '{')
	for i, name := range slices.Sorted(maps.Keys(members)) {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendString(b, name), ':')
		b = appendString(b, members[name])
	}
	return append(b, '}')
}

// appendString appends a string as JSON; invalid UTF-8 becomes the replacement
// character.
func appendString(b []byte, s string) []byte {
	b, _ = jsontext.AppendQuote(b, s) // the only error is of invalid UTF-8
	return b
}

// Escape returns a member's name as one token of a JSON pointer (RFC 6901).
func Escape(name string) string {
	return strings.ReplaceAll(strings.ReplaceAll(name, "~", "~0"), "/", "~1")
}
