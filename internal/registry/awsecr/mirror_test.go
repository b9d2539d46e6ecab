// SPDX-License-Identifier: Apache-2.0

package awsecr

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/castai/privatelink-webhook/internal/mirror"
	"github.com/castai/privatelink-webhook/internal/registry"
	"github.com/castai/privatelink-webhook/internal/testutil/fakeecr"
	"github.com/castai/privatelink-webhook/internal/testutil/fakeregistry"
)

func TestMirrorWithMounts(t *testing.T) {
	m := newMirrorTest(t, fakeecr.Options{Switches: fakeecr.Switches{BlobMounting: true}}, Config{})
	m.verify(t, m.planAndRun(t), mirror.StateCopied)
	mounts, uploads := m.mountCounts()
	counts := m.target.Counts()
	if mounts != blobCount-uniqueBlobs || uploads != uniqueBlobs || counts[fakeecr.CompleteLayerUpload] != uniqueBlobs || counts[fakeecr.PutImage] != 3*imageCount {
		t.Errorf("%d mounts, %d uploads: %v", mounts, uploads, counts)
	}
	if counts[fakeecr.BatchCheckLayerAvailability] > 0 {
		t.Errorf("%d HEAD requests for blobs of new repositories", counts[fakeecr.BatchCheckLayerAvailability])
	}
	if got := m.source.Count(http.MethodGet, "/v2/library/image-"); got > uniqueBlobs+3*imageCount+4*3*imageCount {
		t.Errorf("%d GET requests to the source", got)
	}
	m.verifyUpToDate(t)
}

func TestMirrorWithoutMounts(t *testing.T) {
	m := newMirrorTest(t, fakeecr.Options{}, Config{})
	m.verify(t, m.planAndRun(t), mirror.StateCopied)
	mounts, uploads := m.mountCounts()
	if mounts != 0 || uploads != blobCount {
		t.Errorf("%d mounts, %d uploads", mounts, uploads)
	}
	if !strings.Contains(m.warnings.String(), "BLOB_MOUNTING") {
		t.Errorf("warnings %q", m.warnings)
	}
	m.verifyUpToDate(t)
}

func TestMirrorToImmutableTags(t *testing.T) {
	m := newMirrorTest(t, fakeecr.Options{Switches: fakeecr.Switches{BlobMounting: true}}, Config{Settings: func(string) Settings { return Settings{TagMutability: "IMMUTABLE"} }})
	m.verify(t, m.planAndRun(t), mirror.StateCopied)
	m.verifyUpToDate(t)
	// ECR refuses to move the tags.
	m.digests = nil
	fakeregistry.Push(t, m.images[0].Source, fakeregistry.MultiArch(t, 100, 77))
	m.mirror.Overwrite = true
	plan := m.planAndRun(t)
	if i := plan.Items[0]; i.State != mirror.StateFailed || !strings.Contains(i.Err.Error(), "immutable") {
		t.Errorf("%s %v", i.State, i.Err)
	}
}

// A refusal of the API concerns the images of one repository, and the others are copied.
func TestARefusedRepositoryFailsItsImageOnly(t *testing.T) {
	of := func(action string, batches bool) func(fakeecr.Request) bool {
		return func(r fakeecr.Request) bool {
			return r.Action == action && (r.Repository == "castai/image-0" || batches && r.Repository == "")
		}
	}
	for name, tc := range map[string]struct {
		fault fakeecr.Fault
		want  string
	}{
		"it cannot be described":   {fakeecr.Fault{Match: of("DescribeRepositories", true), Status: 400, Code: "AccessDeniedException"}, "the role needs ecr:DescribeRepositories"},
		"it cannot be created":     {fakeecr.Fault{Match: of("CreateRepository", false), Status: 400, Code: "AccessDeniedException"}, "the role needs ecr:CreateRepository"},
		"there are too many":       {fakeecr.Fault{Match: of("CreateRepository", false), Status: 400, Code: "LimitExceededException"}, "request a higher quota"},
		"its name is not accepted": {fakeecr.Fault{Match: of("CreateRepository", false), Status: 400, Code: "InvalidParameterException"}, "map it to another one"},
		"its key cannot be used":   {fakeecr.Fault{Match: of("CreateRepository", false), Status: 400, Code: "KmsException"}, "KmsException"},
		"its policy is refused":    {fakeecr.Fault{Match: of("SetRepositoryPolicy", false), Status: 400, Code: "AccessDeniedException"}, "was created without all of its settings"},
		"its lifecycle is refused": {fakeecr.Fault{Match: of("PutLifecyclePolicy", false), Status: 400, Code: "InvalidParameterException"}, "was created without all of its settings"},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMirrorTest(t, fakeecr.Options{}, Config{Settings: func(string) Settings { return Settings{RepositoryPolicy: "{}", LifecyclePolicy: "{}"} }})
			m.target.Inject(tc.fault)
			plan := m.planAndRun(t)
			if i := plan.Items[0]; i.State != mirror.StateFailed || !strings.Contains(fmt.Sprint(i.Err), tc.want) {
				t.Errorf("%s: %s %v, want %q", i.Target, i.State, i.Err, tc.want)
			}
			for _, i := range plan.Items[1:] {
				if i.State != mirror.StateCopied {
					t.Errorf("%s: %s %v", i.Target, i.State, i.Err)
				}
			}
			if got := m.target.Tag("castai/image-0", "v1"); got != "" {
				t.Errorf("the image was copied: %s", got)
			}
		})
	}
}

