// SPDX-License-Identifier: Apache-2.0

package prune

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/castai/privatelink-webhook/internal/chartimage"
	"github.com/castai/privatelink-webhook/internal/exitcode"
	"github.com/castai/privatelink-webhook/internal/kubeconfig"
	"github.com/castai/privatelink-webhook/internal/mirror/lock"
	"github.com/castai/privatelink-webhook/internal/registry/awsecr"
	"github.com/castai/privatelink-webhook/internal/rewrite"
	"github.com/castai/privatelink-webhook/internal/testutil/fakeecr"
	"github.com/castai/privatelink-webhook/internal/testutil/fakeregistry"
)

// prefix is below the default host of fakeecr.
const prefix = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/castai"

func rules(t *testing.T, registry string) *rewrite.Rules {
	t.Helper()
	r, err := rewrite.New(rewrite.Config{Registry: registry})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func write(t *testing.T, name, text string) (file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// writeLock writes a lock file for one image.
func writeLock(t *testing.T, registry, target string, d digest.Digest) (file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "lock.yaml")
	l := lock.Lock{Registry: registry, Images: []lock.Entry{{Source: "ghcr.io/castai/images/agent:v1", Target: target, Digest: d}}}
	if err := l.Write(file); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestReferrersOfLockedImagesAreRetained(t *testing.T) {
	file := filepath.Join(t.TempDir(), "lock.yaml")
	l := lock.Lock{Registry: prefix, Images: []lock.Entry{{Source: "ghcr.io/castai/images/agent:v1", Target: prefix + "/agent:v1", Digest: id("image"), Referrers: []digest.Digest{id("signature")}}}}
	if err := l.Write(file); err != nil {
		t.Fatal(err)
	}
	got, err := lockedImages([]string{file}, prefix)
	if err != nil || len(got) != 2 || !got[prefix+"/agent@"+id("image").String()] || !got[prefix+"/agent@"+id("signature").String()] {
		t.Errorf("%v, %v", got, err)
	}
}

// cluster starts an API server with one scaled-down Deployment, and returns its
// kubeconfig. It refuses to list the given resource, if any.
func cluster(t *testing.T, image, refused string) kubeconfig.Options {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch {
		case path.Base(r.URL.Path) == refused:
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","code":403,"message":"no"}`)
		case r.URL.Path == "/apis/apps/v1/deployments":
			fmt.Fprintf(w, `{"apiVersion":"apps/v1","kind":"DeploymentList","items":[{"metadata":{"name":"d","namespace":"default"},"spec":{"replicas":0,"template":{"spec":{"containers":[{"name":"c","image":%q}]}}}}]}`, image)
		default:
			fmt.Fprint(w, `{"items":[]}`)
		}
	}))
	t.Cleanup(s.Close)
	return kubeconfig.Options{File: write(t, "kubeconfig", `{"apiVersion":"v1","kind":"Config","current-context":"c","contexts":[{"name":"c","context":{"cluster":"c","user":"u"}}],
		"clusters":[{"name":"c","cluster":{"server":"`+s.URL+`"}}],"users":[{"name":"u","user":{}}]}`)}
}

// startECR starts a registry with the repository castai/agent and the images v1 and v2.
func startECR(t *testing.T) (s *fakeecr.Server, v1, v2 digest.Digest) {
	t.Helper()
	s = fakeecr.New(fakeecr.Options{})
	s.StartTest(t)
	v1 = s.Push(t, "castai/agent", "v1", fakeregistry.Image(t, "amd64", fakeregistry.Layer(1, 2048)))
	v2 = s.Push(t, "castai/agent", "v2", fakeregistry.Image(t, "amd64", fakeregistry.Layer(2, 2048)))
	return s, v1, v2
}

func TestRunListsAndThenDeletes(t *testing.T) {
	s, v1, v2 := startECR(t)
	var out bytes.Buffer
	o := Options{Rules: rules(t, prefix), LockFiles: []string{writeLock(t, prefix, prefix+"/agent:v2", v2)}, IgnoreCluster: true, Out: &out}
	if err := Run(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		prefix + "/agent@" + v1.String() + "  v1  pushed 20", "1 images of 1 repositories can be deleted, 1 are kept; at most 2.0 KiB\n", "nothing was deleted: add --yes to delete\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("output lacks %q:\n%s", want, out.String())
		}
	}
	if s.Tag("castai/agent", "v1") != v1 {
		t.Error("a run that lists has deleted an image")
	}

	o.Delete = true
	if err := Run(t.Context(), o); err != nil || !strings.HasSuffix(out.String(), "\n1 deleted\n") {
		t.Errorf("error %v, output:\n%s", err, out.String())
	}
	if s.Tag("castai/agent", "v1") != "" || s.Tag("castai/agent", "v2") != v2 {
		t.Errorf("v1 is %q, v2 is %q", s.Tag("castai/agent", "v1"), s.Tag("castai/agent", "v2"))
	}
}

