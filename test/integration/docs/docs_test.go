// SPDX-License-Identifier: Apache-2.0

package docs

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

const repository = "../../.."

func pages(t *testing.T) []string {
	t.Helper()
	pages, err := Pages(repository)
	if err != nil {
		t.Fatal(err)
	}
	if len(pages) < 10 {
		t.Fatalf("only %d pages: the search is wrong", len(pages))
	}
	return pages
}

func TestLocalFences(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the pages are written for bash")
	}
	root, err := filepath.Abs(repository)
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	// The flags of the tests: with others all dependencies would be compiled again.
	build := exec.Command("go", "build", "-o", bin+string(filepath.Separator), "./cmd/...")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	total := 0
	for _, page := range pages(t) {
		fences, err := Fences(repository, page)
		if err != nil {
			t.Error(err)
			continue
		}
		home, dir := t.TempDir(), t.TempDir()
		if err := Checkout(root, bin, dir); err != nil {
			t.Fatal(err)
		}
		n, err := Run(t.Context(), fences, Local, dir, []string{"HOME=" + home, "PATH=" + bin + string(os.PathListSeparator) + os.Getenv("PATH")})
		if err != nil {
			t.Error(err)
		}
		if n > 0 {
			t.Logf("%s: %d commands", page, n)
		}
		total += n
	}
	if total == 0 {
		t.Error("no command ran")
	}
}

func TestFaultyPages(t *testing.T) {
	for name, tc := range map[string]struct{ page, want string }{
		"no mark":               {"```sh\ntrue\n```\n", `page.md:1: mark ""`},
		"unknown mark":          {"text\n\n```sh cluster\ntrue\n```\n", `page.md:3: mark "cluster"`},
		"unknown language":      {"```bash local\ntrue\n```\n", "use sh"},
		"unknown option":        {"```sh local exit=1\nfalse\n```\n", `option "exit=1"`},
		"wrong exit code":       {"```console local exit=x\n$ false\n```\n", `option "exit=x"`},
		"wrong version":         {"```sh e2e since=36\ntrue\n```\n", `option "since=36"`},
		"no end":                {"```sh local\ntrue\n", "no end"},
		"console, no command":   {"```console local\nout\n```\n", "begins with"},
		"a command fails":       {"```sh local\ntrue\n```\n\n```sh local\nfalse\necho no\n```\n", "page.md:5: exit status 1"},
		"a pipe fails":          {"```sh local\nfalse | true\n```\n", "exit status 1"},
		"a variable is not set": {"```sh local\necho \"$MISSING\"\n```\n", "unbound"},
		"other output":          {"```console local\n$ echo a\na\n$ echo b\nc\n```\n", "page.md:1: the page shows other output\necho b"},
		"too much output":       {"```console local\n$ printf 'a\\nb\\n'\na\n```\n", "other output"},
		"too little output":     {"```console local\n$ echo a\na\nb\n```\n", "other output"},
		"success instead":       {"```console local exit=3\n$ true\n```\n", "page.md:1"},
		"another exit code":     {"```console local exit=3\n$ sh -c 'exit 2'\n```\n", "page.md:1"},
		"hidden fence fails":    {"<!-- sh local\nfalse\n-->\n", "page.md:1: exit status 1"},
	} {
		t.Run(name, func(t *testing.T) {
			fences, err := parse("page.md", []byte(tc.page))
			if err == nil {
				_, err = Run(t.Context(), fences, Local, t.TempDir(), []string{"PATH=" + os.Getenv("PATH")})
			}
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v, want %q", err, tc.want)
			}
		})
	}
}

func TestFenceForAKubernetesVersion(t *testing.T) {
	fences, err := parse("page.md", []byte("```sh e2e since=1.36\ntrue\n```\n\n```sh e2e\ntrue\n```\n"))
	if err != nil || len(fences) != 2 || fences[0].Since != 36 || fences[1].Since != 0 {
		t.Errorf("%+v, %v", fences, err)
	}
}

func TestGoodPage(t *testing.T) {
	const page = `<!-- sh local
export A=b
-->

1. Step:

   ~~~console local
   $ echo "$A" \
     c
   b c
   $ printf 'first\nsecond\nthird\n'
   first
   ...
   $ echo at 12:00 done
   at … done
   $ true
   ~~~

~~~console local exit=2
$ sh -c 'echo refused >&2; exit 2'
refused
~~~

~~~sh aws
false
~~~

~~~yaml
sh: local
~~~
`
	fences, err := parse("page.md", []byte(strings.ReplaceAll(page, "~~~", "```")))
	if err != nil {
		t.Fatal(err)
	}
	n, err := Run(t.Context(), fences, Local, t.TempDir(), []string{"PATH=" + os.Getenv("PATH")})
	if n != 6 || err != nil {
		t.Errorf("%d commands, %v", n, err)
	}
}
