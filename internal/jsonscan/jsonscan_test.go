// SPDX-License-Identifier: Apache-2.0

package jsonscan

import (
	"bytes"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/castai/privatelink-webhook/internal/testutil/corpus"
)

// skip reads a text that is one value.
func skip(text string) error {
	var r Reader
	r.Reset([]byte(text))
	r.Skip()
	return r.End()
}

func TestTexts(t *testing.T) {
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	members := func(n int) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(`"` + strings.Repeat("x", i) + `":0,`)
		}
		return "{" + b.String() + `"y":0}`
	}
	for text, read := range map[string]bool{
		`{}`: true, `[]`: true, `""`: true, `null`: true, `true`: true, `false`: true, `0`: true, ` { "a" : [ 1 , "x" ] } `: true,
		`-0.5e+10`: true, `1E5`: true, `12`: true, `-1`: true, `0.0`: true,
		`"\"\\\/\b\f\n\r\t\u00fcü"`: true, `{"a":{"a":1},"b":{"a":1}}`: true, `[{"a":1},{"a":1}]`: true,
		`{"k:{\"a\":\"b\"}":{},"k:\\":1}`: true, deep(maxDepth): true, members(maxMembers - 1): true,

		``: false, ` `: false, `{`: false, `[`: false, `"`: false, `"\`: false, `"\u00`: false, `"\u00"`: false, `"\x"`: false, "\"\n\"": false, "\"\xff\"": false,
		`{"a"}`: false, `{"a":}`: false, `{"a":1,}`: false, `{,}`: false, `{a:1}`: false, `{"a":1 "b":2}`: false, `{"a":1,"a":2}`: false, `{"a" 1}`: false, `{"a`: false, `{"a\`: false, `{"a\"`: false, `{"a\":1}`: false, `{"\"":1,"\"":2}`: false, `{"\n":1}`: false, `{"\/":1}`: false,
		`[1,]`: false, `[,]`: false, `[1 2]`: false, `[}`: false, `{]`: false, `01`: false, `-`: false, `1.`: false, `.5`: false, `1e`: false, `+1`: false, `1x`: false, `--1`: false,
		`nul`: false, `nulll`: false, `True`: false, `{}{}`: false, `{} x`: false, "{}\x00": false, "1 \x00x": false, "\ufeff{}": false, `'a'`: false, `// x`: false,

		// Valid, and left to the library.
		`{"\u0061":1}`: false, `{"ü":1}`: false, `"\ud83d\ude00"`: false, deep(maxDepth + 1): false, members(maxMembers): false,
	} {
		if err := skip(text); (err == nil) != read {
			t.Errorf("%.100s: %v", text, err)
		}
	}
}

func TestTheCorpusIsRead(t *testing.T) {
	given := map[string]bool{"unicode-escapes": true}
	for name, pod := range corpus.Pods() {
		if err := skip(string(pod)); (err != nil) != given[name] {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestValuesArePartsOfTheText(t *testing.T) {
	var r Reader
	r.Reset([]byte(`[ {"a": 1 } , true,"x"]`))
	var got []string
	for r.Array(); r.Next(); {
		got = append(got, string(r.Value()))
	}
	if err := r.End(); err != nil || strings.Join(got, "|") != `{"a": 1 }|true|"x"` {
		t.Errorf("%v, %q", err, got)
	}
}

func TestNothingIsReadAfterAnError(t *testing.T) {
	var r Reader
	r.Reset([]byte(`[x,{"a":"b"},"c"]`))
	r.Array()
	r.Next()
	r.Skip()
	if r.Err() == nil {
		t.Fatal("no error")
	}
	r.Object()
	if r.Next() || r.Name() != nil || r.Text() != nil || r.Value() != nil || r.Kind() != 0 || r.End() == nil {
		t.Error("something is read after an error")
	}
}

func TestReadingAllocatesNothing(t *testing.T) {
	pod := corpus.Pods()["agent"]
	var r Reader
	if n := testing.AllocsPerRun(100, func() {
		r.Reset(pod)
		r.Skip()
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzReader holds that the library reads what a Reader reads, and the same.
func FuzzReader(f *testing.F) {
	for _, pod := range corpus.Pods() {
		f.Add(pod)
	}
	for _, text := range []string{`{"a":["\u00fc\n",-0.5e+10,null,true,{}]}`, `"\ud800"`, `{"a":1,"a":1}`, `{"k:{\"a\":\"\\\"}":1}`, `{"a":01}`, "\"\xff\""} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var r Reader
		r.Reset(text)
		d := jsontext.NewDecoder(bytes.NewBuffer(text))
		compare(t, &r, d)
	})
}

// compare reads a value with both, until the Reader gives up.
func compare(t *testing.T, r *Reader, d *jsontext.Decoder) bool {
	t.Helper()
	switch r.Kind() {
	case '{':
		token(t, d, '{')
		for r.Object(); r.Next(); {
			name, err := jsontext.AppendUnquote(nil, `"`+string(r.Name())+`"`)
			if err != nil {
				t.Fatal(err)
			}
			if got := token(t, d, '"'); got.String() != string(name) || r.Offset() != int(d.InputOffset()) {
				t.Fatalf("name %q up to %d, the library has %q up to %d", r.Name(), r.Offset(), got.String(), d.InputOffset())
			}
			if !compare(t, r, d) {
				return false
			}
		}
		if r.Err() != nil {
			return false
		}
		token(t, d, '}')
	case '[':
		token(t, d, '[')
		for r.Array(); r.Next(); {
			if !compare(t, r, d) {
				return false
			}
		}
		if r.Err() != nil {
			return false
		}
		token(t, d, ']')
	case '"':
		got := r.Text()
		if r.Err() != nil {
			return false
		}
		v, err := d.ReadValue()
		if err != nil {
			t.Fatalf("read %q, the library: %v", got, err)
		}
		if want, err := jsontext.AppendUnquote(nil, v); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("read %q, the library %q, %v", got, want, err)
		}
	default:
		if r.Skip(); r.Err() != nil {
			return false
		}
		// A number that is followed by something else is found out by the caller.
		if _, err := d.ReadValue(); err != nil && r.End() == nil {
			t.Fatalf("the library: %v", err)
		} else if err != nil {
			return false
		}
	}
	if r.Offset() != int(d.InputOffset()) {
		t.Fatalf("offset %d, the library's is %d", r.Offset(), d.InputOffset())
	}
	return true
}

func token(t *testing.T, d *jsontext.Decoder, kind jsontext.Kind) jsontext.Token {
	t.Helper()
	got, err := d.ReadToken()
	if err != nil || got.Kind() != kind {
		t.Fatalf("the library has %v, %v, want %v", got, err, kind)
	}
	return got
}
