// SPDX-License-Identifier: Apache-2.0

package output

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
	kubernetesyaml "sigs.k8s.io/yaml"
)

type image struct {
	Source   string         `json:"source"`
	LastSeen time.Time      `json:"lastSeen,omitzero"`
	Counts   map[string]int `json:"counts"`
	Lacks    []string       `json:"lacks,omitempty"`
	Error    *string        `json:"error"`
	Seconds  float64        `json:"seconds"`
	Bytes    int64          `json:"bytes"`
	internal int
}

func TestWrite(t *testing.T) {
	images := []image{{Source: "ghcr.io/a:1", Counts: map[string]int{"b": 1, "a": 2}, Seconds: 1e-9, Bytes: 1<<62 + 1, internal: 1}}
	for format, want := range map[Format]string{
		JSON: `[
  {
    "source": "ghcr.io/a:1",
    "counts": {
      "a": 2,
      "b": 1
    },
    "error": null,
    "seconds": 1e-9,
    "bytes": 4611686018427387905
  }
]
`,
		YAML: `- source: ghcr.io/a:1
  counts:
    a: 2
    b: 1
  error: null
  seconds: 1.0e-9
  bytes: 4611686018427387905
`,
	} {
		var out bytes.Buffer
		if err := Write(&out, format, images); err != nil || out.String() != want {
			t.Errorf("%s: %v\n%s\nwant\n%s", format, err, &out, want)
		}
	}
	if err := Write(&bytes.Buffer{}, Text, images); err == nil {
		t.Error("text is no format for programs")
	}
	if err := Write(failing{}, YAML, images); !errors.Is(err, os.ErrClosed) {
		t.Errorf("a closed file: %v", err)
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, os.ErrClosed }

func TestWriteEvent(t *testing.T) {
	for format, want := range map[Format]string{
		JSON: "{\"event\":\"a<b\"}\n{\"event\":\"a<b\"}\n",
		YAML: "---\nevent: a<b\n---\nevent: a<b\n",
	} {
		var out bytes.Buffer
		for range 2 {
			if err := WriteEvent(&out, format, map[string]string{"event": "a<b"}); err != nil {
				t.Fatal(err)
			}
		}
		if out.String() != want {
			t.Errorf("%s: %q", format, &out)
		}
	}
}

// hostile are strings that YAML, or one of its versions, reads as something else.
var hostile = []string{
	"", " ", "yes", "no", "on", "OFF", "y", "N", "true", "null", "~", "=", "<<", "2026-11-28", "1:30", "0x1f", "0o7", "010", "1_000", "1e3", ".5", ".inf", "+1", "- a", "a: b", "a #b", "#", "@", "`", "%", "!x", "&a", "*a", "{", "[", "'", `"`, `\`, "|", ">",
	"a\nb", "\na", "a\n", "\n\n", "  a\nb", "\ta", "a\t", "a\n\n  b\n", "a\r\nb", "\r", "---", "...", "\x00", "\x1b[31m", "\x7f", "\u009b2J", "\u0085", "\u2028", "\ufeff", "\u202e", "\U0001f600", "<>&",
	strings.Repeat("long words ", 100),
}

// compare reads both formats of documents with the string in each place, as Kubernetes
// does and as other programs do.
func compare(t *testing.T, s string) {
	t.Helper()
	var in, out bytes.Buffer
	v := map[string]any{"value": s, "list": []any{s, []any{s}, map[string]any{"deep": map[string]any{"er": s}}}, "none": nil, "yes": true}
	if s != "<<" { // a merge key for readers of YAML 1.1
		v["key"] = map[string]any{s: 1}
	}
	if err := errors.Join(Write(&in, JSON, v), Write(&out, YAML, v)); err != nil {
		t.Fatalf("%q: %v", s, err)
	}
	var want, got, other any
	if err := json.Unmarshal(in.Bytes(), &want); err != nil {
		t.Fatal(err)
	}
	if err := kubernetesyaml.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatalf("%q: %v\n%s", s, err, &out)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%q: %s\n%s", s, diff, &out)
	}
	if err := yaml.Unmarshal(out.Bytes(), &other); err != nil {
		t.Fatalf("%q: %v\n%s", s, err, &out)
	}
	if got, ok := other.(map[string]any)["value"]; !ok || got != want.(map[string]any)["value"] {
		t.Errorf("%q is %q for YAML 1.2\n%s", s, got, &out)
	}
}

func FuzzYAMLIsTheJSON(f *testing.F) {
	for _, s := range hostile {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if utf8.ValidString(s) { // JSON replaces other bytes
			compare(t, s)
		}
	})
}

func TestFlag(t *testing.T) {
	var format Format
	flags := pflag.NewFlagSet("x", pflag.ContinueOnError)
	AddFlag(flags, &format, "a table", "with all details", JSON, YAML, "junit")
	if usage := flags.Lookup("output").Usage; usage != "output `FORMAT`: json, yaml or junit, with all details (default: a table)" {
		t.Error(usage)
	}
	for _, args := range [][]string{{"-o", "yaml"}, {"--output=yaml"}, {"-oyaml"}} {
		if err := flags.Parse(args); err != nil || format != YAML {
			t.Errorf("%q: %q, %v", args, format, err)
		}
	}
	for value, want := range map[string]string{"xml": "use json, yaml or junit", "JSON": "use json, yaml or junit", "json,yaml": "use json, yaml or junit"} {
		if err := flags.Parse([]string{"-o", value}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", value, err)
		}
	}
	if err := flags.Parse([]string{"-o", ""}); err != nil || format != Text {
		t.Errorf("nothing: %q, %v", format, err)
	}
	if got := enumerate([]string{"json"}); got != "json" {
		t.Error(got)
	}
}
