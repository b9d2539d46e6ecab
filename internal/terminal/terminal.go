// SPDX-License-Identifier: Apache-2.0

// Package terminal makes text from elsewhere safe to print: names, messages and
// documents of registries, charts, clusters, archives and manifests may contain
// control characters, with which they could hide or forge lines of a report
// (CWE-150).
package terminal

import (
	"bytes"
	"io"
	"log/slog"
	"os"
	"strconv"
	"sync"
	"unicode"
	"unicode/utf8"

	"golang.org/x/term"
)

// defaultWidth is the width of a terminal that does not tell it.
const defaultWidth = 80

// Escape returns s with every character that does not print replaced by its
// code, as strconv.Quote writes it: \x1b for the escape character, \u202e for
// a change of direction. Line feeds and tabs remain.
func Escape(s string) string { return string(appendEscaped(nil, []byte(s))) }

// EscapeLine is Escape for a value that belongs on one line: line feeds are
// replaced as well.
func EscapeLine(s string) string {
	return string(bytes.ReplaceAll(appendEscaped(nil, []byte(s)), []byte("\n"), []byte(`\n`)))
}

// EscapeAttr is EscapeLine for the attributes of a log, as slog.HandlerOptions takes
// it: encoders of JSON escape a few control characters only.
func EscapeAttr(_ []string, a slog.Attr) slog.Attr {
	switch value := a.Value.Resolve(); value.Kind() {
	case slog.KindString:
		a.Value = slog.StringValue(EscapeLine(value.String()))
	case slog.KindAny:
		if err, ok := value.Any().(error); ok {
			a.Value = slog.StringValue(EscapeLine(err.Error()))
		}
	}
	return a
}

// Writer escapes what is written to it. The end of one write and the beginning of
// the next may share a character. It is safe for concurrent use.
type Writer struct {
	w        io.Writer
	isStyled bool

	mu      sync.Mutex
	pending []byte // the first bytes of an incomplete character
	buffer  []byte
}

// NewWriter returns a Writer on top of w.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// Write writes p with its control characters escaped.
func (w *Writer) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	text := p
	if len(w.pending) > 0 {
		text = append(w.pending, p...)
	}
	whole := len(text) - incomplete(text)
	w.buffer = appendEscaped(w.buffer[:0], text[:whole])
	w.pending = append([]byte(nil), text[whole:]...)
	if _, err := w.w.Write(w.buffer); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Payload returns the writer for a document, such as a manifest or JSON, that a
// program reads: its bytes must not change. On a terminal it is escaped like any
// other text.
func Payload(w io.Writer) io.Writer {
	if escaping, ok := w.(*Writer); ok && !IsTerminal(escaping.w) {
		return escaping.w
	}
	return w
}

// Screen returns the file below w if w is a terminal that moves its cursor, for
// programs that draw. It returns nil for files, pipes and terminals of type dumb.
func Screen(w io.Writer, getenv func(string) string) *os.File {
	if escaping, ok := w.(*Writer); ok {
		w = escaping.w
	}
	if f, ok := w.(*os.File); ok && IsTerminal(f) && getenv("TERM") != "dumb" {
		return f
	}
	return nil
}

// Clear clears the screen below w, and moves its cursor to the top. Screen must not be nil
// for w.
func Clear(w io.Writer) error {
	if escaping, ok := w.(*Writer); ok {
		w = escaping.w
	}
	_, err := io.WriteString(w, "\x1b[2J\x1b[H")
	return err
}

// Width returns the number of columns of a terminal, or 0 if w is none.
func Width(w io.Writer) int {
	if escaping, ok := w.(*Writer); ok {
		w = escaping.w
	}
	if !IsTerminal(w) {
		return 0
	}
	width, _, err := term.GetSize(int(w.(*os.File).Fd()))
	if err != nil || width <= 0 {
		return defaultWidth
	}
	return width
}

// IsTerminal reports whether w is a terminal.
func IsTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// incomplete returns the number of bytes at the end of text that begin a
// character without ending it.
func incomplete(text []byte) int {
	if n := len(text); n > 0 && text[n-1] == '\r' {
		return 1 // a line feed may follow
	}
	for i := 1; i < utf8.UTFMax && i <= len(text); i++ {
		if tail := text[len(text)-i:]; utf8.RuneStart(tail[0]) {
			if !utf8.FullRune(tail) {
				return i
			}
			break
		}
	}
	return 0
}

func appendEscaped(to, text []byte) []byte {
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		switch {
		case r == '\n', r == '\t', unicode.IsPrint(r) && (r != utf8.RuneError || size > 1):
			to = append(to, text[:size]...)
		case r == '\r' && len(text) > 1 && text[1] == '\n':
			// The end of a line, as Windows writes it.
		default:
			quoted := strconv.AppendQuote(nil, string(text[:size]))
			to = append(to, quoted[1:len(quoted)-1]...)
		}
		text = text[size:]
	}
	return to
}
