// SPDX-License-Identifier: Apache-2.0

// Package jsonpatch has the operations of JSON Patch (RFC 6902) that this
// project writes.
package jsonpatch

import "strings"

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

// Escape returns a member's name as one token of a JSON pointer (RFC 6901).
func Escape(name string) string {
	return strings.ReplaceAll(strings.ReplaceAll(name, "~", "~0"), "/", "~1")
}
