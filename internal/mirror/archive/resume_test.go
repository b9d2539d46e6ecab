// SPDX-License-Identifier: Apache-2.0

package archive_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/castai/privatelink-webhook/internal/mirror"
	"github.com/castai/privatelink-webhook/internal/mirror/archive"
	"github.com/castai/privatelink-webhook/internal/testutil/fakeregistry"
)

// TestMain runs an export in a process that a test can kill.
func TestMain(m *testing.M) {
	if file := os.Getenv("EXPORT_TO"); file != "" {
		os.Exit(export(file, strings.Fields(os.Getenv("EXPORT_IMAGES"))))
	}
	os.Exit(m.Run())
}

func export(file string, refs []string) int {
	m := &mirror.Mirror{Source: client()}
	var images []mirror.Job
	for _, r := range refs {
		images = append(images, mirror.Job{Source: r, Target: "registry.example.com/" + strings.Replace(r, ":", "_", 1)})
	}
	c, err := m.ReadContent(context.Background(), images, "registry.example.com", nil)
	if err == nil {
		_, err = archive.Write(context.Background(), c, client(), archive.WriteOptions{File: file, Parallel: 2, Split: splitOfTest})
	}
	if err != nil {
		return 1
	}
	return 0
}

const splitOfTest = 300_000

// contentOf is the content that export writes.
func contentOf(t *testing.T, refs ...string) *mirror.Content {
	t.Helper()
	var images []mirror.Job
	for _, r := range refs {
		images = append(images, mirror.Job{Source: r, Target: "registry.example.com/" + strings.Replace(r, ":", "_", 1)})
	}
	c, err := (&mirror.Mirror{Source: client()}).ReadContent(t.Context(), images, "registry.example.com", nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestKilledExportIsResumed(t *testing.T) {
	from := fakeregistry.Start(t)
	ref := from.Host + "/castai/agent:v1"
	fakeregistry.Push(t, ref, index(t, 200_000, 1, 2, 3, 4))
	c := contentOf(t, ref)

	// The first six blobs are sent whole. Of later ones half is sent, and then nothing.
	var blobs atomic.Int64
	halfSent := make(chan struct{}, 100)
	release := make(chan struct{})
	from.SetFault(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if fakeregistry.IsBlob(r) && r.Method == http.MethodGet && blobs.Add(1) > 6 {
			next.ServeHTTP(&half{ResponseWriter: w, halfSent: halfSent, release: release}, r)
			return
		}
		next.ServeHTTP(w, r)
	})
	dir := t.TempDir()
	file := filepath.Join(dir, "images.tar")
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), "EXPORT_TO="+file, "EXPORT_IMAGES="+ref)
	from.ResetLog()
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		select {
		case <-halfSent:
		case <-time.After(30 * time.Second):
			t.Fatal("the child does not fetch")
		}
	}
	if err := child.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait() // it was killed
	close(release)
	from.SetFault(nil)
	started := from.FetchedBlobs()
	if len(started) != 8 {
		t.Fatalf("the child fetched %d blobs", len(started))
	}
	if got := fileNames(t, dir); slices.ContainsFunc(got, func(n string) bool { return !strings.HasSuffix(n, ".partial") }) {
		t.Fatalf("there is %v", got)
	}
	if _, err := archive.Open(file); err == nil || !strings.Contains(err.Error(), "its export was interrupted") {
		t.Errorf("an unfinished archive can be opened: %v", err)
	}

	from.ResetLog()
	s := write(t, c, archive.WriteOptions{File: file, Split: splitOfTest})
	got := from.FetchedBlobs()
	if want := len(c.Blobs) - 6; len(got) != want {
		t.Errorf("%d blobs were fetched again, %d were missing", len(got), want)
	}
	for _, d := range got {
		if slices.Contains(started[:6], d) {
			t.Errorf("%s was there, and was fetched again", d)
		}
	}
	if s.Kept == 0 || s.Fetched == 0 {
		t.Errorf("%d bytes kept, %d fetched", s.Kept, s.Fetched)
	}
	other := filepath.Join(t.TempDir(), "images.tar")
	write(t, c, archive.WriteOptions{File: other})
	var joined []byte
	for _, p := range s.Parts {
		joined = append(joined, readFile(t, p.Name)...)
	}
	if !bytes.Equal(readFile(t, other), joined) {
		t.Error("a resumed export has other bytes than one in a single go")
	}
	if slices.ContainsFunc(fileNames(t, dir), func(n string) bool { return strings.HasSuffix(n, ".partial") }) {
		t.Errorf("left over: %v", fileNames(t, dir))
	}
}

// half sends half of a body, and then waits for its end.
type half struct {
	http.ResponseWriter
	halfSent, release chan struct{}
}

func (h *half) Write(text []byte) (int, error) {
	_, _ = h.ResponseWriter.Write(text[:len(text)/2])
	h.ResponseWriter.(http.Flusher).Flush()
	h.halfSent <- struct{}{}
	<-h.release
	return len(text) / 2, io.ErrShortWrite
}

