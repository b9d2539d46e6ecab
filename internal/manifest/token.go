// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"bytes"
	"errors"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// span is the source of a token: of an alias all of it, of a scalar the text and
// its quotes, without anchor and tag.
type span struct {
	start, end int
	style      yaml.Style // how a text at this place is to be quoted
}

var (
	errElsewhere = errors.New("the value read here is not the text that stands here")
	errLines     = errors.New("the value is written over several lines")
)

// locate finds the source of a token and proves that it reads as the token's
// value.
func (p *position) locate(n *yaml.Node) (span, error) {
	if at, ok := p.d.spans[n]; ok {
		return at, nil
	}
	start, ok := p.of(n)
	if !ok {
		return span{}, errElsewhere
	}
	text := p.d.text
	if n.Kind == yaml.AliasNode {
		return locateAlias(text, start, n.Value)
	}
	start = skipProperties(text, start)
	switch {
	case start == len(text):
		return span{}, errElsewhere
	case text[start] == '"':
		return locateQuoted(text, start, n, yaml.DoubleQuotedStyle)
	case text[start] == '\'':
		return locateQuoted(text, start, n, yaml.SingleQuotedStyle)
	case text[start] == '|' || text[start] == '>':
		return locateBlock(text, start, n)
	}
	return locatePlain(text, start, n)
}

// locateAlias requires quotes where a plain text would run into what follows,
// as in {*key:value}.
func locateAlias(text []byte, start int, name string) (span, error) {
	if !hasPrefix(text[start:], "*"+name) {
		return span{}, errElsewhere
	}
	at := span{start: start, end: start + 1 + len(name)}
	if !endsPlain(text[at.end:]) {
		at.style = yaml.DoubleQuotedStyle
	}
	return at, nil
}

// locatePlain relies on a plain text without spaces being its own value.
func locatePlain(text []byte, start int, n *yaml.Node) (span, error) {
	at := span{start: start, end: start + len(n.Value)}
	switch {
	case strings.ContainsAny(n.Value, " \t\n\u2028\u2029"):
		return span{}, errLines
	case !hasPrefix(text[start:], n.Value) || !endsPlain(text[at.end:]):
		return span{}, errElsewhere
	}
	return at, nil
}

// locateQuoted lets the parser read the quoted text on its own, instead of
// knowing the escapes.
func locateQuoted(text []byte, start int, n *yaml.Node, style yaml.Style) (span, error) {
	at := span{start: start, end: start + quotedLen(text[start:]), style: style}
	var alone yaml.Node
	if err := yaml.Unmarshal(text[at.start:at.end], &alone); err != nil || len(alone.Content) != 1 || alone.Content[0].Value != n.Value {
		return span{}, errElsewhere
	}
	return at, nil
}

// quotedLen returns the length of the quoted scalar that the text begins with.
func quotedLen(text []byte) int {
	for i := 1; i < len(text); i++ {
		switch {
		case text[0] == '"' && text[i] == '\\', text[0] == '\'' && hasPrefix(text[i:], "''"):
			i++
		case text[i] == text[0]:
			return i + 1
		}
	}
	return len(text)
}

// locateBlock finds the one line of content after the header. A reference has no
// spaces and no breaks, so a value of several lines is none.
func locateBlock(text []byte, start int, n *yaml.Node) (span, error) {
	if strings.ContainsAny(n.Value, " \n\u2028\u2029") {
		return span{}, errLines
	}
	content := start + len(lineAt(text[start:]))
	content += breakAt(text[content:])
	line := lineAt(text[content:])
	indent := len(line) - len(bytes.TrimLeft(line, " "))
	if string(line[indent:]) != n.Value {
		return span{}, errElsewhere
	}
	return span{start: content + indent, end: content + len(line), style: yaml.LiteralStyle}, nil
}

// skipProperties passes the anchor and the tag before a scalar, which may be
// followed by line breaks and comments.
func skipProperties(text []byte, i int) int {
	for i < len(text) && (text[i] == '&' || text[i] == '!') {
		for i < len(text) && !isBlank(text[i:]) {
			i++
		}
		for i < len(text) && (isBlank(text[i:]) || text[i] == '#') {
			if text[i] == '#' {
				i += len(lineAt(text[i:]))
			}
			if n := breakAt(text[i:]); n > 0 {
				i += n
			} else if i < len(text) {
				i++
			}
		}
	}
	return i
}

func isBlank(text []byte) bool {
	return text[0] == ' ' || text[0] == '\t' || breakAt(text) > 0
}

// endsPlain reports whether a plain text ends before rest.
func endsPlain(rest []byte) bool {
	return len(rest) == 0 || isBlank(rest) || bytes.IndexByte([]byte(",]}"), rest[0]) >= 0
}

// lineAt returns the rest of a line, without its break.
func lineAt(text []byte) []byte {
	for i := range text {
		if breakAt(text[i:]) > 0 {
			return text[:i]
		}
	}
	return text
}

// encode writes a value in the style of the place.
func encode(style yaml.Style, value string) string {
	switch {
	case style == yaml.LiteralStyle:
		return value
	case style == yaml.SingleQuotedStyle:
		return "'" + strings.ReplaceAll(value, "'", "''") + "'"
	case style == yaml.DoubleQuotedStyle || !plainSafe(value):
		return strconv.Quote(value)
	}
	return value
}

// plainSafe reports whether a value means the same text without quotes. The
// slash keeps out what would read as a number or a boolean.
func plainSafe(value string) bool {
	const alphanumeric = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	inner := strings.Trim(value, alphanumeric)
	return strings.Contains(inner, "/") && strings.Trim(inner, alphanumeric+"._:/@+-") == "" &&
		!strings.HasPrefix(value, inner) && !strings.HasSuffix(value, inner)
}
