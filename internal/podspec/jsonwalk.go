// SPDX-License-Identifier: Apache-2.0

package podspec

import (
	"bytes"
	"fmt"

	"github.com/go-json-experiment/json/jsontext"
)

// readObject calls f for each name of the next value, with the decoder at the
// name's value, which f must read or skip. The bytes of the name are valid only
// until then: a string for each name of a pod would be most of the garbage of a
// review. A null is an absent object, as everywhere in Kubernetes.
func readObject(d *jsontext.Decoder, f func(name []byte) error) error {
	t, err := d.ReadToken()
	if err != nil || t.Kind() == 'n' {
		return err
	}
	if t.Kind() != '{' {
		return fmt.Errorf("want an object, have %s", t.Kind())
	}
	for d.PeekKind() != '}' {
		name, err := readBytes(d)
		if err != nil {
			return err
		}
		if err := f(name); err != nil {
			return err
		}
	}
	_, err = d.ReadToken()
	return err
}

// readArray calls f for each item of the next value; null stands for no items.
func readArray(d *jsontext.Decoder, f func(index int) error) error {
	t, err := d.ReadToken()
	if err != nil || t.Kind() == 'n' {
		return err
	}
	if t.Kind() != '[' {
		return fmt.Errorf("want an array, have %s", t.Kind())
	}
	for i := 0; d.PeekKind() != ']'; i++ {
		if err := f(i); err != nil {
			return err
		}
	}
	_, err = d.ReadToken()
	return err
}

// readString reads the next value as a string; null stands for "".
func readString(d *jsontext.Decoder) (string, error) {
	b, err := readBytes(d)
	return string(b), err
}

// readBytes is readString without a copy: the result is valid until the decoder is
// used again.
func readBytes(d *jsontext.Decoder) ([]byte, error) {
	v, err := d.ReadValue()
	switch {
	case err != nil || v.Kind() == 'n':
		return nil, err
	case v.Kind() != '"':
		return nil, fmt.Errorf("want a string, have %s", v.Kind())
	}
	return unquote(v)
}

// unquote copies only what has escapes.
func unquote(v jsontext.Value) ([]byte, error) {
	if bytes.IndexByte(v, '\\') < 0 {
		return v[1 : len(v)-1], nil
	}
	return jsontext.AppendUnquote(nil, v)
}