func TestNothingIsDeletedThatCouldNotBeListed(t *testing.T) {
	s, v1, _ := startECR(t)
	file, err := os.Create(filepath.Join(t.TempDir(), "full"))
	if err != nil {
		t.Fatal(err)
	}
	file.Close()
	err = Run(t.Context(), Options{Rules: rules(t, prefix), KeepNewest: 1, IgnoreCluster: true, Delete: true, Out: file})
	if !errors.Is(err, os.ErrClosed) || s.Tag("castai/agent", "v1") != v1 {
		t.Errorf("error %v, v1 is %q", err, s.Tag("castai/agent", "v1"))
	}
}

func TestRunRetains(t *testing.T) {
	_, v1, _ := startECR(t)
	for name, tc := range map[string]struct {
		options Options
		kept    int
	}{
		"the newest images":                     {Options{KeepNewest: 1, IgnoreCluster: true}, 1},
		"everything in a protected repository":  {Options{KeepNewest: 1, IgnoreCluster: true, Protected: []string{prefix + "/agent"}}, 2},
		"nothing because of another repository": {Options{KeepNewest: 1, IgnoreCluster: true, Protected: []string{prefix + "/other"}}, 1},
		"an image that a workload uses":         {Options{LockFiles: []string{writeLock(t, prefix, prefix+"/other:v1", v1)}, Cluster: cluster(t, prefix+"/agent:v1", "")}, 1},
		"nothing without a use and an entry":    {Options{LockFiles: []string{writeLock(t, prefix, prefix+"/other:v1", v1)}, IgnoreCluster: true}, 0},
		"an image that one of the locks has":    {Options{LockFiles: []string{writeLock(t, prefix, prefix+"/other:v1", v1), writeLock(t, prefix, prefix+"/agent:v1", v1)}, IgnoreCluster: true}, 1},
		"as many as there are, if N is large":   {Options{KeepNewest: 9, IgnoreCluster: true}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			tc.options.Rules, tc.options.Out = rules(t, prefix), &out
			if err := Run(t.Context(), tc.options); err != nil {
				t.Fatal(err)
			}
			want := fmt.Sprintf("%d images of 1 repositories can be deleted, %d are kept;", 2-tc.kept, tc.kept)
			if !strings.Contains(out.String(), want) {
				t.Errorf("output lacks %q:\n%s", want, out.String())
			}
		})
	}
}

// The command pushes its chart below the prefix, if that is asked for.
func TestRunRetainsCharts(t *testing.T) {
	s, _, _ := startECR(t)
	chart := mutate.ConfigMediaType(fakeregistry.Image(t, "amd64", fakeregistry.Layer(3, 2048)), chartimage.ConfigType)
	d := s.Push(t, "castai/charts/privatelink-webhook", "0.1.0", chart)
	var out bytes.Buffer
	o := Options{Rules: rules(t, prefix), LockFiles: []string{writeLock(t, prefix, prefix+"/other:v1", d)}, IgnoreCluster: true, Delete: true, Out: &out}
	if err := Run(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "2 images of 2 repositories can be deleted, 1 are kept;") || s.Tag("castai/charts/privatelink-webhook", "0.1.0") != d {
		t.Errorf("output:\n%s", out.String())
	}
}

