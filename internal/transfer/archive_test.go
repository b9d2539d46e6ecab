// SPDX-License-Identifier: Apache-2.0

package transfer

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/castai/privatelink-webhook/internal/exitcode"
	"github.com/castai/privatelink-webhook/internal/mirror/lock"
	"github.com/castai/privatelink-webhook/internal/rewrite"
	"github.com/castai/privatelink-webhook/internal/selection"
	"github.com/castai/privatelink-webhook/internal/testutil/fakeregistry"
)

func TestParseSize(t *testing.T) {
	for text, want := range map[string]int64{"": 0, "1": 1, "10k": 10 << 10, "4G": 4 << 30, "4095M": 4095 << 20, "1TiB": 1 << 40, "5mb": 5 << 20} {
		if got, err := parseSize(text); err != nil || got != want {
			t.Errorf("%q is %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"0", "4 G", "-1", "G", "1.5G", "4X", "99999999999T", "99999999999999999999"} {
		if got, err := parseSize(text); err == nil {
			t.Errorf("%q is %d, want an error", text, got)
		}
	}
}

func TestExportAndImport(t *testing.T) {
	f := newFixture(t)
	digest := f.push(t, "a", 1)
	f.push(t, "b", 2)
	export := ExportOptions{Options: f.options(t), Sources: f.sources("a", "b"), Lock: f.lockFile(), File: f.file("images.tar")}
	f.want(t, Export(t.Context(), export), exitcode.OK, "2 images, ")
	if l := readLock(t, f.lockFile().Name); len(l.Images) != 2 || l.Images[0].Digest.String() != digest {
		t.Errorf("lock file %+v", l)
	}

	i := ImportOptions{Options: f.options(t), File: export.File, LockFile: f.file("imported.lock.yaml")}
	dryRun := i
	dryRun.DryRun = true
	f.want(t, Import(t.Context(), dryRun), exitcode.ActionNeeded, "2 missing")
	wantMissing(t, i.LockFile)

	i.Verify = true
	f.public.SetFault(fakeregistry.Abort) // the archive suffices
	f.want(t, Import(t.Context(), i), exitcode.OK, "2 copied, 0 present before")
	fakeregistry.Verify(t, f.target("a"))
	if l := readLock(t, i.LockFile); len(l.Images) != 2 || l.Images[0].Digest.String() != digest {
		t.Errorf("lock file of the import %+v", l)
	}
	f.want(t, Import(t.Context(), i), exitcode.OK, "0 copied, 2 present before")
}

func TestImportToAnotherRegistry(t *testing.T) {
	f := newFixture(t)
	digest := f.push(t, "a", 1)
	export := ExportOptions{Options: f.options(t), Sources: f.sources("a"), Lock: f.lockFile(), File: f.file("images.tar")}
	f.want(t, Export(t.Context(), export), exitcode.OK, "")

	other := fakeregistry.Start(t).Host + "/other"
	i := ImportOptions{Options: f.optionsFor(t, other), File: export.File, LockFile: f.file("other.lock.yaml")}
	f.want(t, Import(t.Context(), i), exitcode.OK, "the file was made for "+f.private.Host+"/mirror; its images go below "+other)
	if got := fakeregistry.Digest(t, strings.Replace(f.target("a"), f.private.Host+"/mirror", other, 1)); got != digest {
		t.Errorf("the image is %q, want %s", got, digest)
	}

	// Rules that keep the source give it no target.
	i.Rules = rules(t, rewrite.Config{Registry: other, Keep: []string{f.publicHost}})
	f.want(t, Import(t.Context(), i), exitcode.Usage, f.publicHost+"/castai/a:v1 has no target below "+other)
}

func TestImportNeedsAllPartsOfAnArchive(t *testing.T) {
	f := newFixture(t)
	f.push(t, "a", 1)
	o := ExportOptions{Options: f.options(t), Sources: f.sources("a"), Lock: f.lockFile(), File: f.file("images.tar"), Split: "10k"}
	f.want(t, Export(t.Context(), o), exitcode.OK, "images.tar.001")
	i := ImportOptions{Options: f.options(t), File: o.File + ".000", LockFile: f.file("imported.lock.yaml")}
	f.want(t, Import(t.Context(), i), exitcode.OK, "1 copied")
	if err := os.Remove(o.File + ".001"); err != nil {
		t.Fatal(err)
	}
	f.want(t, Import(t.Context(), i), exitcode.Failed, "is missing "+o.File+".001")
}

func TestExportOmitsImagesSinceALockFile(t *testing.T) {
	f := newFixture(t)
	f.push(t, "a", 1)
	o := ExportOptions{Options: f.options(t), Sources: f.sources("a"), Lock: f.lockFile(), File: f.file("images.tar")}
	f.want(t, Export(t.Context(), o), exitcode.OK, "1 images, ")
	i := ImportOptions{Options: f.options(t), File: o.File, LockFile: o.Lock.Name}
	f.want(t, Import(t.Context(), i), exitcode.OK, "1 copied")

	// The lock file is both the base and the file to replace.
	o.Sources, o.Since, o.File = f.sources("a"), o.Lock.Name, f.file("delta.tar")
	f.want(t, Export(t.Context(), o), exitcode.OK, "are left out: the private registry must have them")
	i.File = o.File
	f.want(t, Import(t.Context(), i), exitcode.OK, "1 present before")

	// A registry without the base lacks the omitted layers.
	i.Options, i.LockFile = f.optionsFor(t, fakeregistry.Start(t).Host+"/empty"), f.file("empty.lock.yaml")
	f.want(t, Import(t.Context(), i), exitcode.Failed, "the registry does not have all of its blobs; nothing was written")
}

func TestExportErrors(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(f *fixture, o *ExportOptions)
		code   int
		want   string
	}{
		"no file":                         {func(_ *fixture, o *ExportOptions) { o.File = "" }, exitcode.Usage, "--to FILE"},
		"an invalid size":                 {func(_ *fixture, o *ExportOptions) { o.Split = "4 G" }, exitcode.Usage, `--split "4 G": give a size such as 700M or 4G`},
		"no older lock file":              {func(f *fixture, o *ExportOptions) { o.Since = f.file("none") }, exitcode.Usage, "--since: "},
		"neither sources nor a lock file": {func(_ *fixture, o *ExportOptions) { o.Sources = selection.Sources{} }, exitcode.Usage, "there is no lock file"},
		"standard output":                 {func(_ *fixture, o *ExportOptions) { o.File = "-" }, exitcode.Usage, "--to -: an archive cannot be written to standard output"},
		"a source without images":         {func(f *fixture, o *ExportOptions) { o.Sources = f.sources() }, exitcode.Failed, "standard input names no image"},
		"no image to copy": {func(f *fixture, o *ExportOptions) {
			o.Sources.Stdin = strings.NewReader(pod(f.private.Host + "/mirror/a:v1"))
		}, exitcode.Usage, "none of the images has to be copied"},
		"a lock file without a folder": {func(f *fixture, o *ExportOptions) { o.Lock.Name = f.file("none/lock.yaml") }, exitcode.Usage, "does not exist: create it"},
		"too many transfers at a time": {func(_ *fixture, o *ExportOptions) { o.Parallel = 1000 }, exitcode.Usage, "--parallel 1000"},
		"no image that can be read":    {func(f *fixture, o *ExportOptions) { o.Sources = f.sources("missing") }, exitcode.Failed, "castai/missing:v1"},
		"a folder that does not exist": {func(f *fixture, o *ExportOptions) { o.File = f.file("none/images.tar") }, exitcode.Usage, "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.push(t, "a", 1)
			o := ExportOptions{Options: f.options(t), Sources: f.sources("a"), Lock: f.lockFile(), File: f.file("images.tar")}
			tc.change(f, &o)
			f.want(t, Export(t.Context(), o), tc.code, tc.want)
			wantMissing(t, f.lockFile().Name)
			wantMissing(t, f.file("images.tar"))
		})
	}
}

