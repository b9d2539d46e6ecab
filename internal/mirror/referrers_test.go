// SPDX-License-Identifier: Apache-2.0

package mirror_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/castai/privatelink-webhook/internal/mirror"
	"github.com/castai/privatelink-webhook/internal/rewrite"
	"github.com/castai/privatelink-webhook/internal/testutil/fakeregistry"
)

func TestReferrersAndSignatures(t *testing.T) {
	p := newPair(t, 1, 1000)
	job := p.jobs[0]
	attestation := fakeregistry.PushReferrer(t, job.Source, fakeregistry.Image(t, "unknown", fakeregistry.Layer(77, 100)))
	tag := fakeregistry.PushSignature(t, job.Source, fakeregistry.Image(t, "unknown", fakeregistry.Layer(78, 100)))
	plan, err := p.run(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	checkCopied(t, plan)
	source, target := rewrite.SplitReference(job.Source).Repository, rewrite.SplitReference(job.Target).Repository
	if got := fakeregistry.Digest(t, target+"@"+attestation); got != attestation {
		t.Errorf("attestation: %s", got)
	}
	if got, want := fakeregistry.Digest(t, target+":"+tag), fakeregistry.Digest(t, source+":"+tag); got != want {
		t.Errorf("signature: %s, want %s", got, want)
	}
	if l := p.mirror.BuildLock(p.target.Host, plan, nil); len(l.Images[0].Referrers) != 2 {
		t.Errorf("%+v", l.Images[0])
	}
}

func TestWithoutReferrers(t *testing.T) {
	p := newPair(t, 1, 1000)
	p.mirror.Referrers = false
	tag := fakeregistry.PushSignature(t, p.jobs[0].Source, artifact(t, 1))
	p.source.ResetLog()
	p.mustRun(t, mirror.StateCopied)
	if n := p.source.Count("", tag) + p.source.Count("", "/referrers/"); n > 0 {
		t.Errorf("the source was asked for referrers: %v", p.source.Log())
	}
	if i := p.compare(t); i.State != mirror.StatePresent {
		t.Errorf("afterwards: %s, lacks %v", i.State, i.Lacks)
	}
}

func TestRefusedReferrers(t *testing.T) {
	for name, strict := range map[string]bool{"a warning": false, "an error if strict": true} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t, 1, 1000)
			p.mirror.StrictReferrers = strict
			referrer := fakeregistry.PushReferrer(t, p.jobs[0].Source, fakeregistry.Image(t, "unknown", fakeregistry.Layer(77, 100)))
			p.target.SetFault(fakeregistry.When(func(r *http.Request) bool {
				return isManifestPut(r) && strings.HasSuffix(r.URL.Path, referrer)
			}, fakeregistry.Respond(http.StatusForbidden, `{"errors":[{"code":"DENIED"}]}`)))
			plan, err := p.run(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			isWarning := func(e mirror.Event) bool { return e.Kind == mirror.EventWarning && e.Digest == referrer }
			if failed := plan.Items[0].State == mirror.StateFailed; failed != strict || slices.ContainsFunc(p.events, isWarning) == strict {
				t.Errorf("%s, events %v", plan.Items[0].State, p.events)
			}
		})
	}
}

// Without the referrers API, the list is written after the manifest. A referrer that is not
// listed is not present.
func TestUnlistedReferrers(t *testing.T) {
	p := newPair(t, 1, 1000)
	referrer := fakeregistry.PushReferrer(t, p.jobs[0].Source, artifact(t, 2))
	isList := func(r *http.Request) bool {
		return strings.Contains(r.URL.Path, "/manifests/sha256-") && r.Method == http.MethodPut
	}
	withoutAPI := fakeregistry.When(func(r *http.Request) bool { return strings.Contains(r.URL.Path, "/referrers/") },
		fakeregistry.Respond(http.StatusNotFound, ""))
	p.target.SetFault(fakeregistry.When(isList, fakeregistry.Respond(http.StatusForbidden, `{"errors":[{"code":"DENIED"}]}`)))
	if _, err := p.run(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	p.target.SetFault(withoutAPI)
	if i := p.compare(t); i.State != mirror.StateIncomplete || !slices.Equal(i.Lacks, []digest.Digest{digest.Digest(referrer)}) {
		t.Errorf("%s, lacks %v", i.State, i.Lacks)
	}
	p.mustRun(t, mirror.StateCopied)
	if i := p.compare(t); i.State != mirror.StatePresent {
		t.Errorf("after the second copy: %s, lacks %v", i.State, i.Lacks)
	}
}

// A registry may take the tag of a list of referrers for the digest of the image.
func TestImageListedAsItsReferrers(t *testing.T) {
	p := newPair(t, 1, 1000)
	p.source.SetFault(fakeregistry.When(func(r *http.Request) bool {
		return strings.Contains(r.URL.Path, "/referrers/") || strings.Contains(r.URL.Path, "/manifests/sha256-") && !strings.Contains(r.URL.Path, ".")
	}, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if strings.Contains(r.URL.Path, "/referrers/") {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		r.URL.Path = strings.Replace(r.URL.Path, "/manifests/sha256-", "/manifests/sha256:", 1)
		next.ServeHTTP(w, r)
	}))
	plan, err := p.run(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	checkCopied(t, plan)
	if l := p.mirror.BuildLock(p.target.Host, plan, nil); len(l.Images[0].Referrers) != 0 {
		t.Errorf("the lock lists %v as referrers", l.Images[0].Referrers)
	}
}