// Each case is behavior of ECR that must not keep any image from being mirrored.
func TestMirrorWithTargetFaults(t *testing.T) {
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
		"manifest validation lags behind uploads": {switches: fakeecr.Switches{BlobMounting: true, ValidatorLag: 300 * time.Millisecond}},
		"quotas, and a client within them":        {switches: fakeecr.Switches{Quotas: slow}, limits: registry.Limits{registry.PutImage: 8, registry.InitiateLayerUpload: 32}},
		"quotas, and a client without limits":     {switches: fakeecr.Switches{Quotas: slow}},
		"quotas, with Retry-After":                {switches: fakeecr.Switches{RetryAfter: "1", Quotas: map[string]fakeecr.Quota{fakeecr.PutImage: {PerSecond: 50, Burst: 5}}}},
		"uploads are cut off":                     {faults: []fakeecr.Fault{{Match: fakeecr.On(fakeecr.CompleteLayerUpload), Times: 5, CutUpload: 7000}}},
		"responses to completed uploads are lost": {faults: []fakeecr.Fault{{Match: fakeecr.On(fakeecr.CompleteLayerUpload), Times: 5, AbortAfter: true}}},
		"responses to manifests are lost, with immutable tags": {settings: Settings{TagMutability: "IMMUTABLE"},
			faults: []fakeecr.Fault{{Match: tagged, Times: 3, AbortAfter: true}}},
		"a burst of 503":                           {switches: mounting, faults: []fakeecr.Fault{{Match: data, Times: 20, Status: 503, Code: "UNAVAILABLE"}}},
		"a burst of aborted connections":           {switches: mounting, faults: []fakeecr.Fault{{Match: data, Times: 20, Abort: true}}},
		"tokens expire with 403":                   {switches: fakeecr.Switches{TokenUses: 60}},
		"tokens expire with 401":                   {switches: fakeecr.Switches{TokenUses: 60, ExpiredStatus: 401}},
		"tokens expire after a second":             {switches: fakeecr.Switches{TokenLife: time.Second, ValidatorLag: 200 * time.Millisecond}},
		"the API throttles":                        {faults: []fakeecr.Fault{{Match: fakeecr.On("CreateRepository"), Times: 6, Status: 400, Code: "ThrottlingException"}}},
		"the blob mounting setting cannot be read": {faults: []fakeecr.Fault{{Match: fakeecr.On("GetAccountSetting"), Status: 400, Code: "AccessDeniedException"}}, switches: mounting},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMirrorTest(t, fakeecr.Options{Switches: tc.switches}, Config{Settings: func(string) Settings { return tc.settings }})
			if tc.limits != nil {
				m.setClient(t, registry.Options{Limits: func(string) registry.Limits { return tc.limits }})
			}
			for _, f := range tc.faults {
				m.target.Inject(f)
			}
			start := time.Now()
			m.verify(t, m.planAndRun(t), mirror.StateCopied)
			t.Logf("%v, %d requests, %v", time.Since(start).Round(time.Millisecond), len(m.target.Log()), m.target.Counts())
		})
	}
}

func TestMountsAreAbandonedAfterRefusals(t *testing.T) {
	m := newMirrorTest(t, fakeecr.Options{Switches: fakeecr.Switches{BlobMounting: true}}, Config{})
	plan := m.plan(t)
	m.target.Set(func(s *fakeecr.Switches) { s.BlobMounting = false }) // after the plan was made
	m.verify(t, m.run(t, plan), mirror.StateCopied)
	if mounts, uploads := m.mountCounts(); mounts != 0 || uploads > blobCount+20 {
		t.Errorf("%d mounts, %d uploads or attempts", mounts, uploads)
	}
}

// Without the authenticating transport, a 401 makes the client log in again.
func TestTokenExpiryWithoutAuthTransport(t *testing.T) {
	m := newMirrorTest(t, fakeecr.Options{Switches: fakeecr.Switches{ExpiredStatus: 401}}, Config{})
	l, err := NewLogin(LoginConfig{Known: []*Registry{m.registry}})
	if err != nil {
		t.Fatal(err)
	}
	m.setClient(t, registry.Options{Transport: m.transport, Credential: l.Credential})
	plan := m.plan(t)
	m.registry.tokens.now = func() time.Time { return time.Now().Add(12 * time.Hour) }
	m.target.Expire()
	m.verify(t, m.run(t, plan), mirror.StateCopied)
}

