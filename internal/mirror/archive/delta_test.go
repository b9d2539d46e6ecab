// SPDX-License-Identifier: Apache-2.0

package archive_test

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/castai/privatelink-webhook/internal/mirror"
	"github.com/castai/privatelink-webhook/internal/mirror/archive"
	"github.com/castai/privatelink-webhook/internal/testutil/fakeregistry"
)

// upgrade writes a full archive of an image, and a delta with newer images that share a
// layer with it.
func upgrade(t *testing.T, from, to *fakeregistry.Server, names ...string) (full, delta string, next *mirror.Content, s archive.Summary) {
	t.Helper()
	fakeregistry.Push(t, from.Host+"/agent:v1", index(t, 90_000, 1, 2))
	var sources []string
	for n, name := range names {
		fakeregistry.Push(t, from.Host+name, index(t, 90_000, 1, uint64(10+n)))
		sources = append(sources, from.Host+name)
	}
	first := content(t, targets(to.Host, from.Host+"/agent:v1"))
	next = content(t, targets(to.Host, sources...))
	dir := t.TempDir()
	full, delta = filepath.Join(dir, "full.tar"), filepath.Join(dir, "delta.tar")
	write(t, first, archive.WriteOptions{File: full})
	from.ResetLog()
	s = write(t, next, archive.WriteOptions{File: delta, Since: first.Lock})
	return full, delta, next, s
}

func TestDelta(t *testing.T) {
	t.Run("leaves out what the older lock has, and completes it", func(t *testing.T) {
		from, to := fakeregistry.Start(t), fakeregistry.Start(t)
		full, delta, next, s := upgrade(t, from, to, "/agent:v2")
		if s.Assumed != 2*90_000 || from.Count("GET", "/blobs/") != s.Blobs || s.Blobs != len(next.Blobs)-2 {
			t.Errorf("%d bytes are assumed, %d of %d blobs in the archive", s.Assumed, s.Blobs, len(next.Blobs))
		}
		if err := importArchive(t, open(t, full), client()); err != nil {
			t.Fatal(err)
		}
		a := open(t, delta)
		if !a.IsDelta() {
			t.Error("IsDelta is false")
		}
		if err := a.Verify(t.Context()); err != nil {
			t.Error(err)
		}
		to.ResetLog()
		if err := importArchive(t, a, client()); err != nil {
			t.Fatal(err)
		}
		fakeregistry.Verify(t, to.Host+"/mirror/agent:v2")
		if n := to.Count("PUT", "/blobs/uploads/"); n != s.Blobs {
			t.Errorf("%d blobs were uploaded, of %d", n, s.Blobs)
		}
	})
	t.Run("is refused where nothing is, before anything is written", func(t *testing.T) {
		from, to := fakeregistry.Start(t), fakeregistry.Start(t)
		_, delta, next, _ := upgrade(t, from, to, "/agent:v2")
		err := importArchive(t, open(t, delta), client())
		if err == nil || !strings.Contains(err.Error(), "nothing was written. Import the archive of that lock file first") || !strings.Contains(err.Error(), from.Host+"/agent:v1)") {
			t.Error(err)
		}
		for _, method := range []string{"PUT", "POST", "PATCH"} {
			if n := to.Count(method, ""); n != 0 {
				t.Errorf("%d requests %s", n, method)
			}
		}
		// Without ImportEndpoints the error is that of the images.
		m := &mirror.Mirror{Source: open(t, delta), Target: client()}
		i := next.Lock.Images[0]
		p, err := m.Plan(t.Context(), []mirror.Job{{Source: i.Source, Target: i.Target}})
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Run(t.Context(), p, nil); err != nil {
			t.Fatal(err)
		}
		if err := p.Items[0].Err; err == nil || !strings.Contains(err.Error(), "import the full archive first") {
			t.Error(err)
		}
		if got := fakeregistry.Digest(t, i.Target); got != "" {
			t.Errorf("%s is %s", i.Target, got)
		}
	})
	for name, mounts := range map[string]bool{"mounts where another repository needs a blob": true, "copies where the registry does not mount": false} {
		t.Run(name, func(t *testing.T) {
			from, to := fakeregistry.Start(t), fakeregistry.Start(t)
			if !mounts {
				to.DisableMounts()
			}
			full, delta, _, s := upgrade(t, from, to, "/agent:v2", "/other/spot:v1", "/third:v1")
			if err := importArchive(t, open(t, full), client()); err != nil {
				t.Fatal(err)
			}
			to.ResetLog()
			if err := importArchive(t, open(t, delta), client()); err != nil {
				t.Fatal(err)
			}
			for _, ref := range []string{"/mirror/agent:v2", "/mirror/other/spot:v1", "/mirror/third:v1"} {
				fakeregistry.Verify(t, to.Host+ref)
			}
			if uploads := to.Count("PUT", "/blobs/uploads/"); mounts != (uploads == s.Blobs) {
				t.Errorf("%d uploads of %d blobs", uploads, s.Blobs)
			}
		})
	}
	t.Run("leaves no tag where the blob cannot be brought into the repository", func(t *testing.T) {
		from, to := fakeregistry.Start(t), fakeregistry.Start(t)
		to.DisableMounts()
		full, delta, _, _ := upgrade(t, from, to, "/other/spot:v1")
		if err := importArchive(t, open(t, full), client()); err != nil {
			t.Fatal(err)
		}
		to.SetFault(fakeregistry.When(fakeregistry.IsBlobGet, fakeregistry.Respond(http.StatusForbidden, `{"errors":[{"code":"DENIED"}]}`)))
		err := importArchive(t, open(t, delta), client())
		if err == nil || !strings.Contains(err.Error(), "not allowed") {
			t.Error(err)
		}
		if got := fakeregistry.Digest(t, to.Host+"/mirror/other/spot:v1"); got != "" {
			t.Errorf("it is %s", got)
		}
	})
	t.Run("includes the blobs of images that the source no longer has", func(t *testing.T) {
		from, to := fakeregistry.Start(t), fakeregistry.Start(t)
		fakeregistry.Push(t, from.Host+"/agent:v1", index(t, 9000, 1, 2))
		fakeregistry.Push(t, from.Host+"/agent:v2", index(t, 9000, 1, 3))
		first, next := content(t, targets(to.Host, from.Host+"/agent:v1")), content(t, targets(to.Host, from.Host+"/agent:v2"))
		gone := first.Lock.Images[0].Digest.String()
		from.SetFault(fakeregistry.When(func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, gone) },
			fakeregistry.Respond(http.StatusNotFound, `{"errors":[{"code":"MANIFEST_UNKNOWN"}]}`)))
		s := write(t, next, archive.WriteOptions{File: filepath.Join(t.TempDir(), "x"), Since: first.Lock})
		if s.Assumed != 0 || s.Blobs != len(next.Blobs) || len(s.Unread) != 1 || !strings.Contains(s.Unread[0], "/agent:v1") {
			t.Errorf("%+v", s)
		}
	})
	t.Run("to the lock of another registry is refused", func(t *testing.T) {
		from, to := fakeregistry.Start(t), fakeregistry.Start(t)
		fakeregistry.Push(t, from.Host+"/agent:v1", index(t, 9000, 1, 2))
		c := content(t, targets(to.Host, from.Host+"/agent:v1"))
		other := *c.Lock
		other.Registry = "other.example.com"
		_, err := archive.Write(t.Context(), c, client(), archive.WriteOptions{File: filepath.Join(t.TempDir(), "x"), Since: &other})
		if err == nil || !strings.Contains(err.Error(), "other.example.com") {
			t.Error(err)
		}
	})
}