// Content of an interrupted export is used only if it has the right digest.
func TestLeftoversAreVerified(t *testing.T) {
	from := fakeregistry.Start(t)
	fakeregistry.Push(t, from.Host+"/a:v1", index(t, 20_000, 1, 2))
	fakeregistry.Push(t, from.Host+"/b:v1", index(t, 20_000, 3, 4))
	a, b := contentOf(t, from.Host+"/a:v1"), contentOf(t, from.Host+"/b:v1")
	other := filepath.Join(t.TempDir(), "a.tar")
	write(t, a, archive.WriteOptions{File: other})
	good := readFile(t, other)
	noise := bytes.Repeat([]byte("noise"), len(good))
	for name, tc := range map[string]struct {
		leave func(t *testing.T, file string)
		split int64
		kept  bool
	}{
		"noise, longer than the archive":    {leave: func(t *testing.T, file string) { writeFile(t, file+".partial", noise) }},
		"the other half of a split one":     {leave: func(t *testing.T, file string) { writeFile(t, file+".007.partial", noise) }, split: 30_000},
		"a whole one where parts are to be": {leave: func(t *testing.T, file string) { writeFile(t, file+".partial", good) }, split: 30_000},
		"other images": {leave: func(t *testing.T, file string) {
			write(t, b, archive.WriteOptions{File: file})
			unfinish(t, file)
		}},
		"all of it": {kept: true, leave: func(t *testing.T, file string) {
			write(t, a, archive.WriteOptions{File: file})
			unfinish(t, file)
		}},
		"all of it, cut off between two names": {kept: true, split: 30_000, leave: func(t *testing.T, file string) {
			s := write(t, a, archive.WriteOptions{File: file, Split: 30_000})
			for _, p := range s.Parts[:len(s.Parts)-2] {
				unfinish(t, p.Name)
			}
		}},
		"other parts, cut off between two names": {split: 30_000, leave: func(t *testing.T, file string) {
			s := write(t, a, archive.WriteOptions{File: file, Split: 10_000})
			for _, p := range s.Parts[:len(s.Parts)-1] {
				unfinish(t, p.Name)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, "images.tar")
			tc.leave(t, file)
			s := write(t, a, archive.WriteOptions{File: file, Split: tc.split})
			if kept := s.Fetched == 0; kept != tc.kept {
				t.Errorf("%d bytes fetched, %d kept", s.Fetched, s.Kept)
			}
			var joined []byte
			want := []string{"images.tar.sha256"}
			for _, p := range s.Parts {
				joined = append(joined, readFile(t, p.Name)...)
				want = append(want, filepath.Base(p.Name))
			}
			slices.Sort(want)
			if !bytes.Equal(joined, good) {
				t.Error("it has other bytes")
			}
			if got := fileNames(t, dir); !slices.Equal(got, want) {
				t.Errorf("there is %v, not %v", got, want)
			}
		})
	}
}

func unfinish(t *testing.T, file string) {
	t.Helper()
	if err := os.Rename(file, file+".partial"); err != nil {
		t.Fatal(err)
	}
}

func TestExistingFilesAreNotOverwritten(t *testing.T) {
	from := fakeregistry.Start(t)
	fakeregistry.Push(t, from.Host+"/a:v1", index(t, 2000, 1))
	c := contentOf(t, from.Host+"/a:v1")
	for _, there := range []string{"images.tar", "images.tar.000", "images.tar.005"} {
		for _, split := range []int64{0, 5000} {
			dir := t.TempDir()
			writeFile(t, filepath.Join(dir, there), []byte("precious"))
			_, err := archive.Write(t.Context(), c, client(), archive.WriteOptions{File: filepath.Join(dir, "images.tar"), Split: split})
			if err == nil || !strings.Contains(err.Error(), there+" exists") {
				t.Error(err)
			}
			if got := string(readFile(t, filepath.Join(dir, there))); got != "precious" {
				t.Errorf("%s has %q", there, got)
			}
		}
	}
}

func TestUnreadableBlobDoesNotStopOthers(t *testing.T) {
	from := fakeregistry.Start(t)
	fakeregistry.Push(t, from.Host+"/a:v1", index(t, 20_000, 1, 2))
	c := contentOf(t, from.Host+"/a:v1")
	bad := c.Blobs[0].Descriptor.Digest.String()
	from.SetFault(fakeregistry.When(func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/blobs/"+bad) },
		fakeregistry.Respond(http.StatusNotFound, `{"errors":[{"code":"BLOB_UNKNOWN"}]}`)))
	file := filepath.Join(t.TempDir(), "images.tar")
	_, err := archive.Write(t.Context(), c, client(), archive.WriteOptions{File: file})
	if err == nil || !strings.Contains(err.Error(), bad) || !strings.Contains(err.Error(), "to fetch only what is missing") {
		t.Error(err)
	}
	from.SetFault(nil)
	from.ResetLog()
	write(t, c, archive.WriteOptions{File: file})
	if got := from.FetchedBlobs(); !slices.Equal(got, []string{bad}) {
		t.Errorf("%v was fetched again", got)
	}
}

