// SPDX-License-Identifier: Apache-2.0

package awsecr

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/castai/privatelink-webhook/internal/mirror"
	"github.com/castai/privatelink-webhook/internal/registry"
	"github.com/castai/privatelink-webhook/internal/testutil/fakeecr"
)

func TestACopyWithMounts(t *testing.T) {
	k := newCopying(t, fakeecr.Options{Switches: fakeecr.Switches{BlobMounting: true}}, Config{})
	k.done(t, k.run(t), mirror.StateCopied)
	did, uploads := k.mounts()
	counts := k.target.Counts()
	if did != placements-unique || uploads != unique || counts[fakeecr.CompleteLayerUpload] != unique || counts[fakeecr.PutImage] != 3*images {
		t.Errorf("%d mounts, %d uploads: %v", did, uploads, counts)
	}
	if counts[fakeecr.BatchCheckLayerAvailability] > 0 {
		t.Errorf("%d blobs of new repositories were asked for", counts[fakeecr.BatchCheckLayerAvailability])
	}
	if got := k.asked.count("GET /v2/library/image-"); got > unique+3*images+4*3*images {
		t.Errorf("the source was asked %d times", got)
	}
	k.nothingMoreToDo(t)
}

// nothingMoreToDo runs once more.
func (k *copying) nothingMoreToDo(t *testing.T) {
	t.Helper()
	k.target.Forget()
	k.done(t, k.run(t), mirror.StatePresent)
	for _, r := range k.target.Log() {
		if r.Method != http.MethodHead {
			t.Errorf("a second run sent %s", r)
		}
	}
}

func TestACopyWithoutMounts(t *testing.T) {
	k := newCopying(t, fakeecr.Options{}, Config{})
	k.done(t, k.run(t), mirror.StateCopied)
	did, uploads := k.mounts()
	if did != 0 || uploads != placements {
		t.Errorf("%d mounts, %d uploads", did, uploads)
	}
	if !strings.Contains(k.warnings.String(), "BLOB_MOUNTING") {
		t.Errorf("warned %q", k.warnings)
	}
	k.nothingMoreToDo(t)
}

func TestACopyToImmutableTags(t *testing.T) {
	k := newCopying(t, fakeecr.Options{Switches: fakeecr.Switches{BlobMounting: true}}, Config{Settings: func(string) Settings { return Settings{TagMutability: "IMMUTABLE"} }})
	k.done(t, k.run(t), mirror.StateCopied)
	k.nothingMoreToDo(t)
	// Moving them is what ECR refuses.
	k.digests = nil
	push(t, k.images[0].Source, index(t, 77))
	k.mirror.Overwrite = true
	plan := k.run(t)
	if i := plan.Items[0]; i.State != mirror.StateFailed || !strings.Contains(i.Err.Error(), "immutable") {
		t.Errorf("%s %v", i.State, i.Err)
	}
}