func TestRepositoryIsRecreatedDuringRun(t *testing.T) {
	for _, abort := range []bool{false, true} {
		t.Run(fmt.Sprintf("abort %t", abort), func(t *testing.T) {
			m := newMirrorTest(t, fakeecr.Options{Switches: fakeecr.Switches{Abort: abort}}, Config{})
			plan := m.plan(t)
			plan.Create = plan.Create[1:] // as if it had been deleted since the plan was made
			m.verify(t, m.run(t, plan), mirror.StateCopied)
		})
	}
}

// Referrers that ECR refuses are a warning, or with StrictReferrers an error.
func TestRefusedReferrers(t *testing.T) {
	for _, strict := range []bool{false, true} {
		m := newMirrorTest(t, fakeecr.Options{Switches: fakeecr.Switches{RefuseReferrer: func(string) bool { return true }}}, Config{})
		m.mirror.StrictReferrers = strict
		pushReferrer(t, m.images[0].Source)
		plan := m.planAndRun(t)
		state := plan.Items[0].State
		plan.Items = plan.Items[1:]
		if strict && state != mirror.StateFailed || !strict && state != mirror.StateCopied {
			t.Errorf("strict %t: %s", strict, state)
		}
		warned := slices.ContainsFunc(m.events, func(e mirror.Event) bool { return e.Kind == mirror.EventWarning })
		if warned == strict {
			t.Errorf("strict %t: events %v", strict, m.events)
		}
	}
}

// ECR refuses empty blobs. The other images are mirrored nevertheless.
func TestEmptyLayer(t *testing.T) {
	m := newMirrorTest(t, fakeecr.Options{}, Config{})
	fakeregistry.Push(t, m.images[0].Source, fakeregistry.Index(t, fakeregistry.Image(t, "amd64", static.NewLayer(nil, types.OCILayer))))
	delete(m.digests, "castai/image-0")
	plan := m.planAndRun(t)
	if i := plan.Items[0]; i.State != mirror.StateFailed || i.Err == nil {
		t.Errorf("%s %v", i.State, i.Err)
	} else {
		t.Log(i.Err)
	}
	plan.Items = plan.Items[1:]
	m.verify(t, plan, mirror.StateCopied)
}

func TestReferrersAreMirrored(t *testing.T) {
	m := newMirrorTest(t, fakeecr.Options{}, Config{})
	pushReferrer(t, m.images[0].Source)
	m.verify(t, m.planAndRun(t), mirror.StateCopied)
	found, err := m.registry.Images(t.Context(), m.target.Host()+"/castai/image-0")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(found, func(i Detail) bool { return i.Subject.String() == m.digests["castai/image-0"] }) {
		t.Errorf("no referrer among %v", found)
	}
}

func TestMirrorWithSourceFaults(t *testing.T) {
	storage := fakeecr.On(fakeecr.Storage)
	for name, tc := range map[string]struct {
		fault   fakeecr.Fault
		want    mirror.State
		wantErr string
	}{
		"downloads resume after broken connections": {fault: fakeecr.Fault{Match: storage, Times: 12, CutAfter: 5000}, want: mirror.StateCopied},
		"corrupt content is read again":             {fault: fakeecr.Fault{Match: storage, Times: 2, Corrupt: true}, want: mirror.StateCopied},
		"content that stays corrupt is not written": {fault: fakeecr.Fault{Match: storage, Corrupt: true}, want: mirror.StateFailed, wantErr: "corrupt"},
		"a burst of 503":                            {fault: fakeecr.Fault{Match: storage, Times: 12, Status: 503}, want: mirror.StateCopied},
		"429 with Retry-After":                      {fault: fakeecr.Fault{Match: storage, Times: 3, Status: 429, Header: http.Header{"Retry-After": {"1"}}}, want: mirror.StateCopied},
		"stalled downloads are restarted":           {fault: fakeecr.Fault{Match: storage, Times: 2, Hang: true}, want: mirror.StateCopied},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMirrorTest(t, fakeecr.Options{Switches: fakeecr.Switches{BlobMounting: true}}, Config{})
			source := fakeecr.New(fakeecr.Options{Switches: fakeecr.Switches{Anonymous: true}})
			url, stop := source.Start()
			t.Cleanup(stop)
			for i := range m.images {
				source.Create(fmt.Sprintf("library/image-%d", i))
				m.images[i].Source = fmt.Sprintf("%s/library/image-%d:v1", strings.TrimPrefix(url, "http://"), i)
				fakeregistry.Push(t, m.images[i].Source, testIndex(t, i))
			}
			m.transport.ResponseHeaderTimeout = 500 * time.Millisecond
			m.setClient(t, registry.Options{StallTimeout: 500 * time.Millisecond})
			source.Inject(tc.fault)
			plan := m.planAndRun(t)
			if tc.want == mirror.StateFailed {
				for repository := range m.digests {
					m.digests[repository] = ""
				}
			}
			m.verify(t, plan, tc.want)
			if err := plan.Items[0].Err; tc.wantErr != "" && !strings.Contains(fmt.Sprint(err), tc.wantErr) {
				t.Errorf("%v", err)
			}
		})
	}
}