func TestAnExportLeavesOutImagesThatFail(t *testing.T) {
	f := newFixture(t)
	f.push(t, "a", 1)
	before := f.push(t, "b", 2)
	o := ExportOptions{Options: f.options(t), Sources: f.sources("a", "b"), Lock: f.lockFile(), File: f.file("first.tar")}
	f.want(t, Export(t.Context(), o), exitcode.OK, "2 images, ")

	f.public.SetFault(fakeregistry.When(func(r *http.Request) bool { return strings.Contains(r.URL.Path, "/castai/b/") }, fakeregistry.Respond(http.StatusForbidden, "")))
	o.Sources, o.File, o.Lock.Update = f.sources("a", "b", "missing"), f.file("images.tar"), true
	o.Sources.Stdin = io.MultiReader(o.Sources.Stdin, strings.NewReader(pod(unmapped)))
	err := Export(t.Context(), o)
	for _, want := range []string{"/castai/b:v1: ", "/castai/missing:v1: ", unmapped + ": not rewritten", "3 images failed and are not in the archive"} {
		if output := f.out.String() + f.errOut.String(); !strings.Contains(output, want) {
			t.Errorf("the output lacks %q:\n%s", want, output)
		}
	}
	f.want(t, err, exitcode.Failed, "1 images, ")
	l := readLock(t, o.Lock.Name)
	if len(l.Images) != 2 || l.Images[1].Digest.String() != before || len(l.NotCopied) != 2 {
		t.Errorf("lock file %+v", l)
	}

	// The import copies what there is, and does not pass for a whole one.
	i := ImportOptions{Options: f.options(t), File: o.File, LockFile: f.file("imported.lock.yaml")}
	f.want(t, Import(t.Context(), i), exitcode.Failed, "/castai/b:v1: the archive does not have it")
	fakeregistry.Verify(t, f.target("a"))
	if l := readLock(t, i.LockFile); len(l.Images) != 1 || len(l.NotCopied) != 3 {
		t.Errorf("lock file of the import %+v", l)
	}
	f.want(t, Check(t.Context(), CopyOptions{Options: f.options(t), Lock: selection.LockFile{Name: i.LockFile}}), exitcode.Failed, "1 present, 0 missing, 0 differ, 3 failed")
}

