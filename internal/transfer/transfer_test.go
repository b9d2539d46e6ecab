// SPDX-License-Identifier: Apache-2.0

package transfer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/castai/privatelink-webhook/internal/catalog"
	"github.com/castai/privatelink-webhook/internal/exitcode"
	"github.com/castai/privatelink-webhook/internal/mirror/lock"
	"github.com/castai/privatelink-webhook/internal/output"
	"github.com/castai/privatelink-webhook/internal/progress"
	"github.com/castai/privatelink-webhook/internal/rewrite"
	"github.com/castai/privatelink-webhook/internal/selection"
	"github.com/castai/privatelink-webhook/internal/testutil/fakeecr"
	"github.com/castai/privatelink-webhook/internal/testutil/fakeregistry"
)

const ecr = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/castai"

func rules(t *testing.T, config rewrite.Config) *rewrite.Rules {
	t.Helper()
	r, err := rewrite.New(config)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// fixture is a public and a private registry, and a folder for files.
type fixture struct {
	public, private *fakeregistry.Server
	// publicHost is a name of the public registry that the rules do not take for
	// node-local, as 127.0.0.1 is. Connections to 0.0.0.0 reach the same server.
	publicHost, dir string
	out, errOut     bytes.Buffer
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{public: fakeregistry.Start(t), private: fakeregistry.Start(t), dir: t.TempDir()}
	f.publicHost = strings.Replace(f.public.Host, "127.0.0.1", "0.0.0.0", 1)
	return f
}

// options are those for copies to the private registry.
func (f *fixture) options(t *testing.T) Options {
	t.Helper()
	return f.optionsFor(t, f.private.Host+"/mirror")
}

func (f *fixture) optionsFor(t *testing.T, registry string) Options {
	t.Helper()
	return Options{
		Rules: rules(t, rewrite.Config{Registry: registry}), Reporter: progress.New(progress.Options{Out: &f.out, ErrOut: &f.errOut}),
		PlainHTTP: []string{f.publicHost}, Parallel: 4,
	}
}

// push pushes an image to the public registry, and returns its digest.
func (f *fixture) push(t *testing.T, name string, seed uint64) string {
	t.Helper()
	return fakeregistry.Push(t, f.public.Host+"/castai/"+name+":v1", fakeregistry.MultiArch(t, 3000, seed))
}

// target returns the reference of an image in the private registry.
func (f *fixture) target(name string) string {
	return f.private.Host + "/mirror/" + strings.Replace(f.publicHost, ":", "_", 1) + "/castai/" + name + ":v1"
}

func (f *fixture) file(name string) string { return filepath.Join(f.dir, name) }

func (f *fixture) lockFile() selection.LockFile {
	return selection.LockFile{Name: f.file("privatelink.lock.yaml")}
}

// sources is a manifest with images of the public registry.
func (f *fixture) sources(names ...string) selection.Sources {
	var text strings.Builder
	for _, name := range names {
		text.WriteString(pod(f.publicHost + "/castai/" + name + ":v1"))
	}
	return selection.Sources{Files: []string{"-"}, Stdin: strings.NewReader(text.String()), Warnf: func(format string, args ...any) { fmt.Fprintf(&f.errOut, format+"\n", args...) }}
}

func pod(image string) string {
	return fmt.Sprintf("---\napiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: c, image: %q}]}\n", image)
}

// want fails the test unless the error has an exit code and the output, without the
// output before it, has a text.
func (f *fixture) want(t *testing.T, err error, code int, text string) {
	t.Helper()
	output := f.out.String() + f.errOut.String()
	f.out.Reset()
	f.errOut.Reset()
	if exitcode.Code(err) != code || !strings.Contains(output+fmt.Sprint(err), text) {
		t.Errorf("exit code %d, want %d; want %q in error %v, output:\n%s", exitcode.Code(err), code, text, err, output)
	}
}

func readLock(t *testing.T, file string) *lock.Lock {
	t.Helper()
	l, err := lock.Read(file)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func wantMissing(t *testing.T, file string) {
	t.Helper()
	if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s was written (%v)", file, err)
	}
}

func TestMirrorAndCheck(t *testing.T) {
	f := newFixture(t)
	digest := f.push(t, "a", 1)
	f.push(t, "b", 2)
	o := CopyOptions{Options: f.options(t), Lock: f.lockFile()}
	selected := func() CopyOptions {
		o := o
		o.Sources = f.sources("a", "b")
		return o
	}

	dryRun := selected()
	dryRun.DryRun = true
	f.want(t, Mirror(t.Context(), dryRun), exitcode.ActionNeeded, "2 missing")
	f.want(t, Check(t.Context(), selected()), exitcode.ActionNeeded, "2 missing")
	wantMissing(t, o.Lock.Name)

	f.want(t, Mirror(t.Context(), selected()), exitcode.OK, "2 images: 2 copied, 0 present before, 0 not copied")
	fakeregistry.Verify(t, f.target("a"))
	l := readLock(t, o.Lock.Name)
	if len(l.Images) != 2 || l.Registry != f.private.Host+"/mirror" || l.Images[0].Target != f.target("a") || l.Images[0].Digest.String() != digest || len(l.Images[0].Why) != 1 {
		t.Errorf("lock file %+v", l)
	}

	// Without sources, the lock file lists the images.
	before, _ := os.ReadFile(o.Lock.Name)
	f.want(t, Check(t.Context(), o), exitcode.OK, "2 present")
	f.want(t, Mirror(t.Context(), o), exitcode.OK, "2 present before")
	if after, _ := os.ReadFile(o.Lock.Name); !bytes.Equal(after, before) {
		t.Errorf("a run without work changed the lock file:\n%s\n%s", before, after)
	}

	f.want(t, Mirror(t.Context(), CopyOptions{Options: o.Options, Lock: o.Lock, Sources: f.sources("b")}), exitcode.OK, "no longer 1 others, such as "+f.publicHost+"/castai/a:v1")
	if l := readLock(t, o.Lock.Name); len(l.Images) != 1 {
		t.Errorf("lock file %+v", l)
	}
}

func TestAMovedTagIsCopiedOnRequestOnly(t *testing.T) {
	f := newFixture(t)
	f.push(t, "a", 1)
	o := CopyOptions{Options: f.options(t), Lock: f.lockFile(), Sources: f.sources("a")}
	f.want(t, Mirror(t.Context(), o), exitcode.OK, "1 copied")
	o.Sources = selection.Sources{}

	moved := f.push(t, "a", 2)
	f.want(t, Check(t.Context(), o), exitcode.OK, "1 present")
	o.Lock.Update = true
	f.want(t, Check(t.Context(), o), exitcode.ActionNeeded, "differs  "+f.target("a"))
	f.want(t, Mirror(t.Context(), o), exitcode.Failed, "use --overwrite to move the tag")
	o.Overwrite = true
	f.want(t, Mirror(t.Context(), o), exitcode.OK, "1 copied")
	if got := fakeregistry.Digest(t, f.target("a")); got != moved || readLock(t, o.Lock.Name).Images[0].Digest.String() != moved {
		t.Errorf("the tag is %s, want %s", got, moved)
	}
}

func TestOneMissingImageDoesNotStopTheOthers(t *testing.T) {
	f := newFixture(t)
	f.push(t, "a", 1)
	o := CopyOptions{Options: f.options(t), Lock: f.lockFile(), Sources: f.sources("a", "missing")}
	err := Mirror(t.Context(), o)
	if !strings.Contains(f.errOut.String(), "castai/missing:v1: not found") {
		t.Errorf("messages lack the image:\n%s", f.errOut.String())
	}
	f.want(t, err, exitcode.Failed, "1 copied, 0 present before, 1 not copied")
	if l := readLock(t, o.Lock.Name); len(l.Images) != 1 {
		t.Errorf("lock file %+v", l)
	}
	o.Sources = f.sources("a", "missing")
	f.want(t, Check(t.Context(), o), exitcode.ActionNeeded, "1 present, 1 missing, 0 differ, 0 failed")
	o.Lock.Update, o.Sources = true, f.sources("a", "missing") // the source is asked, and does not have it
	f.want(t, Check(t.Context(), o), exitcode.Failed, "1 present, 0 missing, 0 differ, 1 failed")
}

func TestMirrorErrors(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(f *fixture, o *CopyOptions)
		code   int
		want   string
	}{
		"neither sources nor a lock file": {func(_ *fixture, o *CopyOptions) { o.Sources = selection.Sources{} }, exitcode.Usage, "there is no lock file"},
		"no transfers at a time":          {func(_ *fixture, o *CopyOptions) { o.Parallel = 0 }, exitcode.Usage, "--parallel 0: use 1 to 256"},
		"too many transfers at a time":    {func(_ *fixture, o *CopyOptions) { o.Parallel = 257 }, exitcode.Usage, "--parallel 257: use 1 to 256"},
		"invalid settings of repositories": {func(_ *fixture, o *CopyOptions) {
			o.Rules = rules(t, rewrite.Config{Registry: ecr, Repositories: rewrite.Repositories{TagMutability: "SOMETIMES"}})
		}, exitcode.Usage, "repositories.tagMutability"},
		"a lock file that is a folder":     {func(f *fixture, o *CopyOptions) { o.Lock.Name = f.dir }, exitcode.Usage, "is a directory"},
		"a folder that does not exist":     {func(f *fixture, o *CopyOptions) { o.Lock.Name = f.file("none/lock.yaml") }, exitcode.Usage, "does not exist: create it"},
		"standard output as the lock file": {func(_ *fixture, o *CopyOptions) { o.Lock.Name = "-" }, exitcode.Usage, "--lock -: "},
		"no image to copy": {func(f *fixture, o *CopyOptions) {
			o.Sources.Stdin = strings.NewReader(pod(f.private.Host + "/mirror/a:v1"))
		}, exitcode.Usage, "none of the images has to be copied"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.push(t, "a", 1)
			o := CopyOptions{Options: f.options(t), Lock: f.lockFile(), Sources: f.sources("a")}
			tc.change(f, &o)
			f.want(t, Mirror(t.Context(), o), tc.code, tc.want)
			wantMissing(t, f.lockFile().Name)
			if got := fakeregistry.Digest(t, f.target("a")); got != "" {
				t.Errorf("the image was copied: %s", got)
			}
		})
	}
}

