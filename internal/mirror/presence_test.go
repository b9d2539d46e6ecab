// SPDX-License-Identifier: Apache-2.0

package mirror_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/opencontainers/go-digest"

	"github.com/castai/privatelink-webhook/internal/mirror"
	"github.com/castai/privatelink-webhook/internal/rewrite"
	"github.com/castai/privatelink-webhook/internal/testutil/fakeregistry"
)

// artifact returns a signature, which the seed determines.
func artifact(t *testing.T, seeds ...uint64) v1.Image {
	t.Helper()
	var layers []v1.Layer
	for _, seed := range seeds {
		layers = append(layers, fakeregistry.Layer(seed, 100))
	}
	return fakeregistry.Image(t, "unknown", layers...)
}

// repositories returns those of the first image, at the source and in the target.
func (p *pair) repositories() (source, target string) {
	return rewrite.SplitReference(p.jobs[0].Source).Repository, rewrite.SplitReference(p.jobs[0].Target).Repository
}

// compare returns the first image of a plan that is not run.
func (p *pair) compare(t *testing.T) *mirror.Item {
	t.Helper()
	compared := *p.mirror
	compared.CompareOnly = true
	plan, err := compared.Plan(t.Context(), p.jobs)
	if err != nil {
		t.Fatal(err)
	}
	return plan.Items[0]
}