func TestImportErrors(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(t *testing.T, o *ImportOptions)
		code   int
		want   string
	}{
		"standard input":               {func(_ *testing.T, o *ImportOptions) { o.File = "-" }, exitcode.Usage, "cannot be read from standard input"},
		"a lock file without a folder": {func(_ *testing.T, o *ImportOptions) { o.LockFile += "/lock.yaml" }, exitcode.Usage, "does not exist: create it"},
		"no such file":                 {func(_ *testing.T, o *ImportOptions) { o.File += ".none" }, exitcode.Usage, "images.tar.none"},
		"not an archive":               {func(t *testing.T, o *ImportOptions) { write(t, o.File, "text") }, exitcode.Failed, "images.tar"},
		"a changed byte":               {func(t *testing.T, o *ImportOptions) { changeByte(t, o.File); o.Verify = true }, exitcode.Failed, "images.tar"},
		"too many transfers at a time": {func(_ *testing.T, o *ImportOptions) { o.Parallel = 1000 }, exitcode.Usage, "--parallel 1000"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.push(t, "a", 1)
			export := ExportOptions{Options: f.options(t), Sources: f.sources("a"), Lock: f.lockFile(), File: f.file("images.tar")}
			f.want(t, Export(t.Context(), export), exitcode.OK, "")
			o := ImportOptions{Options: f.options(t), File: export.File, LockFile: f.file("imported.lock.yaml")}
			tc.change(t, &o)
			f.want(t, Import(t.Context(), o), tc.code, tc.want)
			wantMissing(t, o.LockFile)
			if got := fakeregistry.Digest(t, f.target("a")); got != "" {
				t.Errorf("the image was copied: %s", got)
			}
		})
	}
}

func TestTheRulesDecideTheTargetsOfAnArchive(t *testing.T) {
	r := rules(t, rewrite.Config{Registry: ecr})
	const source = "ghcr.io/castai/images/agent:v1"
	for name, tc := range map[string]struct{ registry, locked, want string }{
		"the same registry":                      {ecr, ecr + "/agent:v1", ""},
		"a target that the rules do not give it": {ecr, ecr + "/renamed:v1", source + " belongs at " + ecr + "/agent:v1 by the configuration, and the archive has it for " + ecr + "/renamed:v1"},
		"another registry":                       {"registry.example.com/x", "registry.example.com/x/renamed:v1", ""},
	} {
		target, err := targets(&lock.Lock{Registry: tc.registry}, r)(source, tc.locked)
		if tc.want == "" && (err != nil || target != ecr+"/agent:v1") || tc.want != "" && !strings.Contains(fmt.Sprint(err), tc.want) {
			t.Errorf("%s: %s, %v", name, target, err)
		}
	}
}

func TestAnImportIsComparedWithTheLockFile(t *testing.T) {
	f := newFixture(t)
	f.push(t, "a", 1)
	f.push(t, "b", 2)
	export := func(name string, images ...string) ImportOptions {
		o := ExportOptions{Options: f.options(t), Sources: f.sources(images...), Lock: selection.LockFile{Name: f.file(name + ".lock.yaml"), Update: true}, File: f.file(name + ".tar")}
		f.want(t, Export(t.Context(), o), exitcode.OK, "")
		return ImportOptions{Options: f.options(t), File: o.File, LockFile: f.lockFile().Name}
	}
	f.want(t, Import(t.Context(), export("both", "a", "b")), exitcode.OK, "2 copied")
	before := readLock(t, f.lockFile().Name)

	// The tag of the private registry is not moved, and so the old digest remains.
	moved := f.push(t, "a", 3)
	i := export("moved", "a", "b")
	f.want(t, Import(t.Context(), i), exitcode.Failed, "1 present before, 1 not copied")
	if after := readLock(t, f.lockFile().Name); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("lock file %+v, want %+v", after, before)
	}
	i.Overwrite = true
	f.want(t, Import(t.Context(), i), exitcode.OK, "1 copied")
	if after := readLock(t, f.lockFile().Name); after.Images[0].Digest.String() != moved {
		t.Errorf("lock file %+v, want %s", after, moved)
	}

	f.want(t, Import(t.Context(), export("b", "b")), exitcode.OK, "no longer 1 others, such as "+f.publicHost+"/castai/a:v1")
	foreign := ImportOptions{Options: f.optionsFor(t, fakeregistry.Start(t).Host+"/other"), File: f.file("b.tar"), LockFile: f.lockFile().Name}
	f.want(t, Import(t.Context(), foreign), exitcode.Usage, "name another file with --lock")
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// changeByte changes the byte in the middle of a file.
func changeByte(t *testing.T, file string) {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	content[len(content)/2] ^= 0xff
	write(t, file, string(content))
}
