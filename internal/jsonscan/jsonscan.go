// SPDX-License-Identifier: Apache-2.0

// Package jsonscan reads the JSON that an API server writes, in one pass and
// without garbage.
//
// It is not a JSON parser for all texts: what a Reader reads without an error is
// JSON as RFC 8259 defines it, without duplicate names, but it also gives up on valid
// JSON that is rare in Kubernetes objects. The caller then uses a library, whose
// judgment and errors are final. So a Reader needs no tables for objects of any size,
// no positions and no error texts.
package jsonscan

import (
	"errors"
	"sync"

	"github.com/go-json-experiment/json/jsontext"
)

// ErrGaveUp is the error for text that is not JSON, or that a Reader does not
// read: names with other characters than ASCII or other escapes than \" and \\,
// escaped surrogates, values that are nested deeper than 64 levels or have more than 64 members.
var ErrGaveUp = errors.New("JSON of another form than API servers write")

const (
	maxDepth   = 64
	maxMembers = 64 // of one object: names are compared with each other
)

// Reader reads the values of a text, one after the other:
//
//	for text.Object(); text.Next(); {
//		switch string(text.Name()) {
//		case "image":
//			image = string(text.Text())
//		default:
//			text.Skip()
//		}
//	}
//	err := text.Err()
//
// After an error, all methods return zero values and read nothing. The zero value
// reads nothing; see Reset.
type Reader struct {
	data  []byte
	next  int
	last  int // the end of the last token
	err   error
	depth int
	open  [maxDepth]level
	names []name // of the objects that are open
}

// name is the position of a name: without pointers, it costs the garbage collector
// nothing.
type name struct{ start, end int }

// level is an object or an array that is open.
type level struct {
	end   byte // '}' or ']'
	items int
	names int // index of its first name
}

// Reset makes the Reader read data from the start. Nothing is kept of a text before.
func (r *Reader) Reset(data []byte) {
	r.data, r.next, r.last, r.err, r.depth, r.names = data, 0, 0, nil, 0, r.names[:0]
}

// Pool reuses Readers. It is safe for concurrent use, and the zero value is ready.
type Pool struct{ idle sync.Pool }

// Get returns a Reader at the start of data. Put must be called when it is not used
// any longer.
func (p *Pool) Get(data []byte) *Reader {
	r, ok := p.idle.Get().(*Reader)
	if !ok {
		r = new(Reader)
	}
	r.Reset(data)
	return r
}

// Put takes a Reader back.
func (p *Pool) Put(r *Reader) {
	r.Reset(nil) // keep no text alive
	p.idle.Put(r)
}

// Err returns ErrGaveUp after an error.
func (r *Reader) Err() error { return r.err }

// End returns ErrGaveUp after an error, or if anything but white space follows.
func (r *Reader) End() error {
	if r.space(); r.next < len(r.data) { // not Kind, which is 0 for a NUL byte as well
		r.fail()
	}
	return r.err
}

// Offset returns the end of the last name or value that was read.
func (r *Reader) Offset() int { return r.last }

// Kind returns the first byte of the next value, 0 at the end of the text.
func (r *Reader) Kind() byte {
	if r.err != nil {
		return 0
	}
	r.space()
	return r.byte()
}

// Object opens the next value. A null is an object without members.
func (r *Reader) Object() { r.begin('{', '}') }

// Array opens the next value. A null is an array without items.
func (r *Reader) Array() { r.begin('[', ']') }

func (r *Reader) begin(c, end byte) {
	isNull := r.Kind() == 'n'
	switch {
	case isNull:
		r.literal("null")
	case !r.take(c):
		r.fail()
	}
	if r.depth == maxDepth {
		r.fail()
	}
	if r.err != nil {
		return
	}
	if isNull {
		end = 0 // nothing closes it
	}
	r.open[r.depth] = level{end: end, names: len(r.names)}
	r.depth++
}

// Next reports whether the object or array that is open has one more member or
// item, and reads the name of a member. It closes the object or array at its end.
func (r *Reader) Next() bool {
	if r.err != nil {
		return false
	}
	l := &r.open[r.depth-1]
	if l.end == 0 || r.take(l.end) {
		r.names = r.names[:l.names]
		r.depth--
		return false
	}
	if l.items > 0 && !r.take(',') {
		r.fail()
	}
	l.items++
	if l.end == '}' {
		r.readName(l.names)
	}
	return r.err == nil
}

// Name returns the name that Next has read, a part of the text: \" and \\ are not
// replaced.
func (r *Reader) Name() []byte {
	if r.err != nil {
		return nil
	}
	last := r.names[len(r.names)-1]
	return r.data[last.start:last.end]
}

// Text reads the next value, a string, of which it returns the content: a part of
// the text if it has no escapes. A null is an empty string.
func (r *Reader) Text() []byte {
	if r.Kind() == 'n' {
		r.literal("null")
		return nil
	}
	quoted, plain := r.quoted()
	switch {
	case r.err != nil:
		return nil
	case plain:
		return quoted[1 : len(quoted)-1]
	}
	content, err := jsontext.AppendUnquote(nil, quoted)
	if err != nil {
		r.fail()
	}
	return content
}

// Value reads the next value, of any kind, and returns its part of the text.
func (r *Reader) Value() []byte {
	r.Kind() // skips white space
	start := r.next
	if r.Skip(); r.err != nil {
		return nil
	}
	return r.data[start:r.next]
}

// Skip reads the next value, of any kind.
func (r *Reader) Skip() {
	switch r.Kind() {
	case '{':
		for r.Object(); r.Next(); {
			r.Skip()
		}
	case '[':
		for r.Array(); r.Next(); {
			r.Skip()
		}
	case '"':
		r.quoted()
	case 't':
		r.literal("true")
	case 'f':
		r.literal("false")
	case 'n':
		r.literal("null")
	default:
		r.number()
	}
}

func (r *Reader) fail() { r.err = ErrGaveUp }

func (r *Reader) space() {
	for r.next < len(r.data) {
		switch r.data[r.next] {
		case ' ', '\t', '\n', '\r':
			r.next++
		default:
			return
		}
	}
}

// take reads the byte if it is the next one after white space.
func (r *Reader) take(c byte) bool {
	if r.Kind() != c {
		return false
	}
	r.next++
	r.last = r.next
	return true
}
