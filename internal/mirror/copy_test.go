// SPDX-License-Identifier: Apache-2.0

package mirror_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/castai/privatelink-webhook/internal/mirror"
	"github.com/castai/privatelink-webhook/internal/testutil/fakeregistry"
)

// Of five images with 4 common and 20 other layers and 10 configurations.
const (
	commonLayers  = 4
	distinctBlobs = 34
)

func TestCopy(t *testing.T) {
	for name, tc := range map[string]struct {
		mounts bool
		reads  int // at most
	}{
		"with mounts": {mounts: true, reads: distinctBlobs},
		// Only refused mounts show that the registry does not support them.
		"without mounts": {mounts: false, reads: distinctBlobs + 4*commonLayers},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPair(t, 5, 50_000)
			if !tc.mounts {
				p.target.DisableMounts()
			}
			var progress mirror.Progress
			var planning mirror.PlanProgress
			p.mirror.Planning = &planning
			plan, err := p.run(t.Context(), &progress)
			if err != nil {
				t.Fatal(err)
			}
			checkCopied(t, plan)
			p.checkEqual(t)
			if n := planning.Blobs.Load(); planning.ImagesDone.Load() != 5 || planning.Images.Load() != 5 || n != 5*10 || planning.BlobsDone.Load() != n {
				t.Errorf("planned %d images and %d of %d blobs", planning.ImagesDone.Load(), planning.BlobsDone.Load(), n)
			}
			if done, total := progress.Done.Load(), progress.Total.Load(); done != total || progress.ImagesDone.Load() != 5 {
				t.Errorf("%d of %d bytes, %d images", done, total, progress.ImagesDone.Load())
			}
			if mounted := progress.Mounted.Load(); tc.mounts != (mounted > 0) || tc.mounts && mounted != plan.Mount {
				t.Errorf("%d bytes mounted, %d planned", mounted, plan.Mount)
			}
			if got := len(p.source.FetchedBlobs()); got < distinctBlobs || got > tc.reads {
				t.Errorf("%d blobs read", got)
			}
		})
	}
}

// Mounts end when the target refuses those of blobs that this run has written: it does not
// support them.
func TestMountsEndAfterThreeRefusals(t *testing.T) {
	const mounts = 4 * commonLayers // of five images
	for name, tc := range map[string]struct {
		accepted int  // mounts, before those that are refused
		stored   bool // the target has the blobs, of an image that was deleted
		denied   bool // no manifest is accepted
		want     int  // mounts that are tried
	}{
		"all":                        {want: 3},
		"all but the first":          {accepted: 1, want: mounts},
		"of blobs from before":       {stored: true, want: mounts},
		"of blobs that no image has": {denied: true, want: mounts},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPair(t, 5, 1000)
			p.mirror.Parallel = 1
			if tc.stored {
				all := p.jobs
				p.jobs = p.jobs[:1]
				p.mustRun(t, mirror.StateCopied)
				_, target := p.repositories()
				for _, d := range append(fakeregistry.Children(t, target+":v1"), fakeregistry.Digest(t, target+":v1")) {
					fakeregistry.Delete(t, target+"@"+d)
				}
				fakeregistry.Delete(t, target+":v1")
				p.jobs = all
			}
			tried := 0 // one at a time
			p.target.SetFault(func(w http.ResponseWriter, r *http.Request, handler http.Handler) {
				if r.URL.Query().Has("mount") {
					if tried++; tried > tc.accepted {
						r = r.Clone(r.Context())
						r.URL.RawQuery = "" // an ordinary upload
					}
				}
				if tc.denied && isManifestPut(r) {
					w.WriteHeader(http.StatusForbidden)
					return
				}
				handler.ServeHTTP(w, r)
			})
			plan, err := p.run(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			if tried != tc.want {
				t.Errorf("%d mounts were tried, want %d", tried, tc.want)
			}
			if failed := plan.Count(mirror.StateFailed); failed > 0 != tc.denied {
				t.Errorf("%d images failed", failed)
			}
		})
	}
}