// mustRun mirrors, and fails the test unless the first image ends in a state.
func (p *pair) mustRun(t *testing.T, want mirror.State) *mirror.Plan {
	t.Helper()
	plan, err := p.run(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if i := plan.Items[0]; i.State != want {
		t.Fatalf("%s: %s %v, want %s", i.Source, i.State, i.Err, want)
	}
	return plan
}

// lock makes the following runs use the digests of a plan.
func (p *pair) lock(plan *mirror.Plan) {
	for n, e := range p.mirror.BuildLock(p.target.Host, plan, nil).Images {
		p.jobs[n].Locked = &mirror.Locked{Digest: e.Digest, SourceDigest: e.SourceDigest, Referrers: e.Referrers}
	}
}

func TestIncompleteImages(t *testing.T) {
	for name, tc := range map[string]struct {
		// change changes source or target after the copy, and returns what the target lacks.
		change func(t *testing.T, source, target string, children []string) string
		// unlockedOnly is set for what only the source knows.
		unlockedOnly bool
	}{
		"a platform was deleted": {change: func(t *testing.T, _, target string, children []string) string {
			fakeregistry.Delete(t, target+"@"+children[1])
			return children[1]
		}},
		"a referrer was deleted": {change: func(t *testing.T, _, target string, _ []string) string {
			referrer := fakeregistry.Referrers(t, target+":v1")[0]
			fakeregistry.Delete(t, target+"@"+referrer)
			return referrer
		}},
		"a referrer was published later": {unlockedOnly: true, change: func(t *testing.T, source, _ string, children []string) string {
			return fakeregistry.PushReferrer(t, source+"@"+children[0], artifact(t, 5))
		}},
		"a signature was published later": {unlockedOnly: true, change: func(t *testing.T, source, _ string, children []string) string {
			return fakeregistry.Digest(t, source+":"+fakeregistry.PushSignature(t, source+"@"+children[0], artifact(t, 5)))
		}},
		"a signature was added to another": {unlockedOnly: true, change: func(t *testing.T, source, _ string, _ []string) string {
			return fakeregistry.Digest(t, source+":"+fakeregistry.PushSignature(t, source+":v1", artifact(t, 3, 4)))
		}},
	} {
		for _, locked := range []bool{true, false} {
			t.Run(map[bool]string{true: "locked: ", false: "not locked: "}[locked]+name, func(t *testing.T) {
				t.Parallel()
				p := newPair(t, 1, 1000)
				source, target := p.repositories()
				fakeregistry.PushReferrer(t, source+":v1", artifact(t, 2))
				fakeregistry.PushSignature(t, source+":v1", artifact(t, 3))
				plan := p.mustRun(t, mirror.StateCopied)
				if locked {
					p.lock(plan)
				}
				if i := p.compare(t); i.State != mirror.StatePresent {
					t.Fatalf("after the copy: %s, lacks %v", i.State, i.Lacks)
				}
				lost := tc.change(t, source, target, fakeregistry.Children(t, source+":v1"))
				want := mirror.StateIncomplete
				if locked && tc.unlockedOnly {
					want = mirror.StatePresent
				}
				i := p.compare(t)
				if i.State != want || want == mirror.StateIncomplete && !slices.Equal(i.Lacks, []digest.Digest{digest.Digest(lost)}) {
					t.Fatalf("%s, lacks %v; want %s without %s", i.State, i.Lacks, want, lost)
				}
				if want == mirror.StatePresent {
					return
				}
				p.target.ResetLog()
				p.mustRun(t, mirror.StateCopied)
				// The client may also update the index of referrers, in place of the API.
				if n := p.target.Count(http.MethodPut, "/manifests/"); n < 1 || n > 2 {
					t.Errorf("%d manifests were written: %v", n, p.target.Log())
				}
				p.checkEqual(t)
				if fakeregistry.Digest(t, target+"@"+lost) == "" {
					t.Errorf("%s is still missing", lost)
				}
				if i := p.compare(t); i.State != mirror.StatePresent {
					t.Errorf("after the second copy: %s, lacks %v", i.State, i.Lacks)
				}
			})
		}
	}
}

// Signatures that the users of the private registry have added are not replaced.
func TestAddedSignaturesAreKept(t *testing.T) {
	p := newPair(t, 1, 1000)
	source, target := p.repositories()
	tag := fakeregistry.PushSignature(t, source+":v1", artifact(t, 3))
	p.mustRun(t, mirror.StateCopied)
	fakeregistry.PushSignature(t, target+":v1", artifact(t, 3, 9))
	added := fakeregistry.Digest(t, target+":"+tag)
	plan := p.mustRun(t, mirror.StatePresent)
	if got := fakeregistry.Digest(t, target+":"+tag); got != added || !slices.ContainsFunc(p.events, isWarning("--overwrite")) {
		t.Errorf("the signature is %s, not %s; events %v", got, added, p.events)
	}
	if e := p.mirror.BuildLock(p.target.Host, plan, nil).Images[0]; len(e.Referrers) != 0 {
		t.Errorf("locked: %v", e.Referrers)
	}
	// Another tag of the same image does not replace them either.
	fakeregistry.Delete(t, p.jobs[0].Target)
	p.mustRun(t, mirror.StateCopied)
	if got := fakeregistry.Digest(t, target+":"+tag); got != added {
		t.Errorf("the signature is %s, not %s", got, added)
	}
	p.mirror.Overwrite = true
	p.mustRun(t, mirror.StateCopied)
	if got, want := fakeregistry.Digest(t, target+":"+tag), fakeregistry.Digest(t, source+":"+tag); got != want {
		t.Errorf("with overwrite, the signature is %s, not %s", got, want)
	}
}

// Signatures in the target that cannot be read are not replaced either.
func TestUnreadableSignaturesAreKept(t *testing.T) {
	p := newPair(t, 1, 1000)
	source, target := p.repositories()
	tag := fakeregistry.PushSignature(t, source+":v1", artifact(t, 3))
	p.mustRun(t, mirror.StateCopied)
	kept := fakeregistry.Digest(t, target+":"+tag)
	fakeregistry.PushSignature(t, source+":v1", artifact(t, 3, 4))
	for name, fault := range map[string]fakeregistry.Fault{"denied": fakeregistry.Respond(http.StatusForbidden, ""), "corrupt": replaceBody} {
		p.target.SetFault(fakeregistry.When(func(r *http.Request) bool {
			return r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/manifests/"+kept)
		}, fault))
		p.mustRun(t, mirror.StatePresent)
		if got := fakeregistry.Digest(t, target+":"+tag); got != kept {
			t.Errorf("%s: the signature is %s, not %s", name, got, kept)
		}
	}
}

func isWarning(text string) func(mirror.Event) bool {
	return func(e mirror.Event) bool { return e.Kind == mirror.EventWarning && strings.Contains(e.Message, text) }
}

func TestSignaturesOfPlatforms(t *testing.T) {
	for name, platforms := range map[string][]string{"all platforms": nil, "one platform": {"linux/arm64"}} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t, 1, 1000)
			p.mirror.Platforms = platforms
			source, target := p.repositories()
			children := fakeregistry.Children(t, source+":v1")
			var want, unwanted []string
			for n, d := range append(children, fakeregistry.Digest(t, source+":v1")) {
				tag := target + ":" + fakeregistry.PushSignature(t, source+"@"+d, artifact(t, uint64(20+n)))
				referrer := target + "@" + fakeregistry.PushReferrer(t, source+"@"+d, artifact(t, uint64(30+n)))
				if platforms == nil || n == 1 {
					want = append(want, tag, referrer)
				} else {
					unwanted = append(unwanted, tag, referrer)
				}
			}
			p.mustRun(t, mirror.StateCopied)
			for _, ref := range want {
				if fakeregistry.Digest(t, ref) == "" {
					t.Errorf("%s was not copied", ref)
				}
			}
			for _, ref := range unwanted {
				if fakeregistry.Digest(t, ref) != "" {
					t.Errorf("%s was copied", ref)
				}
			}
			if i := p.compare(t); i.State != mirror.StatePresent {
				t.Errorf("afterwards: %s, lacks %v", i.State, i.Lacks)
			}
		})
	}
}