// Each row is something that ECR does, after which all images have to be there.
func TestACopyThatMeetsWithFaults(t *testing.T) {
	data := func(r fakeecr.Request) bool { return strings.HasPrefix(r.Path, "/v2/") }
	tagged := func(r fakeecr.Request) bool {
		return strings.HasSuffix(r.Path, "/manifests/v1") && r.Method == http.MethodPut
	}
	mounting := fakeecr.Switches{BlobMounting: true}
	slow := map[string]fakeecr.Quota{fakeecr.PutImage: {PerSecond: 10, Burst: 10}, fakeecr.InitiateLayerUpload: {PerSecond: 40, Burst: 40}}
	for name, tc := range map[string]struct {
		switches fakeecr.Switches
		settings Settings
		faults   []fakeecr.Fault
		limits   registry.Limits
	}{
		"a validator that lags":                   {switches: fakeecr.Switches{BlobMounting: true, ValidatorLag: 300 * time.Millisecond}},
		"quotas, with a client that keeps them":   {switches: fakeecr.Switches{Quotas: slow}, limits: registry.Limits{registry.PutImage: 8, registry.InitiateLayerUpload: 32}},
		"quotas, with a client that does not":     {switches: fakeecr.Switches{Quotas: slow}},
		"quotas, with Retry-After":                {switches: fakeecr.Switches{RetryAfter: "1", Quotas: map[string]fakeecr.Quota{fakeecr.PutImage: {PerSecond: 50, Burst: 5}}}},
		"an upload that is cut":                   {faults: []fakeecr.Fault{{Match: fakeecr.On(fakeecr.CompleteLayerUpload), Times: 5, CutUpload: 7000}}},
		"an upload of which nobody says it is in": {faults: []fakeecr.Fault{{Match: fakeecr.On(fakeecr.CompleteLayerUpload), Times: 5, AbortAfter: true}}},
		"a manifest of which nobody says so, under an immutable tag": {settings: Settings{TagMutability: "IMMUTABLE"},
			faults: []fakeecr.Fault{{Match: tagged, Times: 3, AbortAfter: true}}},
		"a burst of 503":              {switches: mounting, faults: []fakeecr.Fault{{Match: data, Times: 20, Status: 503, Code: "UNAVAILABLE"}}},
		"a burst of cut connections":  {switches: mounting, faults: []fakeecr.Fault{{Match: data, Times: 20, Abort: true}}},
		"a token that ends with 403":  {switches: fakeecr.Switches{TokenUses: 60}},
		"a token that ends with 401":  {switches: fakeecr.Switches{TokenUses: 60, ExpiredStatus: 401}},
		"a token of a short life":     {switches: fakeecr.Switches{TokenLife: time.Second, ValidatorLag: 200 * time.Millisecond}},
		"an API that throttles":       {faults: []fakeecr.Fault{{Match: fakeecr.On("CreateRepository"), Times: 6, Status: 400, Code: "ThrottlingException"}}},
		"an API whose setting is off": {faults: []fakeecr.Fault{{Match: fakeecr.On("GetAccountSetting"), Status: 400, Code: "AccessDeniedException"}}, switches: mounting},
	} {
		t.Run(name, func(t *testing.T) {
			k := newCopying(t, fakeecr.Options{Switches: tc.switches}, Config{Settings: func(string) Settings { return tc.settings }})
			if tc.limits != nil {
				k.use(t, registry.Options{Limits: func(string) registry.Limits { return tc.limits }})
			}
			for _, f := range tc.faults {
				k.target.Inject(f)
			}
			began := time.Now()
			k.done(t, k.run(t), mirror.StateCopied)
			t.Logf("%v, %d requests, %v", time.Since(began).Round(time.Millisecond), len(k.target.Log()), k.target.Counts())
		})
	}
}

func TestMountsThatNeverWorkAreGivenUp(t *testing.T) {
	k := newCopying(t, fakeecr.Options{Switches: fakeecr.Switches{BlobMounting: true}}, Config{})
	plan, err := k.mirror.Plan(t.Context(), k.images)
	if err != nil {
		t.Fatal(err)
	}
	k.target.Set(func(s *fakeecr.Switches) { s.BlobMounting = false }) // after it was asked for
	if err := k.mirror.Run(t.Context(), plan, nil); err != nil {
		t.Fatal(err)
	}
	k.done(t, plan, mirror.StateCopied)
	if did, uploads := k.mounts(); did != 0 || uploads > placements+20 {
		t.Errorf("%d mounts, %d uploads or attempts", did, uploads)
	}
}

// With the client's own login, for whoever does not sign. A 401 makes the client
// log in again.
func TestATokenThatEndsWithoutSigning(t *testing.T) {
	k := newCopying(t, fakeecr.Options{Switches: fakeecr.Switches{ExpiredStatus: 401}}, Config{})
	l, err := NewLogin(LoginConfig{Known: []*Registry{k.registry}})
	if err != nil {
		t.Fatal(err)
	}
	k.use(t, registry.Options{Transport: k.base, Credential: l.Credential})
	plan, err := k.mirror.Plan(t.Context(), k.images)
	if err != nil {
		t.Fatal(err)
	}
	k.registry.tokens.now = func() time.Time { return time.Now().Add(12 * time.Hour) }
	k.target.Expire()
	if err := k.mirror.Run(t.Context(), plan, nil); err != nil {
		t.Fatal(err)
	}
	k.done(t, plan, mirror.StateCopied)
}

func TestARepositoryThatIsMissingAllTheSame(t *testing.T) {
	for _, abort := range []bool{false, true} {
		t.Run(fmt.Sprintf("abort %t", abort), func(t *testing.T) {
			k := newCopying(t, fakeecr.Options{Switches: fakeecr.Switches{Abort: abort}}, Config{})
			plan, err := k.mirror.Plan(t.Context(), k.images)
			if err != nil {
				t.Fatal(err)
			}
			plan.Create = plan.Create[1:] // as if somebody had deleted it since
			if err := k.mirror.Run(t.Context(), plan, nil); err != nil {
				t.Fatal(err)
			}
			k.done(t, plan, mirror.StateCopied)
		})
	}
}

