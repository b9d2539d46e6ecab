// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// folder is a mounted Secret.
type folder string

func (f folder) cert() string { return filepath.Join(string(f), "tls.crt") }
func (f folder) key() string  { return filepath.Join(string(f), "tls.key") }

func (f folder) write(t *testing.T, cert, key []byte) {
	t.Helper()
	for name, b := range map[string][]byte{f.cert(): cert, f.key(): key} {
		tmp := name + ".tmp"
		if err := os.WriteFile(tmp, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(tmp, name); err != nil {
			t.Fatal(err)
		}
	}
}

func (f folder) source(t *testing.T) (*Files, error) {
	t.Helper()
	return NewFiles(FilesConfig{CertFile: f.cert(), KeyFile: f.key(), Interval: 20 * time.Millisecond})
}

// started runs a source until the end of the test.
func started(t *testing.T, f *Files) *Files {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- f.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Start returned %v", err)
		}
	})
	return f
}

func subject(f *Files) string {
	c, err := f.GetCertificate(nil)
	if err != nil {
		return err.Error()
	}
	return c.Leaf.Subject.CommonName
}

func TestFilesAtStart(t *testing.T) {
	t.Parallel()
	cert, key := testCA(t, "one", time.Hour)
	_, otherKey := testCA(t, "two", time.Hour)
	oldCert, oldKey := testCA(t, "old", -time.Hour)
	for name, tc := range map[string]struct {
		write       func(*testing.T, folder)
		fails       string
		unready     string
		withoutName bool
	}{
		"that fit are served at once":             {write: func(t *testing.T, f folder) { f.write(t, cert, key) }},
		"that are missing are waited for":         {write: func(*testing.T, folder) {}, unready: "mount the Secret, or write both files"},
		"that are half there are waited for":      {write: func(t *testing.T, f folder) { f.write(t, cert, key); _ = os.Remove(f.key()) }, unready: "mount the Secret"},
		"that do not fit are an error":            {write: func(t *testing.T, f folder) { f.write(t, cert, otherKey) }, fails: "private key that belongs to it"},
		"that are no PEM are an error":            {write: func(t *testing.T, f folder) { f.write(t, []byte("x"), key) }, fails: "tls.crt and key file"},
		"that have expired are reported by Ready": {write: func(t *testing.T, f folder) { f.write(t, oldCert, oldKey) }, unready: "tls.crt expired at"},
	} {
		t.Run(name, func(t *testing.T) {
			f := folder(t.TempDir())
			tc.write(t, f)
			src, err := f.source(t)
			if tc.fails != "" {
				if err == nil || !strings.Contains(err.Error(), tc.fails) || !strings.Contains(err.Error(), f.cert()) || !strings.Contains(err.Error(), f.key()) {
					t.Errorf("got %v, want %q and both names", err, tc.fails)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			err = src.Ready()
			if leafEnd, _ := src.Expiry(); tc.unready == "" && (err != nil || subject(src) != "one" || leafEnd.IsZero()) {
				t.Errorf("not ready at once: %v", err)
			}
			if tc.unready != "" && (err == nil || !strings.Contains(err.Error(), tc.unready)) {
				t.Errorf("got %v, want %q", err, tc.unready)
			}
		})
	}
	if _, err := NewFiles(FilesConfig{CertFile: "x"}); err == nil {
		t.Error("a key file is required")
	}
}

func TestFilesReload(t *testing.T) {
	t.Parallel()
	f := folder(t.TempDir())
	cert, key := testCA(t, "one", time.Hour)
	next, nextKey := testCA(t, "two", 2*time.Hour)
	last, lastKey := testCA(t, "three", 3*time.Hour)
	f.write(t, cert, key)
	logs := &buffer{}
	src, err := NewFiles(FilesConfig{
		CertFile: f.cert(), KeyFile: f.key(), Interval: 5 * time.Millisecond,
		Log: slog.New(slog.NewJSONHandler(logs, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	started(t, src)
	before, _ := src.Expiry()
	f.write(t, next, nextKey)
	eventually(t, "the new pair is served", func() bool { return subject(src) == "two" })
	if leafEnd, caEnd := src.Expiry(); !leafEnd.After(before) || !caEnd.IsZero() {
		t.Errorf("expiry of the leaf %v, before %v; of the CA %v, which is not known", leafEnd, before, caEnd)
	}

	// A source of cert-manager gives up after twelve failures; this is far more.
	f.write(t, next, lastKey)
	never(t, "a broken pair replaces a good one", 400*time.Millisecond, func() bool { return subject(src) != "two" || src.Ready() != nil })
	f.write(t, last, lastKey)
	eventually(t, "a good pair is served again", func() bool { return subject(src) == "three" })
	if n := strings.Count(logs.String(), `"level":"WARN"`); n == 0 || n > 4 {
		t.Errorf("%d warnings:\n%s", n, logs)
	}
	if strings.Contains(logs.String(), "PRIVATE KEY") {
		t.Error("the log holds a key")
	}

	if err := os.Remove(f.cert()); err != nil {
		t.Fatal(err)
	}
	never(t, "a removed file takes the certificate away", 100*time.Millisecond, func() bool { return src.Ready() != nil })
}

func TestFilesAreReadEveryTenSecondsByDefault(t *testing.T) {
	t.Parallel()
	f := folder(t.TempDir())
	for given, want := range map[time.Duration]time.Duration{0: 10 * time.Second, -1: 10 * time.Second, time.Minute: time.Minute} {
		src, err := NewFiles(FilesConfig{CertFile: f.cert(), KeyFile: f.key(), Interval: given})
		if err != nil || src.cfg.Interval != want || src.source.UpdateInterval != want {
			t.Errorf("interval %s: error %v, have %s", given, err, src.cfg.Interval)
		}
	}
}

func TestFilesCreatedLater(t *testing.T) {
	t.Parallel()
	f := folder(t.TempDir())
	// Files are served when they come, not an interval later.
	src, err := NewFiles(FilesConfig{CertFile: f.cert(), KeyFile: f.key(), Interval: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	started(t, src)
	never(t, "ready without files", 100*time.Millisecond, func() bool { return src.Ready() == nil })
	cert, key := testCA(t, "late", time.Hour)
	f.write(t, cert, key)
	eventually(t, "ready", func() bool { return src.Ready() == nil && subject(src) == "late" })
}

func TestFilesServeHandshakes(t *testing.T) {
	t.Parallel()
	f := folder(t.TempDir())
	a := newAPI(t)
	r := start(t, a, nil) // any issuer will do
	eventually(t, "ready", r.ready)
	pair, err := r.GetCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	cert, key := encodePair(t, pair)
	f.write(t, cert, key)
	began := time.Now()
	src, err := f.source(t)
	if err != nil {
		t.Fatal(err)
	}
	addr := serve(t, started(t, src))
	if err := handshake(addr, view{entries: []entry{{"pods", a.ca()}}}); err != nil {
		t.Error(err)
	}
	t.Logf("from nothing to a first handshake in %s", time.Since(began))
}