// Trouble with referrers is reported, and fails an image only if the mirror is strict
// or content is corrupt.
func TestUnreadableReferrers(t *testing.T) {
	ghost := digest.FromString("deleted").String()
	unlessPut := func(path string, f fakeregistry.Fault) fakeregistry.Fault {
		return fakeregistry.When(func(r *http.Request) bool { return r.Method != http.MethodPut && strings.Contains(r.URL.Path, path) }, f)
	}
	on := func(method, path string, f fakeregistry.Fault) fakeregistry.Fault {
		return fakeregistry.When(func(r *http.Request) bool { return r.Method == method && strings.Contains(r.URL.Path, path) }, f)
	}
	list := func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Content-Type", "application/vnd.oci.image.index.v1+json")
		_, _ = w.Write([]byte(`{"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"` + ghost + `","size":500}]}`))
	}
	for name, tc := range map[string]struct {
		fault     fakeregistry.Fault
		want      string // in a warning
		isCorrupt bool
	}{
		"a listed referrer is gone": {fault: on(http.MethodGet, "/referrers/", list), want: ghost},
		"the API is denied":         {fault: on(http.MethodGet, "/referrers/", fakeregistry.Respond(http.StatusForbidden, "")), want: "may be missing"},
		"the API fails":             {fault: on(http.MethodGet, "/referrers/", fakeregistry.Respond(http.StatusBadGateway, "")), want: "may be missing"},
		"a tag cannot be looked up": {fault: unlessPut(".sig", fakeregistry.Respond(http.StatusForbidden, "")), want: "may be missing"},
		"several cannot":            {fault: unlessPut("/manifests/sha256-", fakeregistry.Respond(http.StatusForbidden, "")), want: "similar errors"},
		"a signature is gone":       {fault: on(http.MethodGet, "/manifests/SIGNATURE", fakeregistry.Respond(http.StatusNotFound, "")), want: "is not copied"},
		"a referrer is corrupt":     {fault: on(http.MethodGet, "/manifests/REFERRER", replaceBody), isCorrupt: true},
	} {
		for _, strict := range []bool{false, true} {
			t.Run(map[bool]string{true: "strict: ", false: ""}[strict]+name, func(t *testing.T) {
				t.Parallel()
				p := newPair(t, 1, 1000)
				p.mirror.StrictReferrers = strict
				source, _ := p.repositories()
				referrer := fakeregistry.PushReferrer(t, source+":v1", artifact(t, 1))
				signature := fakeregistry.Digest(t, source+":"+fakeregistry.PushSignature(t, source+":v1", artifact(t, 2)))
				fault := tc.fault
				switch name {
				case "a referrer is corrupt":
					fault = on(http.MethodGet, "/manifests/"+referrer, replaceBody)
				case "a signature is gone":
					fault = on(http.MethodGet, "/manifests/"+signature, fakeregistry.Respond(http.StatusNotFound, ""))
				}
				p.source.SetFault(fault)
				plan, err := p.run(t.Context(), nil)
				if err != nil {
					t.Fatal(err)
				}
				if i := plan.Items[0]; strict || tc.isCorrupt {
					if i.State != mirror.StateFailed {
						t.Errorf("%s %v", i.State, i.Err)
					}
					return
				}
				checkCopied(t, plan)
				warnings := slices.DeleteFunc(p.events, func(e mirror.Event) bool { return e.Kind != mirror.EventWarning })
				if !slices.ContainsFunc(warnings, isWarning(tc.want)) || len(warnings) > 3 {
					t.Errorf("warnings %v", warnings)
				}
			})
		}
	}
}

// Layers of a type for other places than registries are copied if the source has them.
func TestForeignLayers(t *testing.T) {
	for name, stored := range map[string]bool{"stored": true, "not stored": false} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t, 1, 1000)
			const url = "https://example.com/layer"
			image, layer := fakeregistry.Foreign(t, url)
			var options []remote.Option
			if stored {
				options = append(options, remote.WithNondistributable)
			}
			fakeregistry.Push(t, p.jobs[0].Source, image, options...)
			p.mustRun(t, mirror.StateCopied)
			source, target := p.repositories()
			if got := p.target.Count("", "/blobs/"+layer) > 0; got != stored {
				t.Errorf("copied %t: %v", got, p.target.Log())
			}
			if got, want := fakeregistry.Digest(t, target+":v1"), fakeregistry.Digest(t, source+":v1"); got != want {
				t.Errorf("%s, want %s", got, want)
			}
			if got := slices.ContainsFunc(p.events, isWarning(url)); got == stored {
				t.Errorf("events %v", p.events)
			}
		})
	}
}