func TestRunErrors(t *testing.T) {
	s, v1, _ := startECR(t)
	missing, failed := filepath.Join(t.TempDir(), "none"), filepath.Join(t.TempDir(), "failed.yaml")
	l := lock.Lock{Registry: prefix, Images: []lock.Entry{{Source: "ghcr.io/castai/images/agent:v1", Target: prefix + "/agent:v1", Digest: v1}}, NotCopied: []lock.NotCopied{{Source: "quay.io/late:v1"}}}
	if err := l.Write(failed); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		registry string
		options  Options
		code     int
		want     string
	}{
		"another kind of registry":   {"registry.example.com/castai", Options{KeepNewest: 1}, exitcode.Usage, "not a private ECR"},
		"nothing selects images":     {prefix, Options{IgnoreCluster: true}, exitcode.Usage, "use --keep NUMBER"},
		"a negative number":          {prefix, Options{KeepNewest: -1, IgnoreCluster: true}, exitcode.Usage, "--keep -1: keep one or more"},
		"no such lock file":          {prefix, Options{LockFiles: []string{missing}, IgnoreCluster: true}, exitcode.Usage, "--not-in: open " + missing},
		"a lock of another registry": {prefix, Options{LockFiles: []string{writeLock(t, "registry.example.com/x", "registry.example.com/x/agent:v1", v1)}, IgnoreCluster: true}, exitcode.Usage, "all images would be deleted"},
		"no kubeconfig":              {prefix, Options{KeepNewest: 1, Cluster: kubeconfig.Options{File: missing}}, exitcode.Usage, "or --no-cluster"},
		"a lock of a failed run":     {prefix, Options{LockFiles: []string{failed}, IgnoreCluster: true}, exitcode.Usage, "lists 1 images that were not copied, such as quay.io/late:v1"},
		"an empty lock":              {prefix, Options{LockFiles: []string{write(t, "empty.yaml", "")}, IgnoreCluster: true}, exitcode.Usage, "the file is empty"},
		"pods cannot be listed":      {prefix, Options{KeepNewest: 1, Cluster: cluster(t, prefix+"/agent:v1", "pods")}, exitcode.Failed, "listing pods of the cluster"},
		"CronJobs cannot be listed":  {prefix, Options{KeepNewest: 1, Cluster: cluster(t, prefix+"/agent:v1", "cronjobs")}, exitcode.Failed, "listing cronjobs.batch of the cluster"},
		"releases cannot be listed":  {prefix, Options{KeepNewest: 1, Cluster: cluster(t, prefix+"/agent:v1", "secrets")}, exitcode.Failed, "list secrets in namespace castai-agent"},
		"another cluster":            {prefix, Options{KeepNewest: 1, Cluster: cluster(t, "quay.io/acme/x:v1", "")}, exitcode.Failed, "uses an image of " + prefix},
		"invalid settings":           {prefix, Options{KeepNewest: 1, IgnoreCluster: true, Connect: awsecr.ConnectOptions{Settings: awsecr.Settings{Encryption: "ROT13"}}}, exitcode.Usage, "repositories.encryption"},
	} {
		t.Run(name, func(t *testing.T) {
			s.ResetLog()
			tc.options.Rules, tc.options.Delete = rules(t, tc.registry), true
			err := Run(t.Context(), tc.options)
			if exitcode.Code(err) != tc.code || !strings.Contains(fmt.Sprint(err), tc.want) {
				t.Errorf("exit code %d, want %d; error %v, want %q", exitcode.Code(err), tc.code, err, tc.want)
			}
			if len(s.Log()) > 0 {
				t.Errorf("%d requests were sent to ECR", len(s.Log()))
			}
		})
	}
}

func TestECRFailures(t *testing.T) {
	for _, action := range []string{"DescribeRepositories", "DescribeImages", "BatchDeleteImage"} {
		t.Run(action, func(t *testing.T) {
			s, _, _ := startECR(t)
			s.Set(func(w *fakeecr.Switches) { w.Denied = []string{action} })
			var out bytes.Buffer
			err := Run(t.Context(), Options{Rules: rules(t, prefix), KeepNewest: 1, IgnoreCluster: true, Delete: true, Out: &out})
			if exitcode.Code(err) != exitcode.Failed || !strings.Contains(fmt.Sprint(err), action) {
				t.Errorf("exit code %d, error %v, want %q", exitcode.Code(err), err, action)
			}
			if strings.Contains(out.String(), "deleted\n") {
				t.Errorf("output claims a deletion:\n%s", out.String())
			}
		})
	}
}

// stubECR has the repositories of images, in alphabetical order.
type stubECR struct {
	images     map[string][]awsecr.Detail
	notDeleted []awsecr.NotDeleted // of the repository a
	err        map[string]error    // of Delete, by repository
	deleted    []string            // repositories, in order
}

func (s *stubECR) Repositories(context.Context, string) (names []string, err error) {
	for name := range s.images {
		names = append(names, name)
	}
	slices.Sort(names)
	return names, nil
}

func (s *stubECR) Images(_ context.Context, repository string) ([]awsecr.Detail, error) {
	return s.images[repository], nil
}

func (s *stubECR) Delete(_ context.Context, repository string, _ ...digest.Digest) ([]awsecr.NotDeleted, error) {
	s.deleted = append(s.deleted, repository)
	if repository == "a" {
		return s.notDeleted, s.err[repository]
	}
	return nil, s.err[repository]
}

// stubManifests returns the same text for every manifest.
type stubManifests struct {
	text                     string
	resolveErr, manifestsErr error
}

