// SPDX-License-Identifier: Apache-2.0

package mirror_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/castai/privatelink-webhook/internal/mirror"
	"github.com/castai/privatelink-webhook/internal/mirror/lock"
	"github.com/castai/privatelink-webhook/internal/registry"
	"github.com/castai/privatelink-webhook/internal/testutil/fakeregistry"
)

// A failure of one image does not keep the others from being copied, and the plan has
// the result of each.
func TestFailedImageDoesNotStopOthers(t *testing.T) {
	// The second of three images is the one that fails.
	of := func(method, path string) func(*http.Request) bool {
		return func(r *http.Request) bool {
			return (method == "" || r.Method == method) && strings.Contains(r.URL.Path, "/image-1/"+path)
		}
	}
	when, respond := fakeregistry.When, fakeregistry.Respond
	refuse := respond(http.StatusForbidden, `{"errors":[{"code":"DENIED"}]}`)
	child := of(http.MethodGet, "manifests/sha256:")
	lookup := func(r *http.Request) bool { return r.Method != http.MethodPut && of("", "manifests/")(r) }
	for name, tc := range map[string]struct {
		source, target fakeregistry.Fault
		repositories   mirror.Repositories
	}{
		"the source does not exist":           {source: when(of("", "manifests/v1"), respond(http.StatusNotFound, ""))},
		"a platform was deleted":              {source: when(child, respond(http.StatusNotFound, `{"errors":[{"code":"MANIFEST_UNKNOWN"}]}`))},
		"a platform is refused":               {source: when(child, refuse)},
		"a platform cannot be read":           {source: when(child, respond(http.StatusServiceUnavailable, ""))},
		"a platform is corrupt":               {source: when(child, replaceBody)},
		"the target refuses to look up tags":  {target: when(lookup, refuse)},
		"the target refuses to look up blobs": {target: when(of(http.MethodHead, "blobs/"), refuse)},
		"the target refuses uploads":          {target: when(of(http.MethodPost, "blobs/"), refuse)},
		"the target refuses manifests":        {target: when(of(http.MethodPut, "manifests/"), refuse)},
		"the repository cannot be looked up":  {repositories: fakeRepositories{denyLookup: "/image-1"}},
		"the repository cannot be created":    {repositories: fakeRepositories{denyCreation: "/image-1"}},
		"the account cannot be looked up":     {source: when(child, refuse), repositories: fakeRepositories{denyAccount: true}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPair(t, 3, 1000)
			p.source.SetFault(tc.source)
			p.target.SetFault(tc.target)
			p.mirror.Repositories = tc.repositories
			plan, err := p.run(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			p.source.SetFault(nil)
			p.target.SetFault(nil)
			if i := plan.Items[1]; i.State != mirror.StateFailed || i.Err == nil || fakeregistry.Digest(t, i.Target) != "" {
				t.Errorf("%s: %s %v", i.Source, i.State, i.Err)
			}
			reports, created := 0, 0
			for _, e := range p.events {
				if e.Kind == mirror.EventCreated {
					created++
				}
				if e.Kind == mirror.EventFailed && e.Source == p.jobs[1].Source {
					reports++
				}
			}
			if reports != 1 {
				t.Errorf("the failure was reported %d times: %v", reports, p.events)
			}
			if _, ok := tc.repositories.(fakeRepositories); ok && created != 2 {
				t.Errorf("%d repositories were created, want those of the others: %v", created, p.events)
			}
			plan.Items = slices.Delete(plan.Items, 1, 2)
			p.jobs = slices.Delete(p.jobs, 1, 2)
			checkCopied(t, plan)
			p.checkEqual(t)
		})
	}
}

