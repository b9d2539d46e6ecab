// SPDX-License-Identifier: Apache-2.0

package mirror_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	gcr "github.com/google/go-containerregistry/pkg/registry"

	"github.com/castai/privatelink-webhook/internal/mirror"
	"github.com/castai/privatelink-webhook/internal/registry"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// server is a real registry in this process, with a log, into which a test can
// put faults.
type server struct {
	host string

	mu    sync.Mutex
	log   []string // "GET /v2/…"
	fault func(w http.ResponseWriter, r *http.Request, next http.Handler)
}

func serve(t *testing.T) *server {
	t.Helper()
	s := &server{}
	real := gcr.New(gcr.Logger(log.New(io.Discard, "", 0)), gcr.WithReferrersSupport(true))
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.log = append(s.log, r.Method+" "+r.URL.Path)
		fault := s.fault
		s.mu.Unlock()
		if fault != nil {
			fault(w, r, real)
			return
		}
		real.ServeHTTP(w, r)
	}))
	t.Cleanup(h.Close)
	s.host = strings.TrimPrefix(h.URL, "http://")
	return s
}

// requests counts those that begin so, since the last call of forget.
func (s *server) requests(prefix string) (count int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.log {
		if strings.HasPrefix(r, prefix) {
			count++
		}
	}
	return count
}

func (s *server) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log = nil
}

func (s *server) break_(fault func(w http.ResponseWriter, r *http.Request, next http.Handler)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = fault
}

// layer has content that a seed decides.
func layer(seed uint64, size int) v1.Layer {
	b := make([]byte, size)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16)})
	_, _ = r.Read(b)
	return static.NewLayer(b, types.OCILayer)
}

// index makes an image for two platforms with the layers of the seeds.
func index(t *testing.T, size int, seeds ...uint64) v1.ImageIndex {
	t.Helper()
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for n, arch := range []string{"amd64", "arm64"} {
		image, err := mutate.ConfigFile(mutate.MediaType(empty.Image, types.OCIManifestSchema1), &v1.ConfigFile{OS: "linux", Architecture: arch, Author: fmt.Sprint(seeds)})
		if err != nil {
			t.Fatal(err)
		}
		image = mutate.ConfigMediaType(image, types.OCIConfigJSON)
		for _, seed := range seeds {
			if image, err = mutate.Append(image, mutate.Addendum{Layer: layer(2*seed+uint64(n), size)}); err != nil {
				t.Fatal(err)
			}
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}}})
	}
	return index
}

func push(t *testing.T, ref string, index v1.ImageIndex) {
	t.Helper()
	r, err := name.ParseReference(ref)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.WriteIndex(r, index); err != nil {
		t.Fatal(err)
	}
}

// digestOf asks a registry with another client than ours.
func digestOf(t *testing.T, ref string) string {
	t.Helper()
	r, err := name.ParseReference(ref)
	if err != nil {
		t.Fatal(err)
	}
	d, err := remote.Head(r)
	if err != nil {
		return "none: " + err.Error()
	}
	return d.Digest.String()
}

// whole reads an image, every blob of it, with another client than ours.
func whole(t *testing.T, ref string) {
	t.Helper()
	r, err := name.ParseReference(ref)
	if err != nil {
		t.Fatal(err)
	}
	index, err := remote.Index(r)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range manifest.Manifests {
		image, err := index.Image(m.Digest)
		if err != nil {
			t.Fatal(err)
		}
		layers, err := image.Layers()
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range layers {
			body, err := l.Compressed()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, body); err != nil { // it checks the digest
				t.Fatal(err)
			}
			_ = body.Close()
		}
		if _, err := image.RawConfigFile(); err != nil {
			t.Fatal(err)
		}
	}
}

// pair is a source with images, and an empty target.
type pair struct {
	source, target *server
	images         []mirror.Job
	mirror         *mirror.Mirror
	events         []mirror.Event
}

