// SPDX-License-Identifier: Apache-2.0

package transfer

import (
	"os"
	"strings"
	"testing"

	"github.com/castai/privatelink-webhook/deploy"
	"github.com/castai/privatelink-webhook/internal/exitcode"
	"github.com/castai/privatelink-webhook/internal/rewrite"
	"github.com/castai/privatelink-webhook/internal/selection"
	"github.com/castai/privatelink-webhook/internal/testutil/fakeregistry"
	"github.com/castai/privatelink-webhook/internal/webhookimage"
)

// carried are options of a command that carries the webhook's image, whose source,
// target and digest are returned.
func (f *fixture) carried(t *testing.T, names ...string) (o CopyOptions, source, target, digest string) {
	t.Helper()
	o = CopyOptions{Options: f.options(t), Lock: f.lockFile(), Sources: f.sources(names...)}
	o.Sources.Webhook = webhookimage.Repository
	target, err := deploy.WebhookImage(o.Rules)
	if err != nil {
		t.Fatal(err)
	}
	tag := rewrite.SplitReference(target).Tag
	dir, index := t.TempDir(), fakeregistry.MultiArch(t, 3000, 7)
	fakeregistry.WriteLayout(t, dir, tag, index)
	o.WebhookLayout = os.DirFS(dir)
	d, err := index.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return o, webhookimage.Repository + ":" + tag, target, d.String()
}

func TestTheWebhooksImageIsMirroredFromTheCommand(t *testing.T) {
	f := newFixture(t)
	f.push(t, "a", 1)
	o, source, target, digest := f.carried(t, "a")
	f.want(t, Check(t.Context(), o), exitcode.ActionNeeded, "missing  "+target+"\n         from "+source+"\n")
	o.Sources = f.sources("a")
	o.Sources.Webhook = webhookimage.Repository
	f.want(t, Mirror(t.Context(), o), exitcode.OK, "copied "+source+" to "+target)
	fakeregistry.Verify(t, target)
	if got := fakeregistry.Digest(t, target); got != digest {
		t.Errorf("the image has the digest %s, want %s", got, digest)
	}
	l := readLock(t, o.Lock.Name)
	e, ok := l.Lookup(source, target)
	if len(l.Images) != 2 || !ok || e.Source != source || e.Target != target || e.Digest.String() != digest || strings.Join(e.Platforms, " ") != "linux/amd64 linux/arm64" || strings.Join(e.Why, " ") != "bundle privatelink install" {
		t.Errorf("lock file %+v", l)
	}
	pinned, err := o.Lock.WebhookImage(t.Context(), o.Rules)
	if err != nil || pinned != target+"@"+digest {
		t.Errorf("pinned as %s, %v", pinned, err)
	}

	// The lock file suffices, also for a command that carries nothing.
	o.Sources = f.sources()
	o.Sources.Files, o.Sources.Webhook, o.WebhookLayout = nil, webhookimage.Repository, nil
	f.want(t, Check(t.Context(), o), exitcode.OK, "2 present")
	f.want(t, Mirror(t.Context(), o), exitcode.OK, "2 present before")
}

func TestTheWebhooksImageIsInAnArchive(t *testing.T) {
	f := newFixture(t)
	f.push(t, "a", 1)
	o, source, target, digest := f.carried(t, "a")
	export := ExportOptions{Options: o.Options, Sources: o.Sources, Lock: o.Lock, File: f.file("images.tar")}
	f.want(t, Export(t.Context(), export), exitcode.OK, "2 images, ")
	f.public.SetFault(fakeregistry.Abort) // the archive suffices
	other := fakeregistry.Start(t).Host + "/other"
	for registry, lockFile := range map[string]string{f.private.Host + "/mirror": "same.lock.yaml", other: "other.lock.yaml"} {
		i := ImportOptions{Options: f.optionsFor(t, registry), File: export.File, LockFile: f.file(lockFile), Verify: true}
		f.want(t, Import(t.Context(), i), exitcode.OK, "2 copied, 0 present before")
		there := strings.Replace(target, f.private.Host+"/mirror", registry, 1)
		if got := fakeregistry.Digest(t, there); got != digest {
			t.Errorf("%s has the digest %s, want %s", there, got, digest)
		}
		if e, ok := readLock(t, i.LockFile).Lookup(source, there); !ok || e.Target != there || e.Digest.String() != digest {
			t.Errorf("%s: %+v", lockFile, e)
		}
		check := CopyOptions{Options: i.Options, Lock: selection.LockFile{Name: i.LockFile}, Sources: selection.Sources{Webhook: webhookimage.Repository}}
		f.want(t, Check(t.Context(), check), exitcode.OK, "2 present")
	}
}

