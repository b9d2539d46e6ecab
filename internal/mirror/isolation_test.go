// SPDX-License-Identifier: Apache-2.0

package mirror_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/castai/privatelink-webhook/internal/mirror"
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
			reports := 0
			for _, e := range p.events {
				if e.Kind == mirror.EventFailed && e.Source == p.jobs[1].Source {
					reports++
				}
			}
			if reports != 1 {
				t.Errorf("the failure was reported %d times: %v", reports, p.events)
			}
			plan.Items = slices.Delete(plan.Items, 1, 2)
			p.jobs = slices.Delete(p.jobs, 1, 2)
			checkCopied(t, plan)
			p.checkEqual(t)
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