// newPair makes count images that share two layers out of four.
func newPair(t *testing.T, count, size int) *pair {
	t.Helper()
	p := &pair{source: serve(t), target: serve(t)}
	for i := range count {
		from := fmt.Sprintf("%s/library/image-%d:v1", p.source.host, i)
		push(t, from, index(t, size, 1, 2, uint64(10+2*i), uint64(11+2*i)))
		p.images = append(p.images, mirror.Job{Source: from, Target: fmt.Sprintf("%s/castai/image-%d:v1", p.target.host, i)})
	}
	p.source.forget()
	client := registry.New(registry.Options{})
	var mu sync.Mutex
	p.mirror = &mirror.Mirror{Source: client, Target: client, Referrers: true, Events: func(e mirror.Event) {
		mu.Lock()
		defer mu.Unlock()
		p.events = append(p.events, e)
	}}
	return p
}

// copy plans and runs, and reports what went wrong.
func (p *pair) copy(ctx context.Context, progress *mirror.Progress) (*mirror.Plan, error) {
	plan, err := p.mirror.Plan(ctx, p.images)
	if err != nil {
		return nil, err
	}
	return plan, p.mirror.Run(ctx, plan, progress)
}

// equal fails the test unless each image is whole, and the same on both sides.
func (p *pair) equal(t *testing.T) {
	t.Helper()
	for _, i := range p.images {
		if from, to := digestOf(t, i.Source), digestOf(t, i.Target); from != to {
			t.Errorf("%s is %s, and %s is %s", i.Source, from, i.Target, to)
			continue
		}
		whole(t, i.Target)
	}
}

func TestCopy(t *testing.T) {
	p := newPair(t, 5, 50_000)
	var progress mirror.Progress
	plan, err := p.copy(t.Context(), &progress)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range plan.Items {
		if i.State != mirror.StateCopied {
			t.Errorf("%s: %s %v", i.Source, i.State, i.Err)
		}
	}
	p.equal(t)
	if done, total := progress.Done.Load(), progress.Total.Load(); done != total || progress.ImagesDone.Load() != 5 {
		t.Errorf("%d of %d bytes, %d images", done, total, progress.ImagesDone.Load())
	}
	// 4 shared and 20 own layers, 10 configurations. The registry does not share
	// blobs, which shows only when it is asked to.
	blobs := 0
	for i := range 5 {
		blobs += p.source.requests(fmt.Sprintf("GET /v2/library/image-%d/blobs/", i))
	}
	if blobs > 34+4*4 {
		t.Errorf("%d blobs read", blobs)
	}
}