// An error is that of its image, and names the cause.
func TestErrorsFailTheImage(t *testing.T) {
	deny := fakeregistry.Respond(http.StatusForbidden, "")
	read := func(path string) func(*http.Request) bool {
		return func(r *http.Request) bool { return r.Method != http.MethodPut && strings.Contains(r.URL.Path, path) }
	}
	copied := func(t *testing.T, p *pair) { p.mustRun(t, mirror.StateCopied) }
	locked := func(locked func(digest.Digest) mirror.Locked) func(*testing.T, *pair) {
		return func(t *testing.T, p *pair) {
			l := locked(digest.Digest(fakeregistry.Digest(t, p.jobs[0].Source)))
			p.jobs[0].Locked = &l
		}
	}
	isTag := func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/manifests/v1") }
	for name, tc := range map[string]struct {
		prepare        func(*testing.T, *pair)
		source, target fakeregistry.Fault
		want           string
	}{
		"a platform in the target cannot be looked up": {prepare: copied, target: fakeregistry.When(read("/manifests/sha256:"), deny), want: "not allowed"},
		"a signature in the target cannot be looked up": {target: fakeregistry.When(read(".sig"), deny), want: "not allowed", prepare: func(t *testing.T, p *pair) {
			fakeregistry.PushSignature(t, p.jobs[0].Source, artifact(t, 1))
			copied(t, p)
		}},
		"a platform that the target lacks is refused": {target: fakeregistry.When(isManifestPut, deny), want: "not allowed", prepare: func(t *testing.T, p *pair) {
			copied(t, p)
			_, target := p.repositories()
			fakeregistry.Delete(t, target+"@"+fakeregistry.Children(t, target+":v1")[0])
		}},
		"it cannot be looked up, and nothing is to be copied": {target: fakeregistry.When(read(".sig"), deny), want: "not allowed", prepare: func(t *testing.T, p *pair) {
			fakeregistry.PushSignature(t, p.jobs[0].Source, artifact(t, 1))
			copied(t, p)
			p.mirror.CompareOnly = true
		}},
		"referrers of an image that is present cannot be read, and must be": {source: fakeregistry.When(read("/referrers/"), deny), want: "not allowed", prepare: func(t *testing.T, p *pair) {
			copied(t, p)
			p.mirror.StrictReferrers = true
		}},
		"the target alone is asked, and denies it": {target: deny, want: "not allowed", prepare: func(_ *testing.T, p *pair) {
			p.mirror.CompareOnly, p.mirror.WithoutSource = true, true
		}},
		"the repository cannot be looked up": {want: "not allowed", prepare: func(_ *testing.T, p *pair) {
			p.mirror.Repositories = fakeRepositories{denyLookup: "/image-0"}
		}},
		"the locked digest is gone": {prepare: locked(func(digest.Digest) mirror.Locked { return mirror.Locked{Digest: digest.FromString("gone")} }), want: "the locked digest of"},
		"the lock is of other platforms": {prepare: locked(func(d digest.Digest) mirror.Locked {
			return mirror.Locked{Digest: digest.FromString("other platforms"), SourceDigest: d}
		}), want: "update the lock file"},
		"a digest is pinned and platforms are left out": {want: "copy it with all platforms", prepare: func(t *testing.T, p *pair) {
			source, _ := p.repositories()
			p.jobs[0].Source = source + "@" + fakeregistry.Digest(t, p.jobs[0].Source)
			p.mirror.Platforms = []string{"linux/arm64"}
		}},
		"the tag cannot be read after it was written": {target: afterPut(isTag, func(*http.Request) {}, deny), want: "not allowed"},
		"another client writes to the tag": {want: "another client writes to the same tag", target: afterPut(isTag, func(r *http.Request) {
			fakeregistry.Push(t, r.Host+"/castai/image-0:v1", fakeregistry.MultiArch(t, 10, 99))
		}, func(w http.ResponseWriter, r *http.Request, next http.Handler) { next.ServeHTTP(w, r) })},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t, 1, 1000)
			if tc.prepare != nil {
				tc.prepare(t, p)
			}
			p.source.SetFault(tc.source)
			p.target.SetFault(tc.target)
			plan, err := p.mirror.Plan(t.Context(), p.jobs)
			if err == nil && !p.mirror.CompareOnly {
				err = p.mirror.Run(t.Context(), plan, nil)
			}
			if err != nil {
				t.Fatal(err)
			}
			if i := plan.Items[0]; i.State != mirror.StateFailed || !strings.Contains(fmt.Sprint(i.Err), tc.want) {
				t.Errorf("%s %v, want %q", i.State, i.Err, tc.want)
			}
		})
	}
}

