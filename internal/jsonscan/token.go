// SPDX-License-Identifier: Apache-2.0

package jsonscan

import (
	"bytes"
	"unicode/utf8"
)

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