func TestAnInterruptedRunKeepsTheLockFile(t *testing.T) {
	f := newFixture(t)
	f.push(t, "a", 1)
	o := CopyOptions{Options: f.options(t), Lock: f.lockFile(), Sources: f.sources("a")}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	f.want(t, Mirror(ctx, o), exitcode.Failed, "context canceled")
	wantMissing(t, o.Lock.Name)
}

// unmapped is an image that has no legal name in a private registry.
const unmapped = "[2001:db8::1]:5000/x/b:v1"

func TestUnmappedImagesFail(t *testing.T) {
	f := newFixture(t)
	f.push(t, "a", 1)
	o := CopyOptions{Options: f.options(t), Lock: f.lockFile()}
	selected := func() CopyOptions {
		o := o
		o.Sources = f.sources("a")
		o.Sources.Stdin = io.MultiReader(o.Sources.Stdin, strings.NewReader(pod(unmapped)))
		return o
	}
	f.want(t, Check(t.Context(), selected()), exitcode.Failed, "0 present, 1 missing, 0 differ, 1 failed")
	f.want(t, Mirror(t.Context(), selected()), exitcode.Failed, "failed: "+unmapped+": not rewritten: an IPv6 host")
	f.want(t, Mirror(t.Context(), selected()), exitcode.Failed, "0 copied, 1 present before, 1 not copied")
	fakeregistry.Verify(t, f.target("a"))
	if l := readLock(t, o.Lock.Name); len(l.Images) != 1 || len(l.NotCopied) != 1 || l.NotCopied[0].Source != unmapped {
		t.Errorf("lock file %+v", l)
	}
	// The lock file alone does not pass, either.
	f.want(t, Check(t.Context(), o), exitcode.Failed, "1 present, 0 missing, 0 differ, 1 failed")
	f.want(t, Mirror(t.Context(), o), exitcode.Failed, unmapped)

	o.Reporter = progress.New(progress.Options{Out: &f.out, ErrOut: &f.errOut, Format: output.JSON})
	err := Mirror(t.Context(), selected())
	lines := strings.Split(strings.TrimSpace(f.out.String()), "\n")
	var last struct {
		Event  string
		Images []struct{ Source, State, Error string }
	}
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil {
		t.Fatal(err)
	}
	if last.Event != "summary" || len(last.Images) != 2 || !slices.ContainsFunc(last.Images, func(i struct{ Source, State, Error string }) bool {
		return i.Source == unmapped && i.State == "failed" && i.Error != ""
	}) {
		t.Errorf("the last line is %+v", last)
	}
	f.want(t, err, exitcode.Failed, "")
}

