// SPDX-License-Identifier: Apache-2.0

package registry_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/opencontainers/go-digest"

	"github.com/castai/privatelink-webhook/internal/doctor"
	registrychecks "github.com/castai/privatelink-webhook/internal/doctor/registry"
	"github.com/castai/privatelink-webhook/internal/registry"
	"github.com/castai/privatelink-webhook/internal/registry/awsecr"
	"github.com/castai/privatelink-webhook/internal/testutil/fakeecr"
	"github.com/castai/privatelink-webhook/internal/testutil/fakeregistry"
)

// bench is an ECR with what a healthy cluster needs.
type bench struct {
	server *fakeecr.Server
	base   *http.Transport
	config registrychecks.Config
	all    []registrychecks.Image
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{server: fakeecr.New(fakeecr.Options{})}
	b.server.StartTest(t)
	b.base = registry.NewTransport()
	b.base.DialContext = b.server.Dial
	t.Cleanup(b.base.CloseIdleConnections)
	prefix := b.server.Host() + "/castai"
	ecr, err := awsecr.New(t.Context(), awsecr.Config{Prefix: prefix})
	if err != nil {
		t.Fatal(err)
	}
	login, err := awsecr.NewLogin(awsecr.LoginConfig{Known: []*awsecr.Registry{ecr}})
	if err != nil {
		t.Fatal(err)
	}
	client := registry.New(registry.Options{Credential: login.Credential, Transport: login.Transport(b.base), PlainHTTP: func(string) bool { return true }})
	for _, repository := range []string{"agent", "kvisor", "privatelink-webhook"} {
		b.all = append(b.all, registrychecks.Image{Target: prefix + "/" + repository + ":v1", Digest: b.push(t, "castai/"+repository+":v1", index(t, 1, "amd64", "arm64"))})
	}
	b.config = registrychecks.Config{
		Registry: prefix, Client: client, ECR: ecr, Copy: "privatelink mirror --config privatelink.yaml",
		Images:    func(context.Context) ([]registrychecks.Image, error) { return b.all, nil },
		Platforms: func(context.Context) ([]string, error) { return []string{"linux/amd64", "linux/arm64"}, nil },
		Webhook:   func(context.Context) (string, error) { return prefix + "/privatelink-webhook:v1", nil },
	}
	return b
}

// push pushes content to a reference without host, and returns its digest.
func (b *bench) push(t *testing.T, ref string, content remote.Taggable) digest.Digest {
	t.Helper()
	repository, tag, _ := strings.Cut(ref, ":")
	return b.server.Push(t, repository, tag, content)
}

// single returns an image for one architecture. The seed determines its layer.
func single(t *testing.T, seed uint64, arch string) v1.Image {
	t.Helper()
	return fakeregistry.Image(t, arch, fakeregistry.Layer(seed, 64))
}

// index returns an index of images with attestations, which are for no platform.
func index(t *testing.T, seed uint64, archs ...string) v1.ImageIndex {
	t.Helper()
	var images []v1.Image
	for _, arch := range archs {
		images = append(images, single(t, seed, arch))
	}
	return fakeregistry.WithAttestations(t, fakeregistry.Index(t, images...))
}