func TestNothingToDo(t *testing.T) {
	p := newPair(t, 5, 1000)
	plan, err := p.copy(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	l := p.mirror.BuildLock(p.target.host+"/castai", plan, nil)
	if len(l.Images) != 5 || l.Images[0].Size < 8000 || len(l.Images[0].Platforms) != 2 {
		t.Fatalf("lock %+v", l)
	}
	for n := range p.images {
		known, _ := l.Lookup(p.images[n].Source, p.images[n].Target)
		p.images[n].Locked = &mirror.Locked{Digest: known.Digest}
	}
	p.source.forget()
	p.target.forget()
	if plan, err = p.copy(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if plan.Count(mirror.StatePresent) != 5 || p.source.requests("") != 0 || p.target.requests("") != p.target.requests("HEAD ") || p.target.requests("") > 5 {
		t.Errorf("%d present; source: %v; target: %v", plan.Count(mirror.StatePresent), p.source.log, p.target.log)
	}
	if again := p.mirror.BuildLock(p.target.host+"/castai", plan, l); fmt.Sprint(again) != fmt.Sprint(l) {
		t.Errorf("the lock changed:\n%v\n%v", l, again)
	}
}

func TestATagOfSomebodyElseStays(t *testing.T) {
	p := newPair(t, 2, 1000)
	push(t, p.images[0].Target, index(t, 10, 99))
	before := digestOf(t, p.images[0].Target)
	plan, err := p.copy(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if plan.Items[0].State != mirror.StateDiffers || plan.Items[1].State != mirror.StateCopied || digestOf(t, p.images[0].Target) != before {
		t.Errorf("%s %s", plan.Items[0].State, plan.Items[1].State)
	}
	p.mirror.Overwrite = true
	if _, err = p.copy(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	p.equal(t)
}

func TestPlatforms(t *testing.T) {
	p := newPair(t, 1, 1000)
	p.mirror.Platforms = []string{"linux/arm64"}
	plan, err := p.copy(t.Context(), nil)
	if err != nil || plan.Items[0].State != mirror.StateCopied {
		t.Fatal(err, plan.Items[0].Err)
	}
	whole(t, p.images[0].Target)
	l := p.mirror.BuildLock(p.target.host+"/castai", plan, nil).Images[0]
	if fmt.Sprint(l.Platforms) != "[linux/arm64]" || l.SourceDigest.String() != digestOf(t, p.images[0].Source) || l.Digest.String() != digestOf(t, p.images[0].Target) || l.Digest == l.SourceDigest {
		t.Errorf("%+v", l)
	}
	p.images[0].Locked = &mirror.Locked{Digest: l.Digest, SourceDigest: l.SourceDigest}
	p.source.forget()
	if plan, err = p.copy(t.Context(), nil); err != nil || plan.Items[0].State != mirror.StatePresent || p.source.requests("") > 0 {
		t.Errorf("%v %+v %v", err, plan.Items[0], p.source.log)
	}
	p.mirror.Platforms = []string{"windows/amd64"}
	p.images[0].Locked = nil
	plan, err = p.copy(t.Context(), nil)
	if err != nil || plan.Items[0].State != mirror.StateFailed || !strings.Contains(plan.Items[0].Err.Error(), "only linux/amd64, linux/arm64") {
		t.Errorf("%v %v", err, plan.Items[0].Err)
	}
}

// Two images that belong under one name, and are not the same.
func TestTwoImagesForOneName(t *testing.T) {
	p := newPair(t, 2, 1000)
	p.images[1].Target = p.images[0].Target
	if _, err := p.mirror.Plan(t.Context(), p.images); err == nil || !strings.Contains(err.Error(), "both belong at") {
		t.Errorf("error %v", err)
	}
}

func TestOneBadImageDoesNotStopTheOthers(t *testing.T) {
	p := newPair(t, 3, 1000)
	p.images[1].Source = p.source.host + "/library/nothing:v1"
	plan, err := p.copy(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if plan.Items[1].State != mirror.StateFailed || plan.Items[0].State != mirror.StateCopied || plan.Items[2].State != mirror.StateCopied {
		t.Errorf("%+v", plan.Items)
	}
}

// cut sends a part of an answer and then breaks the connection.
func cut(w http.ResponseWriter, r *http.Request, next http.Handler, after int) {
	rec := httptest.NewRecorder()
	next.ServeHTTP(rec, r)
	maps.Copy(w.Header(), rec.Header())
	w.WriteHeader(rec.Code)
	_, _ = w.Write(rec.Body.Bytes()[:min(after, rec.Body.Len())])
	if rec.Body.Len() > after {
		panic(http.ErrAbortHandler)
	}
}

func isBlob(r *http.Request) bool {
	return strings.Contains(r.URL.Path, "/blobs/sha256:")
}

// Faults that pass, each for a while.
func TestFaultsThatPass(t *testing.T) {
	type fault func(w http.ResponseWriter, r *http.Request, next http.Handler)
	// every makes a fault of each n-th request of a kind.
	every := func(n int, of func(*http.Request) bool, f fault) fault {
		var mu sync.Mutex
		count := 0
		return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			mu.Lock()
			hit := false
			if of(r) {
				count++
				hit = count%n == 0
			}
			mu.Unlock()
			if hit {
				f(w, r, next)
				return
			}
			next.ServeHTTP(w, r)
		}
	}
	// once makes a fault of the first request for each path.
	once := func(of func(*http.Request) bool, f fault) fault {
		var seen sync.Map
		return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if _, again := seen.LoadOrStore(r.URL.Path, true); of(r) && !again {
				f(w, r, next)
				return
			}
			next.ServeHTTP(w, r)
		}
	}
	status := func(code int, text string) fault {
		return func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.WriteHeader(code)
			_, _ = io.WriteString(w, text)
		}
	}
	drop := func(http.ResponseWriter, *http.Request, http.Handler) { panic(http.ErrAbortHandler) }
	read := func(r *http.Request) bool { return r.Method == http.MethodGet && isBlob(r) }
	method := func(m string) func(*http.Request) bool { return func(r *http.Request) bool { return r.Method == m } }
	any := func(*http.Request) bool { return true }
	for name, tc := range map[string]struct{ source, target fault }{
		"the source cuts blobs off": {source: every(2, read, func(w http.ResponseWriter, r *http.Request, next http.Handler) { cut(w, r, next, 20_000) })},
		"the source answers 500":    {source: every(3, any, status(500, ""))},
		"the source answers 429": {source: every(3, any, func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
			w.Header().Set("Retry-After", "0")
			w.WriteHeader(429)
		})},
		"the source drops connections": {source: every(5, any, drop)},
		"the source sends a wrong byte once": {source: once(read, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			rec := httptest.NewRecorder()
			next.ServeHTTP(rec, r)
			body := rec.Body.Bytes()
			body[len(body)/2]++
			_, _ = w.Write(body)
		})},
		"the target answers 500":   {target: every(7, any, status(500, ""))},
		"the target answers 429":   {target: every(3, method("POST"), status(429, `{"errors":[{"code":"TOOMANYREQUESTS"}]}`))},
		"the target drops uploads": {target: every(3, method("PUT"), drop)},
		"the target cuts uploads in the middle": {target: every(4, func(r *http.Request) bool { return r.Method == "PUT" && strings.Contains(r.URL.Path, "/uploads/") }, func(_ http.ResponseWriter, r *http.Request, _ http.Handler) {
			_, _ = io.CopyN(io.Discard, r.Body, 10_000)
			panic(http.ErrAbortHandler)
		})},
		"the target loses the answer of an upload": {target: every(4, method("PUT"), func(_ http.ResponseWriter, r *http.Request, next http.Handler) {
			next.ServeHTTP(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler)
		})},
		"the target sees blobs late":                      {target: every(3, func(r *http.Request) bool { return r.Method == "PUT" && strings.Contains(r.URL.Path, "/manifests/") }, status(400, `{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN"}]}`))},
		"the target has an upload at its beginning again": {target: every(4, func(r *http.Request) bool { return r.Method == "PUT" && strings.Contains(r.URL.Path, "/uploads/") }, status(416, `{"errors":[{"code":"BLOB_UPLOAD_INVALID"}]}`))},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPair(t, 4, 50_000)
			p.source.break_(tc.source)
			p.target.break_(tc.target)
			var progress mirror.Progress
			plan, err := p.copy(t.Context(), &progress)
			if err != nil {
				t.Fatal(err)
			}
			p.source.break_(nil)
			p.target.break_(nil)
			for _, i := range plan.Items {
				if i.State != mirror.StateCopied {
					t.Errorf("%s: %s %v", i.Source, i.State, i.Err)
				}
			}
			if progress.Done.Load() != progress.Total.Load() {
				t.Errorf("progress %d of %d", progress.Done.Load(), progress.Total.Load())
			}
			p.equal(t)
		})
	}
}

