// SPDX-License-Identifier: Apache-2.0

package terminal

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestEscape(t *testing.T) {
	for name, tc := range map[string]struct{ text, want string }{
		"plain":                  {"castai/agent:v1\tok\n", "castai/agent:v1\tok\n"},
		"other scripts":          {"größer 日本 e\u0301", "größer 日本 e\u0301"},
		"color":                  {"\x1b[31mred\x1b[0m", `\x1b[31mred\x1b[0m`},
		"window title":           {"\x1b]0;title\a", `\x1b]0;title\a`},
		"C1 control":             {"\u009b2J", `\u009b2J`},
		"carriage return":        {"failed\rcopied", `failed\rcopied`},
		"line end of Windows":    {"a\r\nb", "a\nb"},
		"carriage return at end": {"a\r", `a\r`},
		"backspace and delete":   {"a\b\x7f", `a\b\x7f`},
		"direction":              {"a\u202eb", `a\u202eb`},
		"zero width":             {"a\u200bb\ufeff", `a\u200bb\ufeff`},
		"line separator":         {"a\u2028b", `a\u2028b`},
		"not UTF-8":              {"a\xff\xc3", `a\xff\xc3`},
		"the replacement itself": {"\ufffd", "\ufffd"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Escape(tc.text); got != tc.want {
				t.Errorf("%q, want %q", got, tc.want)
			}
		})
	}
	if got := EscapeLine("a\nfailed: 0\x1b"); got != `a\nfailed: 0\x1b` {
		t.Errorf("EscapeLine: %q", got)
	}
}

func TestWriterKeepsCharactersTogether(t *testing.T) {
	const text = "größer 日本 \x1b[0m a\r\nb\n"
	var out bytes.Buffer
	w := NewWriter(&out)
	for i := range len(text) {
		if n, err := w.Write([]byte(text[i : i+1])); n != 1 || err != nil {
			t.Fatal(n, err)
		}
	}
	if out.String() != Escape(text) {
		t.Errorf("%q, want %q", &out, Escape(text))
	}
}

