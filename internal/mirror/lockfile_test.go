// SPDX-License-Identifier: Apache-2.0

package mirror_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/castai/privatelink-webhook/internal/mirror"
	"github.com/castai/privatelink-webhook/internal/mirror/lock"
	"github.com/castai/privatelink-webhook/internal/testutil/fakeregistry"
)

// TestTheLockHasNoDigestThatWasNotCopied fails the images at different steps.
func TestTheLockHasNoDigestThatWasNotCopied(t *testing.T) {
	p := newPair(t, 5, 1000)
	for n := range p.jobs {
		p.jobs[n].Why = []string{fmt.Sprintf("pod %d", n)}
	}
	p.jobs[1].Source = p.source.Host + "/library/nothing:v1"
	p.jobs[2].Refused, p.jobs[2].Target = errors.New("no rule maps it"), ""
	p.target.SetFault(fakeregistry.When(func(r *http.Request) bool {
		return isManifestPut(r) && (strings.Contains(r.URL.Path, "image-3/") || strings.Contains(r.URL.Path, "image-4/"))
	}, fakeregistry.Respond(http.StatusForbidden, `{"errors":[{"code":"DENIED"}]}`)))
	prefix := p.target.Host + "/castai"
	old := &lock.Lock{Registry: prefix, Images: []lock.Entry{
		{Source: p.jobs[1].Source, Target: p.jobs[1].Target, Digest: digest.FromString("old 1"), Size: 1},
		{Source: p.jobs[3].Source, Target: p.jobs[3].Target, Digest: digest.FromString("old 3"), Size: 3},
		{Source: p.jobs[4].Source, Target: prefix + "/renamed:v1", Digest: digest.FromString("old 4"), Size: 4},
	}}
	plan, err := p.run(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if n := plan.Count(mirror.StateFailed); n != 4 {
		t.Fatalf("%d images failed", n)
	}
	l := p.mirror.BuildLock(prefix, plan, old)
	var got []string
	for _, e := range l.Images {
		got = append(got, fmt.Sprintf("%s %s %s", e.Target, e.Digest, e.Why))
	}
	want := []string{
		fmt.Sprintf("%s %s [pod 0]", p.jobs[0].Target, fakeregistry.Digest(t, p.jobs[0].Source)),
		fmt.Sprintf("%s %s [pod 1]", p.jobs[1].Target, digest.FromString("old 1")),
		fmt.Sprintf("%s %s [pod 3]", p.jobs[3].Target, digest.FromString("old 3")),
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("images\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	notCopied := []lock.NotCopied{{Source: p.jobs[2].Source, Why: p.jobs[2].Why}, {Source: p.jobs[4].Source, Target: p.jobs[4].Target, Why: p.jobs[4].Why}}
	if fmt.Sprint(l.NotCopied) != fmt.Sprint(notCopied) {
		t.Errorf("not copied: %v, want %v", l.NotCopied, notCopied)
	}

	// A tag that was not moved is not that of the source.
	p.target.SetFault(nil)
	fakeregistry.Push(t, p.jobs[0].Source, fakeregistry.MultiArch(t, 1000, 77))
	p.jobs = p.jobs[:1]
	if plan, err = p.run(t.Context(), nil); err != nil || plan.Items[0].State != mirror.StateDiffers {
		t.Fatalf("%+v, %v", plan, err)
	}
	if rebuilt := p.mirror.BuildLock(prefix, plan, l); rebuilt.Images[0].Digest != l.Images[0].Digest {
		t.Errorf("the lock has %s, and the target %s", rebuilt.Images[0].Digest, l.Images[0].Digest)
	}
	if without := p.mirror.BuildLock(prefix, plan, nil); len(without.Images) > 0 || len(without.NotCopied) != 1 {
		t.Errorf("%+v", without)
	}
}

// The entry of an image that is not copied has the source of its digest.
func TestTheLockKeepsTheSourceOfAnotherImage(t *testing.T) {
	p := newPair(t, 1, 1000)
	target, name := p.jobs[0].Target, p.jobs[0].Source
	fakeregistry.Push(t, target, fakeregistry.MultiArch(t, 1000, 77))
	there := digest.Digest(fakeregistry.Digest(t, target))
	old := &lock.Lock{Registry: p.target.Host, Images: []lock.Entry{{Source: "quay.io/acme/other:v1", Target: target, Digest: there}}}
	plan, err := p.run(t.Context(), nil)
	if err != nil || plan.Items[0].State != mirror.StateDiffers {
		t.Fatalf("%+v, %v", plan, err)
	}
	if l := p.mirror.BuildLock(p.target.Host, plan, old); len(l.Images) != 1 || l.Images[0].Source != old.Images[0].Source || l.Images[0].Digest != there {
		t.Errorf("%+v, want %+v", l.Images, old.Images)
	}
	p.jobs[0].Locked = &mirror.Locked{Digest: there}
	if l := p.mirror.BuildLock(p.target.Host, p.mustRun(t, mirror.StatePresent), old); len(l.Images) != 1 || l.Images[0].Source != name {
		t.Errorf("%+v: the locked image has the name %s as well", l.Images, name)
	}
}

// Without --platforms, a run uses the digests of the lock file, whose images may be reduced: the
// next lock file says so as well.
func TestTheLockKeepsThePlatforms(t *testing.T) {
	for name, platforms := range map[string][]string{"of reduced images": {"linux/arm64"}, "not of whole images": nil} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t, 2, 1000)
			p.mirror.Platforms = platforms
			old := p.mirror.BuildLock(p.target.Host, p.mustRun(t, mirror.StateCopied), &lock.Lock{Platforms: []string{"linux/s390x"}})
			if fmt.Sprint(old.Platforms) != fmt.Sprint(platforms) {
				t.Errorf("with --platforms: %v", old.Platforms)
			}
			p.jobs[0].Locked = &mirror.Locked{Digest: old.Images[0].Digest, SourceDigest: old.Images[0].SourceDigest}
			p.mirror.Platforms = nil
			old.Platforms = []string{"linux/arm64"}
			p.jobs = p.jobs[:1]
			l := p.mirror.BuildLock(p.target.Host, p.mustRun(t, mirror.StatePresent), old)
			if fmt.Sprint(l.Platforms) != fmt.Sprint(platforms) {
				t.Errorf("platforms %v, want %v", l.Platforms, platforms)
			}
			if l.Images[0].SourceDigest != old.Images[0].SourceDigest {
				t.Errorf("%+v, want %+v", l.Images[0], old.Images[0])
			}
		})
	}
}