// What never passes ends with an error that says it, and with nothing under the
// tag.
func TestFaultsThatStay(t *testing.T) {
	answer := func(of func(*http.Request) bool, code int, text string) func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if !of(r) {
				next.ServeHTTP(w, r)
				return
			}
			w.WriteHeader(code)
			_, _ = io.WriteString(w, text)
		}
	}
	upload := func(r *http.Request) bool { return strings.Contains(r.URL.Path, "/blobs/uploads/") }
	for name, tc := range map[string]struct {
		source, target func(w http.ResponseWriter, r *http.Request, next http.Handler)
		want           string
	}{
		"a corrupt source": {source: func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if r.Method != "GET" || !isBlob(r) {
				next.ServeHTTP(w, r)
				return
			}
			rec := httptest.NewRecorder()
			next.ServeHTTP(rec, r)
			_, _ = w.Write(bytes.Repeat([]byte("x"), rec.Body.Len()))
		}, want: "does not match its digest"},
		"no right to upload":   {target: answer(upload, 403, `{"errors":[{"code":"DENIED","message":"no ecr:InitiateLayerUpload"}]}`), want: "not allowed"},
		"nobody is logged in":  {target: answer(upload, 401, ``), want: "docker login"},
		"an immutable tag":     {target: answer(func(r *http.Request) bool { return r.Method == "PUT" && strings.HasSuffix(r.URL.Path, "/manifests/v1") }, 400, `{"errors":[{"code":"TAG_INVALID","message":"immutable"}]}`), want: "immutable"},
		"a source without end": {source: answer(func(r *http.Request) bool { return r.Method == "GET" && isBlob(r) }, 404, ``), want: "not found"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPair(t, 2, 10_000)
			p.source.break_(tc.source)
			p.target.break_(tc.target)
			plan, err := p.copy(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			p.target.break_(nil)
			for _, i := range plan.Items {
				if i.State != mirror.StateFailed || !strings.Contains(fmt.Sprint(i.Err), tc.want) {
					t.Errorf("%s: %s %v, want %q", i.Source, i.State, i.Err, tc.want)
				}
				if got := digestOf(t, i.Target); !strings.HasPrefix(got, "none") {
					t.Errorf("%s stands for %s", i.Target, got)
				}
			}
		})
	}
}

