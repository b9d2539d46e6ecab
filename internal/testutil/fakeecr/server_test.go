// SPDX-License-Identifier: Apache-2.0

package fakeecr

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/castai/privatelink-webhook/internal/testutil/fakeregistry"
)

// client is an authenticated client that does not follow redirects.
type client struct {
	t        *testing.T
	s        *Server
	password string
	http     *http.Client
}

type response struct {
	status int
	header http.Header
	body   string
	err    error
}

func start(t *testing.T, o Options) *client {
	t.Helper()
	s := New(o)
	_, stop := s.Start()
	t.Cleanup(stop)
	transport := &http.Transport{DialContext: s.Dial}
	t.Cleanup(transport.CloseIdleConnections)
	return &client{t: t, s: s, password: s.Token(), http: &http.Client{Transport: transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

func (c *client) do(method, path string, body io.Reader, header ...string) response {
	c.t.Helper()
	to := path
	if !strings.HasPrefix(path, "http") {
		to = "http://" + c.s.Host() + path
	}
	req, err := http.NewRequest(method, to, body)
	if err != nil {
		c.t.Fatal(err)
	}
	if c.password != "" {
		req.SetBasicAuth("AWS", c.password)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return response{err: err}
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return response{resp.StatusCode, resp.Header, string(text), err}
}

// want fails unless the response has a status, and a text in its body.
func (r response) want(t *testing.T, status int, text string) response {
	t.Helper()
	if r.status != status || !strings.Contains(r.body, text) {
		t.Fatalf("got %d %q %v, want %d %q", r.status, r.body, r.err, status, text)
	}
	return r
}

func (c *client) startUpload(repository string) string {
	c.t.Helper()
	return c.do("POST", "/v2/"+repository+"/blobs/uploads/", nil).want(c.t, 202, "").header.Get("Location")
}

func (c *client) pushBlob(repository, text string) descriptor {
	c.t.Helper()
	d := digest.FromString(text)
	c.do("PUT", c.startUpload(repository)+"?digest="+d.String(), strings.NewReader(text)).want(c.t, 201, "")
	return descriptor{MediaType: "application/vnd.oci.image.layer.v1.tar+gzip", Digest: d, Size: int64(len(text))}
}

const (
	manifestType = "application/vnd.oci.image.manifest.v1+json"
	indexType    = "application/vnd.oci.image.index.v1+json"
)

func marshal(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (c *client) pushManifest(repository, name, mediaType string, manifest []byte) response {
	c.t.Helper()
	return c.do("PUT", "/v2/"+repository+"/manifests/"+name, bytes.NewReader(manifest), "Content-Type", mediaType)
}

// pushImage pushes an image with one layer.
func (c *client) pushImage(repository, tag, layer string) (manifest []byte, d digest.Digest) {
	c.t.Helper()
	manifest = marshal(c.t, document{MediaType: manifestType, Config: new(c.pushBlob(repository, "{}")), Layers: []descriptor{c.pushBlob(repository, layer)}})
	c.pushManifest(repository, tag, manifestType, manifest).want(c.t, 201, "")
	return manifest, digest.FromBytes(manifest)
}

func TestMissingRepository(t *testing.T) {
	c := start(t, Options{})
	c.do("POST", "/v2/a/blobs/uploads/", nil).want(t, 404, "NAME_UNKNOWN")
	c.s.Set(func(s *Switches) { s.Abort = true })
	if a := c.do("POST", "/v2/a/blobs/uploads/", nil); a.err == nil {
		t.Errorf("got %d, want an aborted connection", a.status)
	}
}

func TestTokens(t *testing.T) {
	c := start(t, Options{})
	c.s.Create("a")
	c.do("GET", "/v2/", nil).want(t, 200, "")
	c.s.Expire()
	c.do("GET", "/v2/", nil).want(t, 403, "authorization token has expired")
	c.s.Set(func(s *Switches) { s.ExpiredStatus = 401 })
	c.do("GET", "/v2/", nil).want(t, 401, "expired")
	c.password = "wrong"
	if a := c.do("GET", "/v2/", nil).want(t, 401, "Not Authorized"); !strings.HasPrefix(a.header.Get("WWW-Authenticate"), "Basic ") {
		t.Errorf("no challenge: %v", a.header)
	}
	c.s.Set(func(s *Switches) { s.TokenUses = 2 })
	c.password = c.s.Token()
	c.do("GET", "/v2/", nil).want(t, 200, "")
	c.do("GET", "/v2/", nil).want(t, 200, "")
	c.do("GET", "/v2/", nil).want(t, 401, "expired")
}

func TestMountsRequireAManifest(t *testing.T) {
	c := start(t, Options{Switches: Switches{BlobMounting: true}})
	c.s.Create("a")
	c.s.Create("b")
	layer := c.pushBlob("a", "layer")
	mount := "/v2/b/blobs/uploads/?mount=" + layer.Digest.String() + "&from=a"
	upload := c.do("POST", mount, nil).want(t, 202, "")
	c.do("PUT", upload.header.Get("Location")+"?digest="+digest.FromString("x").String(), strings.NewReader("x")).want(t, 201, "")
	c.pushImage("a", "v1", "layer")
	c.s.Set(func(s *Switches) { s.BlobMounting = false })
	c.do("POST", mount, nil).want(t, 202, "")
	c.s.Set(func(s *Switches) { s.BlobMounting = true })
	c.s.SetEncryption("b", "KMS", "key")
	c.do("POST", mount, nil).want(t, 202, "")
	c.s.SetEncryption("b", "AES256", "")
	c.do("HEAD", "/v2/b/blobs/"+layer.Digest.String(), nil).want(t, 404, "")
	c.do("POST", mount, nil).want(t, 201, "")
	c.do("HEAD", "/v2/b/blobs/"+layer.Digest.String(), nil).want(t, 200, "")
}

func TestUploads(t *testing.T) {
	c := start(t, Options{Dir: t.TempDir()})
	c.s.Create("a")
	d := digest.FromString("abc")
	c.do("PUT", c.startUpload("a")+"?digest="+digest.FromString("").String(), nil).want(t, 400, "does not have any parts")
	c.do("PUT", c.startUpload("a")+"?digest="+d.String(), strings.NewReader("abd")).want(t, 400, "DIGEST_INVALID")

	location := c.startUpload("a")
	c.do("PATCH", location, strings.NewReader("ab")).want(t, 201, "")
	c.do("PATCH", location, strings.NewReader("c"), "Content-Range", "0-0").want(t, 416, "First byte of the layer part is 0 instead of 2")
	c.do("PATCH", location, strings.NewReader("c"), "Content-Range", "2-2").want(t, 400, "at least 5MB")
	c.do("PUT", location+"?digest="+digest.FromString("ab").String(), nil).want(t, 201, "")
	c.do("PUT", location+"?digest="+digest.FromString("ab").String(), nil).want(t, 404, "BLOB_UPLOAD_UNKNOWN")

	location = c.startUpload("a")
	c.s.Inject(Fault{Match: On(CompleteLayerUpload), Times: 1, CutUpload: 2})
	if a := c.do("PUT", location+"?digest="+d.String(), strings.NewReader("abc")); a.err == nil {
		t.Fatalf("the connection was not aborted: %d", a.status)
	}
	c.do("PUT", location+"?digest="+d.String(), strings.NewReader("abc")).want(t, 416, "BLOB_UPLOAD_INVALID")
	c.do("PUT", c.startUpload("a")+"?digest="+d.String(), strings.NewReader("abc")).want(t, 201, "")
	c.do("GET", "/v2/a/blobs/"+d.String(), nil).want(t, 307, "")
}

func TestDownloadsAreRedirected(t *testing.T) {
	c := start(t, Options{})
	c.s.Create("a")
	layer := c.pushBlob("a", "layer")
	location := c.do("GET", "/v2/a/blobs/"+layer.Digest.String(), nil).want(t, 307, "").header.Get("Location")
	c.do("GET", location, nil).want(t, 400, "Only one auth mechanism")
	password := c.password
	c.password = ""
	c.do("GET", location, nil).want(t, 200, "layer")
	c.do("GET", location, nil, "Range", "bytes=2-").want(t, 206, "yer")
	c.password = password
	c.s.Set(func(s *Switches) { s.Direct = true })
	c.do("GET", "/v2/a/blobs/"+layer.Digest.String(), nil).want(t, 200, "layer")
}

func TestImmutableTags(t *testing.T) {
	c := start(t, Options{})
	c.s.Create("a")
	manifest, d := c.pushImage("a", "v1", "layer")
	c.pushManifest("a", "v1", manifestType, manifest).want(t, 201, "")
	c.s.SetImmutable("a")
	c.pushManifest("a", "v1", manifestType, manifest).want(t, 400, "TAG_INVALID")
	c.pushManifest("a", d.String(), manifestType, manifest).want(t, 201, "")
	c.pushManifest("a", "v2", manifestType, manifest).want(t, 201, "")
	c.s.SetImmutable("a", "v*")
	c.pushManifest("a", "v1", manifestType, manifest).want(t, 201, "")
	c.s.SetImmutable("a")
	c.s.Set(func(s *Switches) { s.ImmutableStatus = 405 })
	c.pushManifest("a", "v1", manifestType, manifest).want(t, 405, "cannot be overwritten")
	c.do("GET", "/v2/a/tags/list?n=1", nil).want(t, 200, `["v1"]`)
	c.do("GET", "/v2/a/tags/list?n=1&last=v1", nil).want(t, 200, `["v2"]`)
}

func TestManifestsRequireTheirContent(t *testing.T) {
	c := start(t, Options{})
	c.s.Create("a")
	absent := descriptor{MediaType: manifestType, Digest: digest.FromString("absent"), Size: 6}
	c.pushManifest("a", "v1", indexType, marshal(t, document{Manifests: []descriptor{absent}})).want(t, 404, "MANIFEST_BLOB_UNKNOWN")
	c.pushManifest("a", "v1", manifestType, marshal(t, document{Layers: []descriptor{absent}})).want(t, 404, "BLOB_UNKNOWN")
	c.pushManifest("a", digest.FromString("x").String(), manifestType, []byte("{}")).want(t, 400, "DIGEST_INVALID")
	c.pushManifest("a", "v1", manifestType+"; charset=utf-8", []byte("{}")).want(t, 400, "MANIFEST_INVALID")

	c.s.Set(func(s *Switches) { s.ValidatorLag = time.Hour })
	manifest := marshal(t, document{Layers: []descriptor{c.pushBlob("a", "layer")}})
	c.pushManifest("a", "v1", manifestType, manifest).want(t, 404, "BLOB_UNKNOWN")
	c.s.Set(func(s *Switches) { s.ValidatorLag = 0 })
	c.pushManifest("a", "v1", manifestType, manifest).want(t, 201, "")
}

func TestReferrers(t *testing.T) {
	c := start(t, Options{})
	c.s.Create("a")
	_, d := c.pushImage("a", "v1", "layer")
	signature := marshal(t, document{MediaType: manifestType, ArtifactType: "test/signature", Config: new(c.pushBlob("a", "{}")), Subject: &descriptor{MediaType: manifestType, Digest: d, Size: 1}})
	name := digest.FromBytes(signature).String()
	c.s.Set(func(s *Switches) {
		s.RefuseReferrer = func(artifactType string) bool { return artifactType == "test/signature" }
	})
	c.pushManifest("a", name, manifestType, signature).want(t, 405, "Invalid JSON syntax")
	c.s.Set(func(s *Switches) { s.RefuseReferrer = nil })
	if a := c.pushManifest("a", name, manifestType, signature).want(t, 201, ""); a.header.Get("OCI-Subject") != d.String() {
		t.Errorf("OCI-Subject: %v", a.header)
	}
	c.do("GET", "/v2/a/referrers/"+d.String(), nil).want(t, 200, name)
	c.do("GET", "/v2/a/referrers/"+d.String()+"?artifactType=other", nil).want(t, 200, `"manifests":[]`)
}

func TestManifestTranslation(t *testing.T) {
	c := start(t, Options{})
	c.s.Create("a")
	manifest, d := c.pushImage("a", "v1", "layer")
	const docker = "application/vnd.docker.distribution.manifest.v2+json"
	if a := c.do("GET", "/v2/a/manifests/v1", nil, "Accept", docker).want(t, 200, docker); a.header.Get("Docker-Content-Digest") == d.String() {
		t.Error("the translated manifest has the same digest")
	}
	c.do("GET", "/v2/a/manifests/"+d.String(), nil, "Accept", docker).want(t, 200, string(manifest))
	c.do("GET", "/v2/a/manifests/v1", nil, "Accept", docker+", "+manifestType).want(t, 200, string(manifest))
}

func TestArchivedImages(t *testing.T) {
	c := start(t, Options{})
	c.s.Create("a")
	manifest, d := c.pushImage("a", "v1", "layer")
	if err := c.s.Archive("a", d); err != nil {
		t.Fatal(err)
	}
	c.do("HEAD", "/v2/a/manifests/v1", nil).want(t, 404, "")
	c.pushManifest("a", "v1", manifestType, manifest).want(t, 201, "")
	c.do("HEAD", "/v2/a/manifests/v1", nil).want(t, 200, "")
}

func TestQuotas(t *testing.T) {
	c := start(t, Options{Switches: Switches{Quotas: map[string]Quota{BatchCheckLayerAvailability: {PerSecond: 0.001, Burst: 2}}}})
	c.s.Create("a")
	head := func() response {
		return c.do("HEAD", "/v2/a/blobs/"+digest.FromString("x").String(), nil)
	}
	head().want(t, 404, "")
	head().want(t, 404, "")
	if a := head().want(t, 429, ""); a.header.Get("Retry-After") != "" {
		t.Errorf("Retry-After: %v", a.header)
	}
	c.s.Set(func(s *Switches) { s.RetryAfter = "1"; s.Quotas[BatchCheckLayerAvailability] = Quota{} })
	if a := head().want(t, 429, ""); a.header.Get("Retry-After") != "1" {
		t.Errorf("Retry-After: %v", a.header)
	}
	if n := c.s.Counts()[BatchCheckLayerAvailability]; n != 2 {
		t.Errorf("%d requests within the quota", n)
	}
}

func TestFaults(t *testing.T) {
	c := start(t, Options{Switches: Switches{Direct: true}})
	c.s.Create("a")
	layer := c.pushBlob("a", "layer")
	get := func() response { return c.do("GET", "/v2/a/blobs/"+layer.Digest.String(), nil) }

	c.s.Inject(Fault{Match: On(GetDownloadURLForLayer), Times: 2, Status: 503, Code: "UNAVAILABLE"})
	get().want(t, 503, "UNAVAILABLE")
	get().want(t, 503, "UNAVAILABLE")
	c.s.Inject(Fault{Times: 1, CutAfter: 3})
	if a := get(); a.err == nil || a.body != "lay" {
		t.Errorf("got %q %v, want the first 3 bytes and an error", a.body, a.err)
	}
	c.s.Inject(Fault{Times: 1, Corrupt: true})
	if a := get(); a.body == "layer" || len(a.body) != 5 || a.err != nil {
		t.Errorf("got %q %v, want 5 other bytes", a.body, a.err)
	}
	c.s.Inject(Fault{Abort: true})
	if a := get(); a.err == nil {
		t.Errorf("got %d, want an aborted connection", a.status)
	}
	c.s.ClearFaults()
	get().want(t, 200, "layer")
	log := c.s.Log()
	if last := log[len(log)-1]; last.Action != GetDownloadURLForLayer || last.Repository != "a" || last.Sent != 5 || last.Status != 200 {
		t.Errorf("log: %+v", last)
	}
}

func TestPush(t *testing.T) {
	s := New(Options{})
	s.StartTest(t)
	image := fakeregistry.Image(t, "amd64", fakeregistry.Layer(1, 100))
	want, err := image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time the repository exists
		if got := s.Push(t, "castai/agent", "v1", image); got.String() != want.String() {
			t.Errorf("Push() = %s, want %s", got, want)
		}
	}
}

func TestConcurrentRequests(t *testing.T) {
	c := start(t, Options{Dir: t.TempDir(), Switches: Switches{BlobMounting: true, Quotas: DefaultQuotas()}})
	var clients sync.WaitGroup
	for i := range 8 {
		clients.Go(func() {
			repository := fmt.Sprintf("r%d", i%4)
			c.s.Create(repository)
			c.pushBlob(repository, fmt.Sprintf("layer %d", i%2))
			c.do("HEAD", "/v2/"+repository+"/manifests/v1", nil).want(t, 404, "")
			c.s.Set(func(s *Switches) { s.RetryAfter = "1" })
			c.s.Counts()
		})
	}
	clients.Wait()
	if got := len(c.s.Repositories()); got != 4 {
		t.Errorf("%d repositories", got)
	}
}
