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
	"bytes"
	"errors"
	"sync"
	"unicode/utf8"

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
	if r.err == nil && r.Kind() != 0 {
		r.err = ErrGaveUp
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

// readName reads a name and the colon after it. The other names of the object are
// those from first on. Without other escapes than \" and \\, which the names in
// managedFields have, names are equal if their texts are equal.
func (r *Reader) readName(first int) {
	if r.Kind() != '"' {
		r.fail()
		return
	}
	start := r.next + 1
	end := start
	for ; end < len(r.data) && r.data[end] != '"'; end++ {
		c := r.data[end]
		if c == '\\' && end+1 < len(r.data) && (r.data[end+1] == '"' || r.data[end+1] == '\\') {
			end++
			continue
		}
		if c < ' ' || c == '\\' || c >= utf8.RuneSelf {
			r.fail()
			return
		}
	}
	if end >= len(r.data) || r.isDuplicate(r.data[start:end], r.names[first:]) || len(r.names)-first == maxMembers {
		r.fail()
		return
	}
	r.names = append(r.names, name{start, end})
	r.next = end + 1
	r.last = r.next
	if r.Kind() != ':' {
		r.fail()
		return
	}
	r.next++ // not last: Offset is the end of the name
}

func (r *Reader) isDuplicate(given []byte, others []name) bool {
	for _, o := range others {
		if o.end-o.start == len(given) && bytes.Equal(r.data[o.start:o.end], given) {
			return true
		}
	}
	return false
}

// quoted reads a string, with its quotes, and reports whether it has no escapes.
func (r *Reader) quoted() (text []byte, plain bool) {
	if r.Kind() != '"' {
		r.fail()
		return nil, false
	}
	start, ascii := r.next, true
	plain = true
	for i := start + 1; i < len(r.data); i++ {
		switch c := r.data[i]; {
		case c == '"':
			text = r.data[start : i+1]
			if !ascii && !utf8.Valid(text) {
				r.fail()
			}
			r.next, r.last = i+1, i+1
			return text, plain
		case c == '\\':
			n := escape(r.data[i+1:])
			if n == 0 {
				r.fail()
				return nil, false
			}
			plain = false
			i += n
		case c < ' ':
			r.fail()
			return nil, false
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	r.fail()
	return nil, false
}

// escape returns the length of an escape without its backslash; 0 for one that is
// invalid, or a surrogate.
func escape(b []byte) int {
	if len(b) == 0 {
		return 0
	}
	switch b[0] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 1
	case 'u':
		if len(b) < 5 || !isHex(b[1]) || !isHex(b[2]) || !isHex(b[3]) || !isHex(b[4]) {
			return 0
		}
		if isSurrogate := (b[1] == 'd' || b[1] == 'D') && b[2] >= '8'; isSurrogate {
			return 0
		}
		return 5
	}
	return 0
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func (r *Reader) literal(word string) {
	if r.err != nil || !bytes.HasPrefix(r.data[r.next:], []byte(word)) {
		r.fail()
		return
	}
	r.next += len(word)
	r.last = r.next
}

// number reads a number. What follows it must be a separator or the end, which the
// caller reads next.
func (r *Reader) number() {
	if r.byte() == '-' {
		r.next++
	}
	ok := true
	if r.byte() == '0' {
		r.next++
	} else {
		ok = r.digits()
	}
	if r.byte() == '.' {
		r.next++
		ok = r.digits() && ok
	}
	if c := r.byte(); c == 'e' || c == 'E' {
		if r.next++; r.byte() == '+' || r.byte() == '-' {
			r.next++
		}
		ok = r.digits() && ok
	}
	if !ok {
		r.fail()
	}
	r.last = r.next
}

// digits reads digits and reports whether there was one.
func (r *Reader) digits() bool {
	start := r.next
	for c := r.byte(); '0' <= c && c <= '9'; c = r.byte() {
		r.next++
	}
	return r.next > start
}

// byte returns the next byte, 0 at the end of the text.
func (r *Reader) byte() byte {
	if r.next == len(r.data) {
		return 0
	}
	return r.data[r.next]
}