func TestAnImageThatWasNotCopiedIsCopiedByTheNextRun(t *testing.T) {
	f := newFixture(t)
	f.push(t, "a", 1)
	o := CopyOptions{Options: f.options(t), Lock: f.lockFile()}
	first := o
	first.Sources = f.sources("a", "late")
	f.want(t, Mirror(t.Context(), first), exitcode.Failed, "1 not copied")
	f.public.ResetLog()
	f.want(t, Check(t.Context(), o), exitcode.Failed, "castai/late:v1: it was not copied when the lock file was written")
	if n := len(f.public.Log()); n > 0 {
		t.Errorf("a check of the lock file sent %d requests to the public registry", n)
	}
	digest := f.push(t, "late", 2)
	f.want(t, Mirror(t.Context(), o), exitcode.OK, "1 copied, 1 present before")
	if l := readLock(t, o.Lock.Name); len(l.Images) != 2 || len(l.NotCopied) > 0 || l.Images[1].Digest.String() != digest {
		t.Errorf("lock file %+v", l)
	}
	f.want(t, Check(t.Context(), o), exitcode.OK, "2 present")
}

func TestAFailedRunDoesNotEmptyTheLockFile(t *testing.T) {
	f := newFixture(t)
	f.push(t, "a", 1)
	o := CopyOptions{Options: f.options(t), Lock: f.lockFile(), Sources: f.sources("missing")}
	f.want(t, Mirror(t.Context(), o), exitcode.Failed, "was not written, because no image was copied")
	wantMissing(t, o.Lock.Name)
	o.Sources = f.sources("a")
	f.want(t, Mirror(t.Context(), o), exitcode.OK, "1 copied")
	before, _ := os.ReadFile(o.Lock.Name)
	for _, sources := range []selection.Sources{f.sources(), f.sources("missing")} {
		o.Sources = sources
		f.want(t, Mirror(t.Context(), o), exitcode.Failed, "")
		if after, err := os.ReadFile(o.Lock.Name); err != nil || !bytes.Equal(after, before) {
			t.Errorf("the lock file is now %s, %v", after, err)
		}
	}
}