func TestACommandWithoutTheWebhooksImageCopiesTheOthers(t *testing.T) {
	f := newFixture(t)
	f.push(t, "a", 1)
	o, source, target, _ := f.carried(t, "a")
	layout := o.WebhookLayout
	o.WebhookLayout = nil
	f.want(t, Mirror(t.Context(), o), exitcode.OK, source+" is left out: "+webhookimage.ErrNotCarried.Error())
	fakeregistry.Verify(t, f.target("a"))
	if l := readLock(t, o.Lock.Name); len(l.Images) != 1 || len(l.NotCopied) != 1 || l.NotCopied[0].Source != source || l.NotCopied[0].Target != target {
		t.Errorf("lock file %+v", l)
	}

	// It needs nothing of what the message offers once the image is left out.
	o.Sources = f.sources("a")
	o.Sources.Webhook, o.Sources.WithoutWebhook = webhookimage.Repository, true
	f.want(t, Check(t.Context(), o), exitcode.OK, "1 images: 1 present")

	// A command that carries the image copies what is missing.
	o.Sources = f.sources()
	o.Sources.Files, o.Sources.Webhook, o.WebhookLayout = nil, webhookimage.Repository, layout
	f.want(t, Mirror(t.Context(), o), exitcode.OK, "1 copied, 1 present before")
	fakeregistry.Verify(t, target)
}

func TestTheWebhooksImageOfARegistry(t *testing.T) {
	f := newFixture(t)
	f.push(t, "a", 1)
	digest := f.push(t, "webhook", 9)
	o, _, target, _ := f.carried(t, "a")
	o.WebhookLayout = nil
	o.Sources.Webhook = f.publicHost + "/castai/webhook:v1"
	f.want(t, Mirror(t.Context(), o), exitcode.OK, "copied "+o.Sources.Webhook+" to "+target)
	if got := fakeregistry.Digest(t, target); got != digest {
		t.Errorf("the image has the digest %s, want %s", got, digest)
	}
	o.Sources = f.sources()
	o.Sources.Files, o.Sources.Webhook = nil, webhookimage.Repository
	f.want(t, Check(t.Context(), o), exitcode.OK, "2 present")
}

func TestAnotherBuildOfTheWebhooksImage(t *testing.T) {
	f := newFixture(t)
	f.push(t, "a", 1)
	o, source, target, digest := f.carried(t, "a")
	f.want(t, Mirror(t.Context(), o), exitcode.OK, "2 copied")

	// The registry lost the image, and this command carries other content under the tag.
	fakeregistry.Delete(t, target)
	dir := t.TempDir()
	fakeregistry.WriteLayout(t, dir, rewrite.SplitReference(target).Tag, fakeregistry.MultiArch(t, 3000, 8))
	o.WebhookLayout = os.DirFS(dir)
	again := func() CopyOptions {
		o := o
		o.Sources = f.sources("a")
		o.Sources.Webhook = webhookimage.Repository
		return o
	}
	f.want(t, Mirror(t.Context(), again()), exitcode.Failed, "the locked digest of "+source+": "+webhookimage.Repository+"@"+digest+": not found: this privatelink carries "+source+", which is sha256:")
	o.Lock.Update = true
	f.want(t, Mirror(t.Context(), again()), exitcode.OK, "1 copied, 1 present before")
	fakeregistry.Verify(t, target)
}