func TestUnchangedImages(t *testing.T) {
	p := newPair(t, 5, 1000)
	plan, err := p.run(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	l := p.mirror.BuildLock(p.target.Host+"/castai", plan, nil)
	if len(l.Images) != 5 || l.Images[0].Size < 8000 || len(l.Images[0].Platforms) != 2 {
		t.Fatalf("lock %+v", l)
	}
	for n, j := range p.jobs {
		e, _ := l.Lookup(j.Source, j.Target)
		p.jobs[n].Locked = &mirror.Locked{Digest: e.Digest}
	}
	p.source.ResetLog()
	p.target.ResetLog()
	if plan, err = p.run(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	// One request for the tag and its index, and one for each platform.
	if plan.Count(mirror.StatePresent) != 5 || p.source.Count("", "") != 0 || p.target.Count("HEAD", "") != 5*2 || p.target.Count("", "") != 5*3 {
		t.Errorf("%d present; source: %v; target: %v", plan.Count(mirror.StatePresent), p.source.Log(), p.target.Log())
	}
	if rebuilt := p.mirror.BuildLock(p.target.Host+"/castai", plan, l); fmt.Sprint(rebuilt) != fmt.Sprint(l) {
		t.Errorf("the lock changed:\n%v\n%v", l, rebuilt)
	}
}

// The digest of the lock file is copied, although the tag was moved.
func TestLockedDigest(t *testing.T) {
	p := newPair(t, 1, 1000)
	locked := fakeregistry.Digest(t, p.jobs[0].Source)
	fakeregistry.Push(t, p.jobs[0].Source, fakeregistry.MultiArch(t, 10, 99))
	p.jobs[0].Locked = &mirror.Locked{Digest: digest.Digest(locked)}
	plan, err := p.run(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	checkCopied(t, plan)
	if got := fakeregistry.Digest(t, p.jobs[0].Target); got != locked || plan.Items[0].Digest().String() != locked {
		t.Errorf("%s was copied, %s is locked", got, locked)
	}
	fakeregistry.Verify(t, p.jobs[0].Target)
}

// A name without a tag has the tag latest.
func TestTargetsWithoutATag(t *testing.T) {
	p := newPair(t, 1, 1000)
	_, target := p.repositories()
	p.jobs[0].Target = target
	p.mustRun(t, mirror.StateCopied)
	if got, want := fakeregistry.Digest(t, target+":latest"), fakeregistry.Digest(t, p.jobs[0].Source); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestCompareOnly(t *testing.T) {
	p := newPair(t, 1, 1000)
	p.mirror.CompareOnly = true
	plan, err := p.mirror.Plan(t.Context(), p.jobs)
	if err != nil {
		t.Fatal(err)
	}
	if plan.Items[0].State != mirror.StateMissing || p.source.Count("GET", "") > 0 {
		t.Errorf("%s after %v", plan.Items[0].State, p.source.Log())
	}
}

// Without a lock file and without a route to the sources, the target alone tells what is
// missing.
func TestWithoutSource(t *testing.T) {
	p := newPair(t, 4, 1000)
	if _, err := p.run(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	children := fakeregistry.Children(t, p.jobs[1].Target)
	repository, _, _ := strings.Cut(strings.TrimPrefix(p.jobs[1].Target, p.target.Host), ":")
	fakeregistry.Delete(t, p.target.Host+repository+"@"+children[0])
	pinned := strings.Replace(p.jobs[2].Source, ":v1", ":v1@", 1)
	p.jobs[2].Source = pinned + "sha256:" + strings.Repeat("0", 64)
	p.jobs = append(p.jobs, mirror.Job{Source: p.jobs[0].Source, Target: p.target.Host + "/castai/none:v1"},
		mirror.Job{Source: pinned + fakeregistry.Digest(t, p.jobs[2].Target), Target: p.jobs[2].Target})
	p.source.ResetLog()
	p.mirror.CompareOnly, p.mirror.WithoutSource = true, true
	for _, platforms := range [][]string{nil, {"linux/amd64"}} {
		p.mirror.Platforms = platforms
		plan, err := p.mirror.Plan(t.Context(), []mirror.Job{p.jobs[0], p.jobs[1], p.jobs[3], p.jobs[4]})
		if err != nil {
			t.Fatal(err)
		}
		for n, want := range []mirror.State{mirror.StatePresent, mirror.StateIncomplete, mirror.StatePresent, mirror.StateMissing} {
			if i := plan.Items[n]; i.State != want || i.Uncompared != (want == mirror.StatePresent || want == mirror.StateIncomplete) {
				t.Errorf("%v, %d: %s, uncompared %t (%v), want %s", platforms, n, i.State, i.Uncompared, i.Err, want)
			}
		}
	}
	p.mirror.Platforms = nil
	for n, want := range map[int]mirror.State{2: mirror.StateDiffers, 5: mirror.StatePresent} {
		plan, err := p.mirror.Plan(t.Context(), p.jobs[n:n+1])
		if err != nil {
			t.Fatal(err)
		}
		if i := plan.Items[0]; i.State != want || i.Uncompared {
			t.Errorf("pinned: %s (%v), want %s", i.State, i.Err, want)
		}
	}
	if log := p.source.Log(); len(log) > 0 {
		t.Errorf("the source was asked: %v", log)
	}
}

func TestOverwrite(t *testing.T) {
	p := newPair(t, 2, 1000)
	before := fakeregistry.Push(t, p.jobs[0].Target, fakeregistry.MultiArch(t, 10, 99))
	plan, err := p.run(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if plan.Items[0].State != mirror.StateDiffers || plan.Items[1].State != mirror.StateCopied || fakeregistry.Digest(t, p.jobs[0].Target) != before {
		t.Errorf("%s %s", plan.Items[0].State, plan.Items[1].State)
	}
	p.mirror.Overwrite = true
	if _, err = p.run(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	p.checkEqual(t)
}

func TestDifferentImagesWithOneTarget(t *testing.T) {
	p := newPair(t, 4, 1000)
	p.jobs[1].Target = p.jobs[0].Target
	p.jobs[2].Source, p.jobs[2].Target = p.jobs[0].Source, p.jobs[0].Target
	plan, err := p.run(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range plan.Items[:3] {
		if i.State != mirror.StateFailed || !strings.Contains(i.Err.Error(), "both belong at") {
			t.Errorf("%s: %s %v", i.Source, i.State, i.Err)
		}
	}
	if i := plan.Items[3]; i.State != mirror.StateCopied {
		t.Errorf("%s: %s %v", i.Source, i.State, i.Err)
	}
	if got := fakeregistry.Digest(t, p.jobs[0].Target); got != "" {
		t.Errorf("%s is %s", p.jobs[0].Target, got)
	}
}

func TestPlatforms(t *testing.T) {
	p := newPair(t, 1, 1000)
	p.mirror.Platforms = []string{"linux/arm64"}
	plan, err := p.run(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	checkCopied(t, plan)
	fakeregistry.Verify(t, p.jobs[0].Target)
	e := p.mirror.BuildLock(p.target.Host+"/castai", plan, nil).Images[0]
	if fmt.Sprint(e.Platforms) != "[linux/arm64]" || e.SourceDigest.String() != fakeregistry.Digest(t, p.jobs[0].Source) || e.Digest.String() != fakeregistry.Digest(t, p.jobs[0].Target) || e.Digest == e.SourceDigest {
		t.Errorf("%+v", e)
	}
	p.jobs[0].Locked = &mirror.Locked{Digest: e.Digest, SourceDigest: e.SourceDigest}
	p.source.ResetLog()
	if plan, err = p.run(t.Context(), nil); err != nil || plan.Items[0].State != mirror.StatePresent || p.source.Count("", "") > 0 {
		t.Errorf("%v %+v %v", err, plan.Items[0], p.source.Log())
	}
	p.mirror.Platforms = []string{"windows/amd64"}
	p.jobs[0].Locked = nil
	plan, err = p.run(t.Context(), nil)
	if err != nil || plan.Items[0].State != mirror.StateFailed || !strings.Contains(plan.Items[0].Err.Error(), "only linux/amd64, linux/arm64") {
		t.Errorf("%v %v", err, plan.Items[0].Err)
	}
}
