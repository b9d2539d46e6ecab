// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// position turns the line and column of a node into a byte offset. Both count as
// the YAML parser does: lines end at any of YAML's five breaks, a carriage return
// of its own among them; columns are characters, and a byte order mark at the
// very start is none.
type position struct {
	d      *document
	starts []int // offset of each line
	// The last answer: where lines are very long, tokens in order cost one pass.
	line, column, offset int
}

func newPosition(d *document) *position { return &position{d: d} }

// of returns the offset of a node's first byte.
func (p *position) of(n *yaml.Node) (offset int, ok bool) {
	if p.starts == nil {
		p.index()
	}
	if n.Line < 1 || n.Line > len(p.starts) || n.Column < 1 {
		return 0, false
	}
	if n.Line != p.line || n.Column < p.column {
		p.line, p.column, p.offset = n.Line, 1, p.starts[n.Line-1]
	}
	for ; p.column < n.Column; p.column++ {
		_, size := utf8.DecodeRune(p.d.text[p.offset:])
		if size == 0 {
			return 0, false
		}
		p.offset += size
	}
	return p.offset, true
}

func (p *position) index() {
	text, i := p.d.text, 0
	if hasPrefix(text, byteOrderMark) {
		i = len(byteOrderMark)
	}
	p.starts = []int{i}
	for i < len(text) {
		if n := breakAt(text[i:]); n > 0 {
			i += n
			p.starts = append(p.starts, i)
			continue
		}
		i++
	}
}

// breakAt returns the length of the line break that the text begins with, or 0.
func breakAt(text []byte) int {
	if len(text) == 0 {
		return 0
	}
	switch text[0] {
	case '\n':
		return 1
	case '\r':
		if hasPrefix(text, "\r\n") {
			return 2
		}
		return 1
	case 0xc2:
		if hasPrefix(text, "\u0085") {
			return 2
		}
	case 0xe2:
		if hasPrefix(text, "\u2028") || hasPrefix(text, "\u2029") {
			return 3
		}
	}
	return 0
}

func hasPrefix(text []byte, prefix string) bool {
	return len(text) >= len(prefix) && string(text[:len(prefix)]) == prefix
}