func TestCanceledExportIsResumed(t *testing.T) {
	from := fakeregistry.Start(t)
	fakeregistry.Push(t, from.Host+"/a:v1", index(t, 20_000, 1, 2))
	c := contentOf(t, from.Host+"/a:v1")
	ctx, cancel := context.WithCancelCause(t.Context())
	canceled := errors.New("canceled by the user")
	var blobs atomic.Int64
	from.SetFault(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if fakeregistry.IsBlob(r) && blobs.Add(1) == 4 {
			cancel(canceled)
		}
		next.ServeHTTP(w, r)
	})
	file := filepath.Join(t.TempDir(), "images.tar")
	if _, err := archive.Write(ctx, c, client(), archive.WriteOptions{File: file, Parallel: 1}); !errors.Is(err, canceled) {
		t.Errorf("the error is %v", err)
	}
	from.SetFault(nil)
	if s := write(t, c, archive.WriteOptions{File: file}); s.Kept == 0 {
		t.Error("nothing was kept")
	}
}

func TestConcurrentExportsToOneFile(t *testing.T) {
	from := fakeregistry.Start(t)
	fakeregistry.Push(t, from.Host+"/a:v1", index(t, 20_000, 1, 2))
	c := contentOf(t, from.Host+"/a:v1")
	for name, tc := range map[string]struct{ first, second int64 }{
		"the same":        {},
		"one in parts":    {second: 30_000},
		"one not":         {first: 30_000},
		"in larger parts": {first: 10_000, second: 30_000},
		"in small parts":  {first: 30_000, second: 10_000},
	} {
		t.Run(name, func(t *testing.T) {
			inside, release := make(chan struct{}, 100), make(chan struct{})
			from.SetFault(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				if fakeregistry.IsBlob(r) {
					inside <- struct{}{}
					<-release
				}
				next.ServeHTTP(w, r)
			})
			file := filepath.Join(t.TempDir(), "images.tar")
			first := make(chan error)
			go func() {
				_, err := archive.Write(t.Context(), c, client(), archive.WriteOptions{File: file, Split: tc.first})
				first <- err
			}()
			<-inside
			// A second export that is not refused would wait as well.
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			_, err := archive.Write(ctx, c, client(), archive.WriteOptions{File: file, Split: tc.second})
			if err == nil || !strings.Contains(err.Error(), "another export is writing the file") {
				t.Error(err)
			}
			close(release)
			if err := <-first; err != nil {
				t.Fatal(err)
			}
			if err := open(t, file).Verify(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// disk is a small file system of its own.
func disk(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size="+size, "tmpfs", dir).CombinedOutput(); err != nil {
		t.Skipf("no tmpfs can be mounted: %s", out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			t.Errorf("%s", out)
		}
	})
	return dir
}

func TestDiskFull(t *testing.T) {
	from := fakeregistry.Start(t)
	fakeregistry.Push(t, from.Host+"/a:v1", index(t, 100_000, 1, 2, 3, 4))
	c := contentOf(t, from.Host+"/a:v1")
	t.Run("is reported before anything is fetched", func(t *testing.T) {
		dir := disk(t, "512k")
		from.ResetLog()
		_, err := archive.Write(t.Context(), c, client(), archive.WriteOptions{File: filepath.Join(dir, "images.tar")})
		if err == nil || !strings.Contains(err.Error(), "its disk has 512.0 KiB left: free") {
			t.Error(err)
		}
		if n := from.Count("GET", "/blobs/"); n != 0 {
			t.Errorf("%d blobs were fetched", n)
		}
	})
	t.Run("stops the export, which is resumed when there is space", func(t *testing.T) {
		dir := disk(t, "1536k")
		ballast := filepath.Join(dir, "ballast")
		var blobs atomic.Int64
		from.SetFault(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if fakeregistry.IsBlob(r) && blobs.Add(1) == 4 {
				if f, err := os.Create(ballast); err == nil {
					_, _ = io.Copy(f, zeros{}) // until the disk is full
					_ = f.Close()
				}
			}
			next.ServeHTTP(w, r)
		})
		file := filepath.Join(dir, "images.tar")
		_, err := archive.Write(t.Context(), c, client(), archive.WriteOptions{File: file, Parallel: 1})
		if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "are still missing: free some space and run the same command again") {
			t.Fatalf("the error is %v", err)
		}
		t.Log(err)
		from.SetFault(nil)
		removeFile(t, ballast)
		from.ResetLog()
		if s := write(t, c, archive.WriteOptions{File: file}); s.Kept == 0 || from.Count("GET", "/blobs/") == len(c.Blobs) {
			t.Errorf("kept %d", s.Kept)
		}
		if err := open(t, file).Verify(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
