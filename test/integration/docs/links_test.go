// SPDX-License-Identifier: Apache-2.0

package docs

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
)

var (
	inlineLink = regexp.MustCompile(`\]\(([^()\s]+)\)`)
	inlineCode = regexp.MustCompile("`[^`]*`")
	linkText   = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)
)

// prose returns the lines of a page outside of fences.
func prose(text string) []string {
	var out []string
	fenced := false
	for line := range strings.Lines(text) {
		if strings.HasPrefix(strings.TrimSpace(line), "```") {
			fenced = !fenced
		} else if !fenced {
			out = append(out, strings.TrimSuffix(line, "\n"))
		}
	}
	return out
}

// anchors are the fragments that GitHub gives to the headings of a page.
func anchors(text string) map[string]bool {
	out := map[string]bool{}
	for _, line := range prose(text) {
		title := strings.TrimLeft(line, "#")
		if title == line || !strings.HasPrefix(title, " ") {
			continue
		}
		title = linkText.ReplaceAllString(strings.TrimSpace(title), "$1")
		slug := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsNumber(r):
				return unicode.ToLower(r)
			}
			return -1
		}, title)
		anchor := slug
		for i := 1; out[anchor]; i++ {
			anchor = fmt.Sprintf("%s-%d", slug, i)
		}
		out[anchor] = true
	}
	return out
}

// link is a relative link of a page.
type link struct {
	text     string // as it is written
	file     string // the file that it leads to, from the root of the repository
	fragment string
}

// links returns the relative links of a page.
func links(root, page string) (out []link, err error) {
	text, err := os.ReadFile(filepath.Join(root, page))
	if err != nil {
		return nil, err
	}
	for _, line := range prose(string(text)) {
		for _, m := range inlineLink.FindAllStringSubmatch(inlineCode.ReplaceAllString(line, ""), -1) {
			target, fragment, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, ":") { // an address
				continue
			}
			file := page
			if target != "" {
				file = path.Join(path.Dir(page), target)
			}
			out = append(out, link{m[1], file, fragment})
		}
	}
	return out, nil
}

// brokenLinks lists the relative links of a page that lead nowhere.
func brokenLinks(root, page string) (broken []string, err error) {
	all, err := links(root, page)
	if err != nil {
		return nil, err
	}
	for _, l := range all {
		linked, err := os.Stat(filepath.Join(root, l.file))
		switch {
		case err != nil:
			broken = append(broken, fmt.Sprintf("%s: %s does not exist", page, l.text))
		case l.fragment != "" && (linked.IsDir() || !strings.HasSuffix(l.file, ".md")):
			broken = append(broken, fmt.Sprintf("%s: %s: only pages have anchors", page, l.text))
		case l.fragment != "":
			text, err := os.ReadFile(filepath.Join(root, l.file))
			if err != nil {
				return nil, err
			}
			if !anchors(string(text))[l.fragment] {
				broken = append(broken, fmt.Sprintf("%s: %s has no heading #%s", page, l.file, l.fragment))
			}
		}
	}
	return broken, nil
}

// reached returns the pages that links lead to from a page, with the page itself.
func reached(root, from string) (map[string]bool, error) {
	seen := map[string]bool{from: true}
	for queue := []string{from}; len(queue) > 0; queue = queue[1:] {
		all, err := links(root, queue[0])
		if err != nil {
			return nil, err
		}
		for _, l := range all {
			if strings.HasSuffix(l.file, ".md") && !seen[l.file] {
				seen[l.file] = true
				queue = append(queue, l.file)
			}
		}
	}
	return seen, nil
}

func TestLinks(t *testing.T) {
	for _, page := range pages(t) {
		broken, err := brokenLinks(repository, page)
		if err != nil {
			t.Error(err)
		}
		for _, b := range broken {
			t.Error(b)
		}
	}
}

func TestBrokenLinksAreFound(t *testing.T) {
	root := t.TempDir()
	for name, text := range map[string]string{
		"a.md": "# A `b` & c\n[1](b.md) [2](b.md#two-words) [3](#a-b--c) [4](https://example.com/x#y) `[5](gone.md)`\n```sh\n# [6](gone.md)\n```\n" +
			"[7](gone.md) [8](b.md#gone) [9](#gone) [10](c.txt#x)\n",
		"b.md":  "## [Two](a.md) words\n",
		"c.txt": "",
	} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	broken, err := brokenLinks(root, "a.md")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"gone.md does not exist", "b.md has no heading #gone", "a.md has no heading #gone", "only pages have anchors"}
	if len(broken) != len(want) {
		t.Fatalf("%q", broken)
	}
	for i, w := range want {
		if !strings.Contains(broken[i], w) {
			t.Errorf("%q, want %q", broken[i], w)
		}
	}
}

func TestEveryPageIsReachedFromTheREADME(t *testing.T) {
	seen, err := reached(repository, "README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range pages(t) {
		if !seen[page] && !strings.HasPrefix(page, ".github/") { // GitHub shows these itself
			t.Errorf("no page that README.md leads to has a link to %s", page)
		}
	}
}

func TestPagesWithoutALinkAreFound(t *testing.T) {
	root := t.TempDir()
	for name, text := range map[string]string{
		"a.md": "[1](b.md#x) [2](https://example.com/lost.md) `[3](lost.md)`\n",
		"b.md": "[back](a.md) [on](c.md)\n", "c.md": "", "lost.md": "[1](a.md)\n",
	} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	seen, err := reached(root, "a.md")
	if err != nil {
		t.Fatal(err)
	}
	if !seen["a.md"] || !seen["b.md"] || !seen["c.md"] || seen["lost.md"] {
		t.Errorf("%v", seen)
	}
}

func TestEveryPageIsInAnIndex(t *testing.T) {
	index := map[string]string{}
	for _, page := range pages(t) {
		var in string
		switch dir := path.Dir(page); {
		case page == "docs/README.md" || page == "docs/adr/README.md" || !strings.HasPrefix(page, "docs/"):
			continue
		case dir == "docs/adr":
			in = "docs/adr/README.md"
		default:
			in = "docs/README.md"
		}
		if index[in] == "" {
			text, err := os.ReadFile(filepath.Join(repository, in))
			if err != nil {
				t.Fatal(err)
			}
			index[in] = string(text)
		}
		link, err := filepath.Rel(path.Dir(in), page)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(index[in], "("+filepath.ToSlash(link)+")") {
			t.Errorf("%s does not link to %s", in, page)
		}
	}
}