func (s stubManifests) Resolve(_ context.Context, _, d string) (ocispec.Descriptor, error) {
	return ocispec.Descriptor{Digest: digest.Digest(d)}, s.resolveErr
}

func (s stubManifests) Manifest(context.Context, string, ocispec.Descriptor) ([]byte, error) {
	return []byte(s.text), s.manifestsErr
}

func TestDeleteContinuesAfterAnImageThatCannotBeDeleted(t *testing.T) {
	details := []awsecr.Detail{{Digest: id("1"), Tags: []string{"v1"}}, {Digest: id("2"), Tags: []string{"v2"}}}
	for name, tc := range map[string]struct {
		err     map[string]error
		want    []string // parts of the error
		deleted string   // repositories
		count   string
	}{
		"an image":     {nil, []string{"a@" + id("1").String() + " was not deleted: the image is part of an index"}, "a c", "3 deleted\n"},
		"a repository": {map[string]error{"c": errors.New("throttled")}, []string{"was not deleted", "throttled"}, "a c", ""},
		"the first":    {map[string]error{"a": errors.New("throttled")}, []string{"throttled"}, "a", ""},
	} {
		t.Run(name, func(t *testing.T) {
			ecr := &stubECR{images: map[string][]awsecr.Detail{"a": details, "b": nil, "c": details}, notDeleted: []awsecr.NotDeleted{{Digest: id("1"), Err: awsecr.ErrReferenced}}, err: tc.err}
			var out bytes.Buffer
			p := pruner{ecr: ecr, policy: retentionPolicy{Locked: map[string]bool{}, InUse: unused}, out: &out}
			err := p.run(t.Context(), prefix, true)
			for _, want := range tc.want {
				if !strings.Contains(fmt.Sprint(err), want) {
					t.Errorf("error %v, want %q", err, want)
				}
			}
			if got := strings.Join(ecr.deleted, " "); got != tc.deleted || !strings.HasSuffix(out.String(), tc.count) {
				t.Errorf("requests for %q, want %q; output:\n%s", got, tc.deleted, out.String())
			}
		})
	}
}

func TestManifestsOfAnIndexAreRetained(t *testing.T) {
	ecr := &stubECR{images: map[string][]awsecr.Detail{"a": {
		{Digest: id("index"), Tags: []string{"v2"}, MediaType: ocispec.MediaTypeImageIndex},
		{Digest: id("child"), MediaType: ocispec.MediaTypeImageManifest},
		{Digest: id("orphan"), MediaType: ocispec.MediaTypeImageManifest},
	}}}
	manifests := stubManifests{text: fmt.Sprintf(`{"manifests":[{"digest":%q}]}`, id("child"))}
	p := pruner{ecr: ecr, manifests: manifests, policy: retentionPolicy{KeepNewest: 1, InUse: unused}}
	choices, err := p.choose(t.Context(), prefix)
	if err != nil || len(choices) != 1 || choices[0].Kept != 2 || len(choices[0].Delete) != 1 || choices[0].Delete[0].Digest != id("orphan") {
		t.Errorf("%+v, %v", choices, err)
	}
}

func TestAnIndexThatCannotBeReadStopsTheRun(t *testing.T) {
	images := func(archived bool) *stubECR {
		return &stubECR{images: map[string][]awsecr.Detail{"a": {{Digest: id("index"), Tags: []string{"v1"}, MediaType: ocispec.MediaTypeImageIndex, Archived: archived}}}}
	}
	policy := retentionPolicy{Locked: map[string]bool{}, InUse: unused}
	for name, manifests := range map[string]stubManifests{
		"no descriptor": {resolveErr: errors.New("boom")},
		"no manifest":   {manifestsErr: errors.New("boom")},
		"not JSON":      {text: "["},
	} {
		t.Run(name, func(t *testing.T) {
			ecr := images(false)
			err := pruner{ecr: ecr, manifests: manifests, policy: policy}.run(t.Context(), prefix, true)
			if !strings.Contains(fmt.Sprint(err), "reading index a@"+id("index").String()) || len(ecr.deleted) > 0 {
				t.Errorf("error %v, deletions in %v", err, ecr.deleted)
			}
		})
	}
	t.Run("an archived one is not read", func(t *testing.T) {
		ecr := images(true)
		var out bytes.Buffer
		err := pruner{ecr: ecr, manifests: stubManifests{resolveErr: errors.New("boom")}, policy: policy, out: &out}.run(t.Context(), prefix, true)
		if err != nil || len(ecr.deleted) != 1 {
			t.Errorf("error %v, deletions in %v", err, ecr.deleted)
		}
	})
}