func TestEachFaultIsFoundByTheCheckThatNamesIt(t *testing.T) {
	type want struct {
		check  string
		status doctor.Status
		found  string
		remedy string
	}
	const copying = "privatelink mirror --config privatelink.yaml"
	for title, tc := range map[string]struct {
		fault func(*testing.T, *bench)
		want  *want // nil: all is well
	}{
		"a healthy registry": {func(*testing.T, *bench) {}, nil},
		"a healthy registry, on which one platform is enough for the nodes": {func(t *testing.T, b *bench) {
			b.all[0].Digest = b.push(t, "castai/agent:v1", single(t, 1, "amd64"))
			b.config.Platforms = func(context.Context) ([]string, error) { return []string{"linux/amd64"}, nil }
		}, nil},
		"a repository is missing": {func(_ *testing.T, b *bench) {
			b.all = append(b.all, registrychecks.Image{Target: b.config.Registry + "/spot-handler:v1"})
		}, &want{"repositories", doctor.Failed, "castai/spot-handler", copying}},
		"an image is missing": {func(_ *testing.T, b *bench) {
			b.all = append(b.all, registrychecks.Image{Target: b.config.Registry + "/agent:v2"})
		}, &want{"images", doctor.Failed, "castai/agent:v2", copying}},
		"a tag stands for another image": {func(t *testing.T, b *bench) {
			b.push(t, "castai/agent:v1", index(t, 2, "amd64", "arm64"))
		}, &want{"images", doctor.Failed, "another digest", copying + " --overwrite"}},
		"an index lacks arm64": {func(t *testing.T, b *bench) {
			b.all[0].Digest = b.push(t, "castai/agent:v1", index(t, 1, "amd64"))
		}, &want{"platforms", doctor.Failed, "castai/agent:v1 for linux/arm64", copying + " --update"}},
		"nobody publishes an image for arm64": {func(t *testing.T, b *bench) {
			b.all[0].Digest, b.all[0].Whole = b.push(t, "castai/agent:v1", index(t, 1, "amd64")), true
		}, &want{"platforms", doctor.Warning, "castai/agent:v1 for linux/arm64", "nodeSelector"}},
		"an image without index is for amd64 only": {func(t *testing.T, b *bench) {
			b.all[0].Digest = b.push(t, "castai/agent:v1", single(t, 1, "amd64"))
		}, &want{"platforms", doctor.Failed, "castai/agent:v1 for linux/arm64", copying + " --update"}},
		"the webhook's image is missing": {func(_ *testing.T, b *bench) {
			ref := b.config.Registry + "/privatelink-webhook:v9"
			b.all = append(b.all, registrychecks.Image{Target: ref})
			b.config.Webhook = func(context.Context) (string, error) { return ref, nil }
		}, &want{"webhook-image", doctor.Failed, "privatelink-webhook:v9 is missing", "all platforms"}},
		"the webhook's image lacks arm64": {func(t *testing.T, b *bench) {
			b.push(t, "castai/privatelink-webhook:v1", index(t, 1, "amd64"))
		}, &want{"webhook-image", doctor.Failed, "not there for linux/arm64", "all platforms"}},
		"the webhook runs from a public registry": {func(_ *testing.T, b *bench) {
			b.config.Webhook = func(context.Context) (string, error) { return "ghcr.io/example/privatelink-webhook:v1", nil }
		}, &want{"webhook-image", doctor.Failed, "not in a private registry", "privatelink install"}},
		"ECR gives no token": {func(_ *testing.T, b *bench) {
			b.server.Set(func(s *fakeecr.Switches) { s.Denied = []string{"GetAuthorizationToken"} })
		}, &want{"login", doctor.Failed, "ecr:GetAuthorizationToken", "ecr:GetAuthorizationToken"}},
		"images may not be read": {func(_ *testing.T, b *bench) {
			b.server.Inject(fakeecr.Fault{Match: fakeecr.On(fakeecr.BatchGetImage), Status: http.StatusForbidden, Code: "DENIED"})
		}, &want{"login", doctor.Failed, "not allowed", "ecr:BatchGetImage"}},
		"repositories may not be described": {func(_ *testing.T, b *bench) {
			b.server.Set(func(s *fakeecr.Switches) { s.Denied = []string{"DescribeRepositories"} })
		}, &want{"repositories", doctor.Unknown, "ecr:DescribeRepositories", "IAM action"}},
		"the credentials have expired": {func(_ *testing.T, b *bench) {
			b.server.Inject(fakeecr.Fault{Match: fakeecr.On("GetAuthorizationToken"), Status: http.StatusBadRequest, Code: "ExpiredTokenException"})
		}, &want{"login", doctor.Failed, "ExpiredToken", "aws sso login"}},
		"there are no credentials": {func(t *testing.T, b *bench) {
			t.Setenv("AWS_ACCESS_KEY_ID", "")
			t.Setenv("AWS_SECRET_ACCESS_KEY", "")
			ecr, err := awsecr.New(t.Context(), awsecr.Config{Prefix: b.config.Registry})
			if err != nil {
				t.Fatal(err)
			}
			b.config.ECR = ecr
		}, &want{"login", doctor.Unknown, "no credentials", "AWS_PROFILE"}},
		"the registry cannot be reached": {func(_ *testing.T, b *bench) {
			b.config.Client = registry.New(registry.Options{Transport: unreachable{}})
		}, &want{"login", doctor.Unknown, "no route", "ecr.dkr"}},
	} {
		t.Run(title, func(t *testing.T) {
			b := newBench(t)
			tc.fault(t, b)
			results, err := doctor.Run(t.Context(), registrychecks.Checks(b.config), doctor.Options{})
			if err != nil {
				t.Fatal(err)
			}
			named := 0
			for _, r := range results {
				switch {
				case tc.want != nil && r.Name == tc.want.check:
					named++
					if r.Status != tc.want.status || !strings.Contains(r.Found, tc.want.found) || !strings.Contains(r.Remedy, tc.want.remedy) {
						t.Errorf("%s: %+v, want %+v", r.ID(), r.Finding, *tc.want)
					}
				case r.Cause != "" && tc.want != nil && r.Cause == registrychecks.Group+"/"+tc.want.check:
				case r.Status != doctor.OK:
					t.Errorf("%s: %+v", r.ID(), r.Finding)
				}
			}
			if tc.want != nil && named != 1 {
				t.Errorf("no check is named %s", tc.want.check)
			}
		})
	}
}

// unreachable is a network without a way.
type unreachable struct{}

func (unreachable) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("no route to host")
}

func TestWhatTheClusterDoesNotTellIsNotSeen(t *testing.T) {
	b := newBench(t)
	gone := errors.New("the cluster is away")
	b.config.Images = func(context.Context) ([]registrychecks.Image, error) { return nil, gone }
	b.config.Platforms = func(context.Context) ([]string, error) { return nil, gone }
	b.config.Webhook = func(context.Context) (string, error) { return "", gone }
	results, err := doctor.Run(t.Context(), registrychecks.Checks(b.config), doctor.Options{})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]doctor.Status{}
	for _, r := range results {
		got[r.Name] = r.Status
	}
	want := map[string]doctor.Status{"login": doctor.OK, "repositories": doctor.Unknown, "images": doctor.Unknown, "platforms": doctor.Unknown, "webhook-image": doctor.Unknown}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