// An archive has the reduced image, and only its lock file the digest that the publisher gave it.
func TestTheLockKeepsTheSourceDigest(t *testing.T) {
	for name, isSame := range map[string]bool{"of the same image": true, "not of another": false} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t, 1, 1000)
			p.mirror.Platforms = []string{"linux/arm64"}
			old := p.mirror.BuildLock(p.target.Host, p.mustRun(t, mirror.StateCopied), nil)
			var want digest.Digest
			if isSame {
				want = old.Images[0].SourceDigest
			} else {
				old.Images[0].Digest = digest.FromString("another")
			}
			p.mirror.Platforms = nil
			p.jobs[0].Source, old.Images[0].Source = p.jobs[0].Target, p.jobs[0].Target
			l := p.mirror.BuildLock(p.target.Host, p.mustRun(t, mirror.StatePresent), old)
			if got := l.Images[0].SourceDigest; got != want {
				t.Errorf("source digest %q, want %q", got, want)
			}
		})
	}
}

func TestIsDone(t *testing.T) {
	refused := errors.New("no rule maps it")
	for name, tc := range map[string]struct {
		item mirror.Item
		want bool
	}{
		"copied":                {mirror.Item{State: mirror.StateCopied}, true},
		"present":               {mirror.Item{State: mirror.StatePresent}, true},
		"read for an archive":   {mirror.Item{}, true},
		"missing":               {mirror.Item{State: mirror.StateMissing}, false},
		"failed":                {mirror.Item{State: mirror.StateFailed, Err: refused}, false},
		"failed, of an archive": {mirror.Item{Err: refused}, false},
		"refused":               {mirror.Item{Job: mirror.Job{Refused: refused}, State: mirror.StateFailed, Err: refused}, true},
	} {
		t.Run(name, func(t *testing.T) {
			plan := mirror.Plan{Items: []*mirror.Item{{State: mirror.StateCopied}, &tc.item}}
			if got := plan.IsDone(); got != tc.want {
				t.Errorf("done %t", got)
			}
		})
	}
}