func TestWriterReturnsTheErrorBelow(t *testing.T) {
	broken := errors.New("broken pipe")
	if _, err := NewWriter(failing{broken}).Write([]byte("text")); !errors.Is(err, broken) {
		t.Error(err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

func TestPayloadIsExactUnlessItIsATerminal(t *testing.T) {
	var out bytes.Buffer
	if _, err := Payload(NewWriter(&out)).Write([]byte("a\r\n\x1b")); err != nil || out.String() != "a\r\n\x1b" {
		t.Errorf("%q, %v", &out, err)
	}
	if Payload(&out) != &out {
		t.Error("a writer that does not escape is its own payload")
	}
	if w := NewWriter(openTerminal(t)); Payload(w) != w {
		t.Error("the payload of a terminal is not escaped")
	}
}

func TestScreen(t *testing.T) {
	tty := openTerminal(t)
	env := func(term string) func(string) string { return func(string) string { return term } }
	if Screen(tty, env("xterm")) != tty || Screen(NewWriter(tty), env("xterm")) != tty {
		t.Error("a terminal is no screen")
	}
	if Screen(tty, env("dumb")) != nil {
		t.Error("a dumb terminal is a screen")
	}
	file, err := os.Create(t.TempDir() + "/log")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if Screen(file, env("xterm")) != nil || Screen(NewWriter(&bytes.Buffer{}), env("xterm")) != nil {
		t.Error("a file or a buffer is a screen")
	}
}

// openTerminal returns the controlling end of a new pseudo terminal.
func openTerminal(t *testing.T) *os.File {
	f, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if !IsTerminal(f) {
		t.Fatal("/dev/ptmx is no terminal")
	}
	return f
}

func FuzzWriter(f *testing.F) {
	for _, s := range []string{"", "a\r\nb", "\x1b[2J", "日\xe6", "\r", "\u202e"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var out bytes.Buffer
		w := NewWriter(&out)
		half := len(s) / 2
		for _, part := range []string{s[:half], s[half:], "\n"} {
			if _, err := w.Write([]byte(part)); err != nil {
				t.Fatal(err)
			}
		}
		if want := Escape(s + "\n"); out.String() != want {
			t.Fatalf("in two parts %q, at once %q", &out, want)
		}
		if !utf8.Valid(out.Bytes()) {
			t.Fatalf("%q is not UTF-8", &out)
		}
		if i := strings.IndexFunc(out.String(), func(r rune) bool { return r != '\n' && r != '\t' && !unicode.IsPrint(r) }); i >= 0 {
			t.Fatalf("%q has a control character", &out)
		}
	})
}

func TestEscapeAttr(t *testing.T) {
	var b bytes.Buffer
	log := slog.New(slog.NewJSONHandler(&b, &slog.HandlerOptions{ReplaceAttr: EscapeAttr}))
	log.Warn("not\u009b mapped", "image", "quay.io/\u202egpj.x", "err", errors.New("line\none\x7f"), slog.Group("pod", "name", "a\U000e0001"))
	var got struct {
		Msg, Image, Err string
		Pod             struct{ Name string }
	}
	if err := json.Unmarshal(b.Bytes(), &got); err != nil {
		t.Fatalf("%v: %s", err, &b)
	}
	for text, want := range map[string]string{
		got.Msg: `not\u009b mapped`, got.Image: `quay.io/\u202egpj.x`, got.Err: `line\none\x7f`, got.Pod.Name: `a\U000e0001`,
	} {
		if text != want {
			t.Errorf("%s, want %s", text, want)
		}
	}
	if strings.ContainsFunc(strings.TrimSpace(b.String()), func(r rune) bool { return !unicode.IsPrint(r) }) {
		t.Errorf("%q", &b)
	}
}

func TestWidth(t *testing.T) {
	tty := openTerminal(t)
	if got := Width(NewWriter(tty)); got != defaultWidth {
		t.Errorf("a terminal without a size has %d columns", got)
	}
	if got := Width(&bytes.Buffer{}) + Width(NewWriter(&bytes.Buffer{})); got != 0 {
		t.Errorf("a buffer has %d columns", got)
	}
}

func TestWriteStyled(t *testing.T) {
	env := func(pairs ...string) func(string) string {
		return func(key string) string {
			for i := 0; i < len(pairs); i += 2 {
				if pairs[i] == key {
					return pairs[i+1]
				}
			}
			return ""
		}
	}
	tty := openTerminal(t)
	for name, tc := range map[string]struct {
		w    *Writer
		want bool
	}{
		"a terminal":         {NewWriter(tty).WithStyles(env("TERM", "xterm")), true},
		"not asked for":      {NewWriter(tty), false},
		"NO_COLOR":           {NewWriter(tty).WithStyles(env("TERM", "xterm", "NO_COLOR", "1")), false},
		"a dumb terminal":    {NewWriter(tty).WithStyles(env("TERM", "dumb")), false},
		"an unknown console": {NewWriter(tty).WithStyles(env()), false},
		"Windows Terminal":   {NewWriter(tty).WithStyles(env("WT_SESSION", "x")), true},
		"a file":             {NewWriter(&bytes.Buffer{}).WithStyles(env("TERM", "xterm")), false},
	} {
		if tc.w.isStyled != tc.want {
			t.Errorf("%s: displays styles: %t", name, tc.w.isStyled)
		}
	}
	var out bytes.Buffer
	styled := &Writer{w: &out, isStyled: true}
	for _, err := range []error{
		WriteStyled(styled, Red, "a\x1b[2Kb"), WriteStyled(styled, Plain, " c\x1b"), WriteStyled(styled, Green, ""), WriteStyled(NewWriter(&out), Red, " d\n"), WriteStyled(&out, Red, "e"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if want := "\x1b[31ma" + `\x1b[2K` + "b\x1b[0m" + ` c\x1b` + " d\ne"; out.String() != want {
		t.Errorf("%q, want %q", &out, want)
	}
}