func TestReferrersAndSignatures(t *testing.T) {
	p := newPair(t, 1, 1000)
	repository := rewrite.SplitReference(p.images[0].Source).Repository
	subject := digestOf(t, p.images[0].Source)
	r, err := name.NewDigest(repository + "@" + subject)
	if err != nil {
		t.Fatal(err)
	}
	desc, err := remote.Head(r)
	if err != nil {
		t.Fatal(err)
	}
	attestation, err := mutate.AppendLayers(mutate.MediaType(empty.Image, types.OCIManifestSchema1), layer(77, 100))
	if err != nil {
		t.Fatal(err)
	}
	attestation = mutate.Subject(attestation, *desc).(v1.Image)
	digest, err := attestation.Digest()
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(r.Context().Digest(digest.String()), attestation); err != nil {
		t.Fatal(err)
	}
	signature, err := mutate.AppendLayers(mutate.MediaType(empty.Image, types.OCIManifestSchema1), layer(78, 100))
	if err != nil {
		t.Fatal(err)
	}
	tag := strings.Replace(subject, ":", "-", 1) + ".sig"
	if err := remote.Write(r.Context().Tag(tag), signature); err != nil {
		t.Fatal(err)
	}
	plan, err := p.copy(t.Context(), nil)
	if err != nil || plan.Items[0].State != mirror.StateCopied {
		t.Fatal(err, plan.Items[0].Err)
	}
	to := rewrite.SplitReference(p.images[0].Target).Repository
	if got := digestOf(t, to+"@"+digest.String()); got != digest.String() {
		t.Errorf("attestation: %s", got)
	}
	if got, want := digestOf(t, to+":"+tag), digestOf(t, repository+":"+tag); got != want {
		t.Errorf("signature: %s, want %s", got, want)
	}
	if l := p.mirror.BuildLock(p.target.host, plan, nil); len(l.Images[0].Referrers) != 2 {
		t.Errorf("%+v", l.Images[0])
	}
}