func TestALockOfOtherRulesIsNotCopied(t *testing.T) {
	f := newFixture(t)
	f.push(t, "a", 1)
	o := CopyOptions{Options: f.options(t), Lock: f.lockFile(), Sources: f.sources("a")}
	f.want(t, Mirror(t.Context(), o), exitcode.OK, "1 copied")
	o.Sources = selection.Sources{}
	o.Rules = rules(t, rewrite.Config{Registry: f.private.Host + "/mirror", Rules: []rewrite.Rule{{Source: f.publicHost + "/castai", Target: "renamed"}}})
	for _, run := range []func(context.Context, CopyOptions) error{Check, Mirror} {
		f.want(t, run(t.Context(), o), exitcode.Failed, "the lock file has it at "+f.target("a")+", and the configuration maps it to "+f.private.Host+"/mirror/renamed/a:v1")
	}
}

func TestConnect(t *testing.T) {
	fakeecr.New(fakeecr.Options{}).StartTest(t)
	f := newFixture(t)
	if client, registry, err := f.options(t).Connect(t.Context()); err != nil || client == nil || registry != nil {
		t.Errorf("a registry that is not ECR: %v, %v, %v", client, registry, err)
	}
	o := f.optionsFor(t, ecr)
	if client, registry, err := o.Connect(t.Context()); err != nil || client == nil || registry == nil {
		t.Errorf("ECR: %v, %v, %v", client, registry, err)
	}
	if m, _, err := o.mirror(t.Context()); err != nil || m.Repositories == nil {
		t.Errorf("repositories in ECR cannot be created: %+v, %v", m, err)
	}
	if m, _, err := f.options(t).mirror(t.Context()); err != nil || m.Repositories != nil {
		t.Errorf("repositories would be created in a registry that is not ECR: %+v, %v", m, err)
	}
	o.Rules = rules(t, rewrite.Config{Registry: ecr, Repositories: rewrite.Repositories{TagMutability: "SOMETIMES"}})
	_, _, err := o.Connect(t.Context())
	f.want(t, err, exitcode.Usage, "repositories.tagMutability")
}

func TestPrintLock(t *testing.T) {
	f := newFixture(t)
	digest := f.push(t, "a", 1)
	o, s := f.options(t), f.sources("a")
	images, _, err := s.Images(t.Context(), o.Rules)
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	if err := PrintLock(t.Context(), o, s, images, &text); err != nil {
		t.Fatal(err)
	}
	l, err := lock.Parse("output", text.Bytes())
	if err != nil || len(l.Images) != 1 || l.Images[0].Digest.String() != digest || l.Images[0].Target != f.target("a") {
		t.Errorf("%+v, %v", l, err)
	}
	if got := fakeregistry.Digest(t, f.target("a")); got != "" {
		t.Errorf("the image was copied: %s", got)
	}

	missing := []catalog.Entry{{Source: f.publicHost + "/castai/missing:v1", Target: f.target("missing"), Copy: true}}
	text.Reset()
	f.want(t, PrintLock(t.Context(), o, s, missing, &text), exitcode.Failed, "castai/missing:v1")
	f.want(t, PrintLock(t.Context(), o, s, nil, &text), exitcode.Usage, "the lock file would be empty")
	o.Parallel = 0
	f.want(t, PrintLock(t.Context(), o, s, images, &text), exitcode.Usage, "--parallel 0")
	if text.Len() > 0 {
		t.Errorf("a run that failed printed %s", text.String())
	}

	o.Parallel = 4
	some := append(slices.Clone(images), missing[0], catalog.Entry{Source: "X Y", Outcome: rewrite.Unmapped, Rule: "not rewritten"})
	f.want(t, PrintLock(t.Context(), o, s, some, &text), exitcode.Failed, "failed: "+missing[0].Source)
	if l, err := lock.Parse("output", text.Bytes()); err != nil || len(l.Images) != 1 || len(l.NotCopied) != 2 {
		t.Errorf("%+v, %v", l, err)
	}
}