// afterPut calls f after the first PUT that matches, and handles all requests that match after it
// by then.
func afterPut(match func(*http.Request) bool, f func(*http.Request), then fakeregistry.Fault) fakeregistry.Fault {
	var written atomic.Bool
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		switch {
		case !match(r):
			next.ServeHTTP(w, r)
		case r.Method == http.MethodPut && !written.Swap(true):
			next.ServeHTTP(w, r)
			f(r)
		case written.Load():
			then(w, r, next)
		default:
			next.ServeHTTP(w, r)
		}
	}
}

// A registry that takes images alone refuses the manifest of a chart by its type.
func TestARegistryWithoutCharts(t *testing.T) {
	for name, tc := range map[string]struct {
		chart  *lock.Chart
		status int
		hint   bool
	}{
		"a bad request":              {&lock.Chart{}, http.StatusBadRequest, true},
		"a type that is not allowed": {&lock.Chart{}, http.StatusUnsupportedMediaType, true},
		"a permission that lacks":    {&lock.Chart{}, http.StatusForbidden, false},
		"an image":                   {nil, http.StatusBadRequest, false},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t, 1, 1000)
			p.jobs[0].Chart = tc.chart
			p.target.SetFault(fakeregistry.When(isManifestPut, fakeregistry.Respond(tc.status, "")))
			i := p.mustRun(t, mirror.StateFailed).Items[0]
			if hint := strings.Contains(i.Err.Error(), "leave out --charts"); hint != tc.hint {
				t.Errorf("error %v", i.Err)
			}
		})
	}
}

func TestACanceledRunEnds(t *testing.T) {
	for name, isLast := range map[string]func(*http.Request) bool{
		"at an upload":    isUploadPut,
		"at a mount":      func(r *http.Request) bool { return r.URL.Query().Has("mount") },
		"at a manifest":   isManifestPut,
		"before it began": nil,
	} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t, 2, 1000)
			plan, err := p.mirror.Plan(t.Context(), p.jobs)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			if isLast == nil {
				cancel()
			}
			p.target.SetFault(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				switch {
				case isLast == nil || isLast(r):
					cancel()
				case strings.HasSuffix(r.URL.Path, "/manifests/v1"): // the other image must not be complete before
					<-ctx.Done()
				}
				if ctx.Err() != nil {
					panic(http.ErrAbortHandler)
				}
				next.ServeHTTP(w, r)
			})
			if err := p.mirror.Run(ctx, plan, nil); !errors.Is(err, context.Canceled) {
				t.Errorf("error %v", err)
			}
			p.target.SetFault(nil)
			for _, i := range plan.Items {
				if i.State != mirror.StateFailed || !errors.Is(i.Err, context.Canceled) || fakeregistry.Digest(t, i.Target) != "" {
					t.Errorf("%s: %s %v", i.Target, i.State, i.Err)
				}
			}
		})
	}
}

func TestCanceledPlan(t *testing.T) {
	p := newPair(t, 2, 1000)
	ctx, cancel := context.WithCancel(t.Context())
	p.target.SetFault(fakeregistry.When(hasMethod(http.MethodHead), func(_ http.ResponseWriter, r *http.Request, _ http.Handler) {
		cancel()
		<-r.Context().Done()
	}))
	if _, err := p.mirror.Plan(ctx, p.jobs); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

// fakeRepositories has no repository, and denies requests for names with a suffix.
type fakeRepositories struct {
	denyLookup, denyCreation string
	denyAccount              bool
}

func (f fakeRepositories) Missing(_ context.Context, names []string) ([]string, error) {
	if f.denyLookup != "" && slices.ContainsFunc(names, func(n string) bool { return strings.HasSuffix(n, f.denyLookup) }) {
		return nil, registry.ErrDenied
	}
	return names, nil
}

func (f fakeRepositories) Create(_ context.Context, name string) error {
	if f.denyCreation != "" && strings.HasSuffix(name, f.denyCreation) {
		return registry.ErrDenied
	}
	return nil
}

func (f fakeRepositories) SharesBlobs(context.Context) (bool, error) {
	if f.denyAccount {
		return false, registry.ErrDenied
	}
	return true, nil
}
