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

// environment is an ECR with the images of a healthy cluster.
type environment struct {
	server *fakeecr.Server
	base   *http.Transport
	config registrychecks.Config
	all    []registrychecks.RequiredImage
}

func newEnvironment(t *testing.T) *environment {
	t.Helper()
	e := &environment{server: fakeecr.New(fakeecr.Options{})}
	e.server.StartTest(t)
	e.base = registry.NewTransport()
	e.base.DialContext = e.server.Dial
	t.Cleanup(e.base.CloseIdleConnections)
	prefix := e.server.Host() + "/castai"
	ecr, err := awsecr.New(t.Context(), awsecr.Config{Quick: true, Prefix: prefix})
	if err != nil {
		t.Fatal(err)
	}
	login, err := awsecr.NewLogin(awsecr.LoginConfig{Known: []*awsecr.Registry{ecr}})
	if err != nil {
		t.Fatal(err)
	}
	client := registry.New(registry.Options{Credential: login.Credential, Transport: login.Transport(e.base), PlainHTTP: func(string) bool { return true }})
	for _, repository := range []string{"agent", "kvisor", "privatelink-webhook"} {
		e.all = append(e.all, registrychecks.RequiredImage{Target: prefix + "/" + repository + ":v1", Digest: e.push(t, "castai/"+repository+":v1", index(t, 1, "amd64", "arm64"))})
	}
	e.config = registrychecks.Config{
		Registry: prefix, Client: client, ECR: ecr, Mirror: "privatelink mirror --config privatelink.yaml", Install: "helm upgrade images",
		Images:    func(context.Context) ([]registrychecks.RequiredImage, error) { return e.all, nil },
		Platforms: func(context.Context) ([]string, error) { return []string{"linux/amd64", "linux/arm64"}, nil },
		Webhook:   func(context.Context) (string, error) { return prefix + "/privatelink-webhook:v1", nil },
	}
	return e
}

