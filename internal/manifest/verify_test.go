// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

func TestAResultThatKubectlReadsOtherwiseIsRefused(t *testing.T) {
	m, err := Parse("in.yaml", []byte("a: b\n---\nkind: Pod\nspec: {containers: [{image: busybox}]}\n"))
	if err != nil {
		t.Fatal(err)
	}
	for out, want := range map[string]string{
		string(m.text): "",
		"a: b # comment\n---\n" + string(m.documents[1].text):           "",
		"a: c\n---\n" + string(m.documents[1].text):                     "in.yaml: document 1: kubectl would read more changes than the images",
		"a: b\n---\nkind: Pod\nspec: {containers: [{image: alpine}]}\n": "in.yaml: document 2: kubectl would read more changes than the images",
		"a: b\n":                       "in.yaml: document 2: kubectl would read 1 objects in place of 2",
		string(m.text) + "---\nc: d\n": "in.yaml: document 3: kubectl would read 3 objects in place of 2",
		"a: b\n---\n? [c]\n: d\n":      "in.yaml: document 2: kubectl could not read the result: ",
	} {
		err := m.verify([]byte(out))
		if want == "" && err != nil || want != "" && (err == nil || !strings.HasPrefix(err.Error(), want) || !strings.HasSuffix(err.Error(), "report it as a fault of this program")) {
			t.Errorf("%q: error %v, want %s", out, err, want)
		}
	}
}

func TestATextThatAnotherParserReadsOtherwiseIsRefused(t *testing.T) {
	m, err := Parse("in.yaml", []byte("# x\na: &a [b, !c d]\ne: *a\n"))
	if err != nil {
		t.Fatal(err)
	}
	d := m.documents[0]
	token := d.token([]string{"a", "0"})
	edits := []edit{{token: token, value: "new"}}
	for text, want := range map[string]string{
		"# y\na: &a [new, !c d]\ne: *a\n":     "",
		"a: &a [old, !c d]\ne: *a\n":          "in.yaml:2: more than the images would change",
		"a: &a [new, d]\ne: *a\n":             "in.yaml:2: more than the images would change",
		"a: &a [new, !c d, f]\ne: *a\n":       "in.yaml:2: more than the images would change",
		"a: &b [new, !c d]\ne: *b\n":          "in.yaml:2: more than the images would change",
		"g: &a []\na: &a [new, !c d]\n":       "in.yaml:2: more than the images would change",
		"a: &a [new, !c d]\ne: [new, !c d]\n": "in.yaml:3: more than the images would change",
		"a: &a [new, !c d]\ne: *a\n---\n":     "in.yaml:4: kubectl does not read a document that follows without a line ---",
		"# nothing\n":                         "in.yaml:1: nothing would be left of the document",
		"a: [":                                "in.yaml:1: not YAML",
	} {
		err := d.verify([]byte(text), edits)
		if want == "" && err != nil || want != "" && (err == nil || !strings.HasPrefix(err.Error(), want)) {
			t.Errorf("%q: error %v, want %s", text, err, want)
		}
	}
	if resolve(token).Kind != yaml.ScalarNode {
		t.Error("the token is no scalar")
	}
}

func TestMissingPathsHaveNoToken(t *testing.T) {
	m, err := Parse("in.yaml", []byte("a: [{b: c}]\n"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range [][]string{{"x"}, {"a", "1"}, {"a", "x"}, {"a", "0", "b", "c"}, {"a", "0", "x", "y"}} {
		if token := m.documents[0].token(path); token != nil {
			t.Errorf("%v: %q", path, token.Value)
		}
	}
}