// Signatures that ECR does not take are a warning, or with Strict an error.
func TestReferrersThatAreRefused(t *testing.T) {
	for _, strict := range []bool{false, true} {
		k := newCopying(t, fakeecr.Options{Switches: fakeecr.Switches{RefuseReferrer: func(string) bool { return true }}}, Config{})
		k.mirror.StrictReferrers = strict
		sign(t, k.images[0].Source)
		plan := k.run(t)
		state := plan.Items[0].State
		plan.Items = plan.Items[1:]
		if strict && state != mirror.StateFailed || !strict && state != mirror.StateCopied {
			t.Errorf("strict %t: %s", strict, state)
		}
		warned := slices.ContainsFunc(k.events, func(e mirror.Event) bool { return e.Kind == mirror.EventWarning })
		if warned == strict {
			t.Errorf("strict %t: events %v", strict, k.events)
		}
	}
}

// ECR takes no blob without bytes. The other images are copied all the same.
func TestAnEmptyLayer(t *testing.T) {
	k := newCopying(t, fakeecr.Options{}, Config{})
	image, err := mutate.Append(mutate.MediaType(empty.Image, types.OCIManifestSchema1), mutate.Addendum{Layer: static.NewLayer(nil, types.OCILayer)})
	if err != nil {
		t.Fatal(err)
	}
	push(t, k.images[0].Source, mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: image}))
	delete(k.digests, "castai/image-0")
	plan := k.run(t)
	if i := plan.Items[0]; i.State != mirror.StateFailed || i.Err == nil {
		t.Errorf("%s %v", i.State, i.Err)
	} else {
		t.Log(i.Err)
	}
	plan.Items = plan.Items[1:]
	k.done(t, plan, mirror.StateCopied)
}

func TestReferrersAreCopied(t *testing.T) {
	k := newCopying(t, fakeecr.Options{}, Config{})
	sign(t, k.images[0].Source)
	k.done(t, k.run(t), mirror.StateCopied)
	found, err := k.registry.Images(t.Context(), k.target.Host()+"/castai/image-0")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(found, func(i Image) bool { return i.Subject.String() == k.digests["castai/image-0"] }) {
		t.Errorf("no referrer among %v", found)
	}
}

// The source is a server of ours as well, since that can be bad.
func TestACopyFromABadSource(t *testing.T) {
	storage := fakeecr.On(fakeecr.Storage)
	for name, tc := range map[string]struct {
		fault fakeecr.Fault
		want  mirror.State
		says  string
	}{
		"a connection that breaks is taken up again":   {fault: fakeecr.Fault{Match: storage, Times: 12, CutAfter: 5000}, want: mirror.StateCopied},
		"a byte that is wrong once is read again":      {fault: fakeecr.Fault{Match: storage, Times: 2, Corrupt: true}, want: mirror.StateCopied},
		"a byte that is always wrong is never written": {fault: fakeecr.Fault{Match: storage, Corrupt: true}, want: mirror.StateFailed, says: "corrupt"},
		"a burst of 503 passes":                        {fault: fakeecr.Fault{Match: storage, Times: 12, Status: 503}, want: mirror.StateCopied},
		"429 is waited for":                            {fault: fakeecr.Fault{Match: storage, Times: 3, Status: 429, Header: http.Header{"Retry-After": {"1"}}}, want: mirror.StateCopied},
		"what stands still is begun again":             {fault: fakeecr.Fault{Match: storage, Times: 2, Hang: true}, want: mirror.StateCopied},
	} {
		t.Run(name, func(t *testing.T) {
			k := newCopying(t, fakeecr.Options{Switches: fakeecr.Switches{BlobMounting: true}}, Config{})
			source := fakeecr.New(fakeecr.Options{Switches: fakeecr.Switches{Anonymous: true}})
			url, stop := source.Start()
			t.Cleanup(stop)
			for i := range k.images {
				source.Create(fmt.Sprintf("library/image-%d", i))
				k.images[i].Source = fmt.Sprintf("%s/library/image-%d:v1", strings.TrimPrefix(url, "http://"), i)
				push(t, k.images[i].Source, index(t, 1, 2, uint64(10+2*i)))
			}
			k.base.ResponseHeaderTimeout = 500 * time.Millisecond
			k.use(t, registry.Options{Stalled: 500 * time.Millisecond})
			source.Inject(tc.fault)
			plan := k.run(t)
			if tc.want == mirror.StateFailed {
				for repository := range k.digests {
					k.digests[repository] = ""
				}
			}
			k.done(t, plan, tc.want)
			if err := plan.Items[0].Err; tc.says != "" && !strings.Contains(fmt.Sprint(err), tc.says) {
				t.Errorf("%v", err)
			}
		})
	}
}