// push pushes content to a reference without host, and returns its digest.
func (e *environment) push(t *testing.T, ref string, content remote.Taggable) digest.Digest {
	t.Helper()
	repository, tag, _ := strings.Cut(ref, ":")
	return e.server.Push(t, repository, tag, content)
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

func TestOneCheckFindsEachFault(t *testing.T) {
	type want struct {
		check  string
		status doctor.Status
		found  string
		remedy string
	}
	const mirror = "privatelink mirror --config privatelink.yaml"
	for title, tc := range map[string]struct {
		fault func(*testing.T, *environment)
		want  *want // nil: all checks pass
	}{
		"a healthy registry": {func(*testing.T, *environment) {}, nil},
		"a healthy registry for nodes of one platform": {func(t *testing.T, e *environment) {
			e.all[0].Digest = e.push(t, "castai/agent:v1", single(t, 1, "amd64"))
			e.config.Platforms = func(context.Context) ([]string, error) { return []string{"linux/amd64"}, nil }
		}, nil},
		"a repository is missing": {func(_ *testing.T, e *environment) {
			e.all = append(e.all, registrychecks.RequiredImage{Target: e.config.Registry + "/spot-handler:v1"})
		}, &want{"repositories", doctor.Failed, "castai/spot-handler", mirror}},
		"an image is missing": {func(_ *testing.T, e *environment) {
			e.all = append(e.all, registrychecks.RequiredImage{Target: e.config.Registry + "/agent:v2"})
		}, &want{"images", doctor.Failed, "castai/agent:v2", mirror}},
		"a tag has another digest": {func(t *testing.T, e *environment) {
			e.push(t, "castai/agent:v1", index(t, 2, "amd64", "arm64"))
		}, &want{"images", doctor.Failed, "another digest", mirror + " --overwrite"}},
		"an index without arm64": {func(t *testing.T, e *environment) {
			e.all[0].Digest = e.push(t, "castai/agent:v1", index(t, 1, "amd64"))
		}, &want{"platforms", doctor.Failed, "castai/agent:v1 for linux/arm64", mirror + " --update"}},
		"an image is not published for arm64": {func(t *testing.T, e *environment) {
			e.all[0].Digest, e.all[0].AllPlatforms = e.push(t, "castai/agent:v1", index(t, 1, "amd64")), true
		}, &want{"platforms", doctor.Warning, "castai/agent:v1 for linux/arm64", "nodeSelector"}},
		"an image without index is for amd64 only": {func(t *testing.T, e *environment) {
			e.all[0].Digest = e.push(t, "castai/agent:v1", single(t, 1, "amd64"))
		}, &want{"platforms", doctor.Failed, "castai/agent:v1 for linux/arm64", mirror + " --update"}},
		"the webhook's image is missing": {func(_ *testing.T, e *environment) {
			ref := e.config.Registry + "/privatelink-webhook:v9"
			e.all = append(e.all, registrychecks.RequiredImage{Target: ref})
			e.config.Webhook = func(context.Context) (string, error) { return ref, nil }
		}, &want{"webhook-image", doctor.Failed, "privatelink-webhook:v9 is missing", mirror + " --set umbrella"}},
		"the webhook's image is missing for arm64": {func(t *testing.T, e *environment) {
			e.all[2].Digest = e.push(t, "castai/privatelink-webhook:v1", index(t, 1, "amd64"))
		}, &want{"webhook-image", doctor.Failed, "does not exist for linux/arm64", "leave out --platform"}},
		"the webhook's image has another digest": {func(t *testing.T, e *environment) {
			e.push(t, "castai/privatelink-webhook:v1", index(t, 2, "amd64", "arm64"))
		}, &want{"webhook-image", doctor.Failed, "in the lock file", mirror + " --overwrite"}},
		"the webhook's image is pinned by the digest of the lock file": {func(_ *testing.T, e *environment) {
			e.config.Webhook = func(context.Context) (string, error) { return e.all[2].Target + "@" + e.all[2].Digest.String(), nil }
		}, nil},
		"the webhook runs from a public registry": {func(_ *testing.T, e *environment) {
			e.config.Webhook = func(context.Context) (string, error) { return "ghcr.io/example/privatelink-webhook:v1", nil }
		}, &want{"webhook-image", doctor.Failed, "not in a private registry", "helm upgrade images"}},
		"ECR refuses a token": {func(_ *testing.T, e *environment) {
			e.server.Set(func(s *fakeecr.Switches) { s.Denied = []string{"GetAuthorizationToken"} })
		}, &want{"login", doctor.Failed, "ecr:GetAuthorizationToken", "ecr:GetAuthorizationToken"}},
		"reading images is denied": {func(_ *testing.T, e *environment) {
			e.server.Inject(fakeecr.Fault{Match: fakeecr.On(fakeecr.BatchGetImage), Status: http.StatusForbidden, Code: "DENIED"})
		}, &want{"login", doctor.Failed, "not allowed", "ecr:BatchGetImage"}},
		"describing repositories is denied": {func(_ *testing.T, e *environment) {
			e.server.Set(func(s *fakeecr.Switches) { s.Denied = []string{"DescribeRepositories"} })
		}, &want{"repositories", doctor.Unknown, "ecr:DescribeRepositories", "IAM action"}},
		"the credentials have expired": {func(_ *testing.T, e *environment) {
			e.server.Inject(fakeecr.Fault{Match: fakeecr.On("GetAuthorizationToken"), Status: http.StatusBadRequest, Code: "ExpiredTokenException"})
		}, &want{"login", doctor.Unknown, "ExpiredToken", "aws sso login"}},
		"the clock is wrong": {func(_ *testing.T, e *environment) {
			e.server.Inject(fakeecr.Fault{Match: fakeecr.On("GetAuthorizationToken"), Status: http.StatusBadRequest, Code: "InvalidSignatureException", Message: "Signature expired: 20261128T100000Z is now earlier than 20261128T102000Z"})
		}, &want{"login", doctor.Unknown, "Signature expired", "set the clock"}},
		"the organization denies it": {func(_ *testing.T, e *environment) {
			e.server.Inject(fakeecr.Fault{Match: fakeecr.On("GetAuthorizationToken"), Status: http.StatusBadRequest, Code: "AccessDeniedException", Message: "User: arn:aws:iam::123456789012:user/ann is not authorized to perform: ecr:GetAuthorizationToken on resource: * with an explicit deny in a service control policy"})
		}, &want{"login", doctor.Failed, "explicit deny", "ask the administrators of the organization"}},
		"AWS throttles": {func(_ *testing.T, e *environment) {
			e.server.Inject(fakeecr.Fault{Match: fakeecr.On("GetAuthorizationToken"), Status: http.StatusBadRequest, Code: "ThrottlingException"})
		}, &want{"login", doctor.Unknown, "throttled", "wait a minute"}},
		"there are no credentials": {func(t *testing.T, e *environment) {
			t.Setenv("AWS_ACCESS_KEY_ID", "")
			t.Setenv("AWS_SECRET_ACCESS_KEY", "")
			ecr, err := awsecr.New(t.Context(), awsecr.Config{Quick: true, Prefix: e.config.Registry})
			if err != nil {
				t.Fatal(err)
			}
			e.config.ECR = ecr
		}, &want{"login", doctor.Unknown, "no credentials", "AWS_PROFILE"}},
		"the registry cannot be reached": {func(_ *testing.T, e *environment) {
			e.config.Client = registry.New(registry.Options{Transport: unreachable{}})
		}, &want{"login", doctor.Unknown, "no route", "ecr.dkr"}},
	} {
		t.Run(title, func(t *testing.T) {
			e := newEnvironment(t)
			tc.fault(t, e)
			results, err := doctor.Run(t.Context(), registrychecks.Checks(e.config), doctor.Options{})
			if err != nil {
				t.Fatal(err)
			}
			found := 0
			for _, r := range results {
				switch {
				case tc.want != nil && r.Name == tc.want.check:
					found++
					if r.Status != tc.want.status || !strings.Contains(r.Found, tc.want.found) || !strings.Contains(r.Remedy, tc.want.remedy) {
						t.Errorf("%s: %+v, want %+v", r.ID(), r.Finding, *tc.want)
					}
				case r.Cause != "" && tc.want != nil && r.Cause == registrychecks.Group+"/"+tc.want.check:
				case r.Status != doctor.OK:
					t.Errorf("%s: %+v", r.ID(), r.Finding)
				}
			}
			if tc.want != nil && found != 1 {
				t.Errorf("there is no check %s", tc.want.check)
			}
		})
	}
}

// A check that is selected alone, as by --only, has no other one to report for it.
func TestEachCheckAloneFindsMissingImages(t *testing.T) {
	for title, target := range map[string]string{"without the repositories": "/spot-handler:v1", "without the images": "/agent:v2"} {
		t.Run(title, func(t *testing.T) {
			e := newEnvironment(t)
			for name, images := range map[string][]registrychecks.RequiredImage{
				"all of them": {{Target: e.config.Registry + target}},
				"one of them": append(e.all[:2:2], registrychecks.RequiredImage{Target: e.config.Registry + target}),
				"and a chart": {{Target: e.config.Registry + target}, {Target: e.all[0].Target, IsChart: true}},
			} {
				e.config.Images = func(context.Context) ([]registrychecks.RequiredImage, error) { return images, nil }
				for check, want := range map[string]doctor.Status{"registry/images": doctor.Failed, "registry/platforms": doctor.Unknown} {
					results, err := doctor.Run(t.Context(), registrychecks.Checks(e.config), doctor.Options{Only: []string{check}})
					if err != nil {
						t.Fatal(err)
					}
					if r := results[0]; r.Status != want || !strings.Contains(r.Found, target) || !strings.HasPrefix(r.Remedy, "privatelink mirror") {
						t.Errorf("%s, %s: %+v", name, check, r.Finding)
					}
				}
			}
		})
	}
}

// unreachable is a transport without a route.
type unreachable struct{}

func (unreachable) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("no route to host")
}

func TestChecksAreUnknownWithoutTheirInput(t *testing.T) {
	e := newEnvironment(t)
	clusterErr := errors.New("no cluster")
	e.config.Images = func(context.Context) ([]registrychecks.RequiredImage, error) { return nil, clusterErr }
	e.config.Platforms = func(context.Context) ([]string, error) { return nil, clusterErr }
	e.config.Webhook = func(context.Context) (string, error) { return "", clusterErr }
	results, err := doctor.Run(t.Context(), registrychecks.Checks(e.config), doctor.Options{})
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
