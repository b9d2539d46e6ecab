// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"fmt"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

func TestReadErrorsNamePositionAndRemedy(t *testing.T) {
	for name, tc := range map[string]struct{ in, want string }{
		"a line that is indented too little": {
			"kind: Pod\nspec:\n  containers:\n  - name: x\n   image: y\nstatus: {}\n",
			"in.yaml:5: not YAML: did not find expected key: correct that line or the one before",
		},
		"a tab as indentation, after a valid document": {
			"kind: Pod\n---\nspec:\n\tcontainers: []\n",
			"in.yaml:4: not YAML: found character that cannot start any token: correct that line or the one before",
		},
		"an anchor that is nowhere": {
			pod("  - image: *img\n"),
			"in.yaml:4: not YAML: unknown anchor 'img' referenced: correct that line or the one before",
		},
		"a Helm template": {
			"{{- if .Values.agent }}\n" + pod("  - image: {{ .Values.image }}\n"),
			"in.yaml:2: not YAML: did not find expected node content: this looks like a template: render it first, for instance with helm template",
		},
		"a web page in place of a manifest": {
			"<html>\n<p>error: 401: Unauthorized\n</html>",
			"in.yaml:2: not YAML: mapping values are not allowed in this context: this looks like a web page: check the address and the token that it was fetched with",
		},
		"UTF-16": {
			"\xff\xfek\x00i\x00",
			"in.yaml:1: the text is UTF-16, as PowerShell's > writes it: save it as UTF-8",
		},
		"a text in an old encoding": {
			"kind: Pod\n# gr\xf6\xdfe\n",
			"in.yaml:2: byte 0xf6 is not UTF-8: save the text as UTF-8",
		},
		"JSON that ends early": {
			`{"kind": "Pod", "spec": {`,
			"in.yaml:1: not YAML: did not find expected node content: correct that line or the one before",
		},
		"an anchor around its own alias": {
			"a: b\nc: &c [*c]\n",
			"in.yaml:2: an anchor contains an alias of itself: remove the alias",
		},
		"a mapping merged into itself": {
			"a: b\nc: &c\n  <<: {d: *c}\n",
			"in.yaml:3: an anchor contains an alias of itself: remove the alias",
		},
		"a directive, which kubectl does not know": {
			"# x\n%YAML 1.1\n---\n" + pod("  - image: busybox\n"),
			"in.yaml:2: not YAML: did not find expected <document start>: correct that line or the one before",
		},
		"a document on the line of its marker": {
			"a: b\n--- {kind: Pod}\n",
			"in.yaml:2: kubectl accepts nothing but a comment after ---: move the rest of this line to the next one",
		},
		"a document after an end marker": {
			pod("  - image: busybox\n") + "...\n# x\n" + pod("  - image: alpine\n"),
			"in.yaml:7: not YAML: did not find expected <document start>: correct that line or the one before",
		},
		"a document after another one, the lines ended by CR": {
			"a: b\r---\rc: d\r",
			"in.yaml:3: kubectl does not read a document that follows without a line ---: add the line",
		},
		"a key that JSON does not have": {
			"a: b\n---\n# x\n? [c]\n: d\n",
			"in.yaml:3: kubectl cannot read this document: invalid map key: []interface {}{\"c\"}: correct that line or the one before",
		},
		"a template without quotes": {
			pod("  - image: {{ .Values.image }}\n"),
			"in.yaml:1: kubectl cannot read this document: invalid map key: map[interface {}]interface {}{\".Values.image\":interface {}(nil)}: this looks like a template: render it first, for instance with helm template",
		},
		"a merge of what is no mapping": {
			pod("  - {<<: x, image: busybox}\n"),
			"in.yaml:1: kubectl cannot read this document: map merge requires map or sequence of maps as the value: correct that line or the one before",
		},
		"JSON that is no JSON after two objects": {
			"{}\n{}\n---\na: b\n",
			"in.yaml: document 3: kubectl cannot read it: invalid character '-' in numeric literal",
		},
		"JSON escapes after a YAML marker": {
			"{}\n---\n{\"a\": \"\\/\"}\n",
			"in.yaml:3: not YAML: found unknown escape character: correct that line or the one before",
		},
		"aliases of a long text": {
			"a: &a " + strings.Repeat("x", 1<<20) + "\nb: [" + strings.Repeat("*a, ", 100) + "]\n",
			"in.yaml:2: aliases stand for more than 1048576 values or 64 MiB: write fewer aliases inside of anchors",
		},
		"aliases in a value that is overridden": {
			"a: &a " + strings.Repeat("x", 1<<20) + "\nb: [" + strings.Repeat("*a, ", 100) + "]\nb: c\n",
			"in.yaml:2: aliases stand for more than 1048576 values or 64 MiB: write fewer aliases inside of anchors",
		},
		"aliases that stand for billions": {
			bomb(),
			"in.yaml:1: aliases stand for more than 1048576 values or 64 MiB: write fewer aliases inside of anchors",
		},
		"merges that stand for billions": {
			mergeBomb(),
			"in.yaml:526: aliases stand for more than 1048576 values or 64 MiB: write fewer aliases inside of anchors",
		},
	} {
		t.Run(name, func(t *testing.T) {
			out, found, err := Rewrite("in.yaml", []byte(tc.in), rules(t))
			if err == nil || err.Error() != tc.want {
				t.Errorf("error\n%v\nwant\n%s", err, tc.want)
			}
			if out != nil || found.Changes != nil {
				t.Errorf("output in addition to the error: %q, %v", out, found)
			}
		})
	}
}

func TestTheLimitsOfAliasesAreReachedButNotPassed(t *testing.T) {
	for name, tc := range map[string]struct {
		left limit
		want bool
	}{
		"room":                   {limit{values: 2, bytes: 4}, true},
		"the last value":         {limit{values: 1, bytes: 4}, true},
		"the last bytes":         {limit{values: 2, bytes: 3}, true},
		"one value too many":     {limit{values: 0, bytes: 4}, false},
		"one byte too many":      {limit{values: 2, bytes: 2}, false},
		"both limits are passed": {limit{}, false},
	} {
		if have := tc.left.add(&yaml.Node{Value: "abc"}); have != tc.want {
			t.Errorf("%s: %v", name, have)
		}
	}
}

func bomb() string {
	var b strings.Builder
	b.WriteString("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n")
	for i := range 10 {
		fmt.Fprintf(&b, "a%d: &a%d [%s*a%d]\n", i+1, i+1, strings.Repeat(fmt.Sprintf("*a%d, ", i), 9), i)
	}
	return b.String()
}

// mergeBomb has the same key many times in each mapping, which none overrides.
func mergeBomb() string {
	var b strings.Builder
	b.WriteString("a0: &a0 {" + strings.Repeat("x: y, ", 2000) + "}\n")
	for i := range 1000 {
		fmt.Fprintf(&b, "a%d: &a%d {<<: *a%d}\n", i+1, i+1, i)
	}
	return b.String()
}

func TestDeepNestingIsRefusedAndNotACrash(t *testing.T) {
	for name, in := range map[string]string{
		"JSON": strings.Repeat(`{"a":`, 20000) + "1" + strings.Repeat("}", 20000),
		"YAML": "a: " + strings.Repeat("[", 20000) + strings.Repeat("]", 20000),
	} {
		if _, _, err := Rewrite(name, []byte(in), rules(t)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
