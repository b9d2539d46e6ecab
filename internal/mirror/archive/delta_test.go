// SPDX-License-Identifier: Apache-2.0

package archive_test

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/castai/privatelink-webhook/internal/mirror"
	"github.com/castai/privatelink-webhook/internal/mirror/archive"
)

// upgrade makes a full archive of an image, and a delta to a newer one that
// shares a layer with it, under the same name and under another.
func upgrade(t *testing.T, from, to *server, names ...string) (full, delta string, next *mirror.Content, s archive.Summary) {
	t.Helper()
	push(t, from.host+"/agent:v1", index(t, 90_000, 1, 2))
	var sources []string
	for n, name := range names {
		push(t, from.host+name, index(t, 90_000, 1, uint64(10+n)))
		sources = append(sources, from.host+name)
	}
	first := content(t, targets(to, from.host+"/agent:v1"))
	next = content(t, targets(to, sources...))
	dir := t.TempDir()
	full, delta = filepath.Join(dir, "full.tar"), filepath.Join(dir, "delta.tar")
	write(t, first, archive.WriteOptions{File: full})
	from.forget()
	s = write(t, next, archive.WriteOptions{File: delta, Since: first.Lock})
	return full, delta, next, s
}

func TestADelta(t *testing.T) {
	t.Run("leaves out what the older lock has, and completes it", func(t *testing.T) {
		from, to := serve(t), serve(t)
		full, delta, next, s := upgrade(t, from, to, "/agent:v2")
		if s.Assumed != 2*90_000 || from.requests("GET", "/blobs/") != s.Blobs || s.Blobs != len(next.Blobs)-2 {
			t.Errorf("%d bytes are assumed, %d of %d blobs in the archive", s.Assumed, s.Blobs, len(next.Blobs))
		}
		if err := load(t, open(t, full), client()); err != nil {
			t.Fatal(err)
		}
		a := open(t, delta)
		if !a.IsDelta() {
			t.Error("IsDelta is false")
		}
		if err := a.Verify(t.Context()); err != nil {
			t.Error(err)
		}
		to.forget()
		if err := load(t, a, client()); err != nil {
			t.Fatal(err)
		}
		whole(t, to.host+"/mirror/agent:v2")
		if n := to.requests("PUT", "/blobs/uploads/"); n != s.Blobs {
			t.Errorf("%d blobs were uploaded, of %d", n, s.Blobs)
		}
	})
	t.Run("is refused where nothing is, before anything is written", func(t *testing.T) {
		from, to := serve(t), serve(t)
		_, delta, next, _ := upgrade(t, from, to, "/agent:v2")
		err := load(t, open(t, delta), client())
		if err == nil || !strings.Contains(err.Error(), "nothing was written. Import the archive of that lock file first") || !strings.Contains(err.Error(), from.host+"/agent:v1)") {
			t.Error(err)
		}
		for _, method := range []string{"PUT", "POST", "PATCH"} {
			if n := to.requests(method, ""); n != 0 {
				t.Errorf("%d requests %s", n, method)
			}
		}
		// Who does not ask first is told as well.
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
		if got := digestOf(t, i.Target); !strings.HasPrefix(got, "none") {
			t.Errorf("%s is %s", i.Target, got)
		}
	})
	for name, mounts := range map[string]bool{"mounts where another repository needs a blob": true, "copies where the registry does not mount": false} {
		t.Run(name, func(t *testing.T) {
			from, to := serve(t), serve(t)
			to.mounts = mounts
			full, delta, _, s := upgrade(t, from, to, "/agent:v2", "/other/spot:v1", "/third:v1")
			if err := load(t, open(t, full), client()); err != nil {
				t.Fatal(err)
			}
			to.forget()
			if err := load(t, open(t, delta), client()); err != nil {
				t.Fatal(err)
			}
			for _, ref := range []string{"/mirror/agent:v2", "/mirror/other/spot:v1", "/mirror/third:v1"} {
				whole(t, to.host+ref)
			}
			if uploads := to.requests("PUT", "/blobs/uploads/"); mounts != (uploads == s.Blobs) {
				t.Errorf("%d uploads of %d blobs", uploads, s.Blobs)
			}
		})
	}
	t.Run("leaves no tag where the blob cannot be brought into the repository", func(t *testing.T) {
		from, to := serve(t), serve(t)
		to.mounts = false
		full, delta, _, _ := upgrade(t, from, to, "/other/spot:v1")
		if err := load(t, open(t, full), client()); err != nil {
			t.Fatal(err)
		}
		to.break_(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if r.Method == http.MethodGet && blobPath.MatchString(r.URL.Path) {
				http.Error(w, `{"errors":[{"code":"DENIED"}]}`, http.StatusForbidden)
				return
			}
			next.ServeHTTP(w, r)
		})
		err := load(t, open(t, delta), client())
		if err == nil || !strings.Contains(err.Error(), "not allowed") {
			t.Error(err)
		}
		if got := digestOf(t, to.host+"/mirror/other/spot:v1"); !strings.HasPrefix(got, "none") {
			t.Errorf("it is %s", got)
		}
	})
	t.Run("has what the source no longer tells of", func(t *testing.T) {
		from, to := serve(t), serve(t)
		push(t, from.host+"/agent:v1", index(t, 9000, 1, 2))
		push(t, from.host+"/agent:v2", index(t, 9000, 1, 3))
		first, next := content(t, targets(to, from.host+"/agent:v1")), content(t, targets(to, from.host+"/agent:v2"))
		gone := first.Lock.Images[0].Digest.String()
		from.break_(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if strings.HasSuffix(r.URL.Path, gone) {
				http.Error(w, `{"errors":[{"code":"MANIFEST_UNKNOWN"}]}`, http.StatusNotFound)
				return
			}
			next.ServeHTTP(w, r)
		})
		s := write(t, next, archive.WriteOptions{File: filepath.Join(t.TempDir(), "x"), Since: first.Lock})
		if s.Assumed != 0 || s.Blobs != len(next.Blobs) || len(s.Unread) != 1 || !strings.Contains(s.Unread[0], "/agent:v1") {
			t.Errorf("%+v", s)
		}
	})
	t.Run("to the lock of another registry is refused", func(t *testing.T) {
		from, to := serve(t), serve(t)
		push(t, from.host+"/agent:v1", index(t, 9000, 1, 2))
		c := content(t, targets(to, from.host+"/agent:v1"))
		other := *c.Lock
		other.Registry = "other.example.com"
		_, err := archive.Write(t.Context(), c, client(), archive.WriteOptions{File: filepath.Join(t.TempDir(), "x"), Since: &other})
		if err == nil || !strings.Contains(err.Error(), "other.example.com") {
			t.Error(err)
		}
	})
}
