// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime/pprof"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// replica is a running SelfManaged behind a TLS server.
type replica struct {
	*SelfManaged
	addr string
	logs *buffer
	stop func() // ends it and checks that Start returned nil and left nothing running
}

var replicas atomic.Int64

// start runs a replica until the end of the test or until stop.
func start(t *testing.T, a *api, change func(*SelfManagedConfig)) *replica {
	t.Helper()
	r := prepare(t, a, change)
	r.run(t)
	return r
}

// prepare makes a replica and does not run it yet.
func prepare(t *testing.T, a *api, change func(*SelfManagedConfig)) *replica {
	t.Helper()
	logs := &buffer{}
	cfg := SelfManagedConfig{
		RESTConfig: a.restConfig(), Namespace: namespace, SecretName: secretName,
		ConfigurationName: configuration, ServiceName: service,
		Settle: 200 * time.Millisecond, RepairInterval: 100 * time.Millisecond, ConfigurationWait: time.Millisecond,
		Log: slog.New(slog.NewJSONHandler(logs, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	if change != nil {
		change(&cfg)
	}
	s, err := NewSelfManaged(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return &replica{SelfManaged: s, addr: serve(t, s), logs: logs}
}

func (r *replica) run(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	label := fmt.Sprintf("replica-%d-", replicas.Add(1))
	// Goroutines inherit the label, so those of other tests are not counted.
	go pprof.Do(ctx, pprof.Labels("replica", label), func(ctx context.Context) { done <- r.Start(ctx) })
	r.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Start returned %v at the end of its context", err)
			}
		case <-time.After(20 * time.Second):
			t.Error("Start did not return at the end of its context")
		}
		for end := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			left := labelled(t, label)
			if left == "" {
				return
			}
			if time.Now().After(end) {
				t.Errorf("goroutines are left:\n%s", left)
				return
			}
		}
	})
	t.Cleanup(r.stop)
}

// labelled returns the stacks of the goroutines with a label.
func labelled(t *testing.T, label string) string {
	t.Helper()
	var b strings.Builder
	if err := pprof.Lookup("goroutine").WriteTo(&b, 1); err != nil {
		t.Fatal(err)
	}
	var left []string
	for stack := range strings.SplitSeq(b.String(), "\n\n") {
		// Idle connections belong to the HTTP client's pool and time out there.
		if strings.Contains(stack, label) && !strings.Contains(stack, "net/http.(*persistConn)") {
			left = append(left, stack)
		}
	}
	return strings.Join(left, "\n\n")
}

// serve answers TLS handshakes with the certificate of a source.
func serve(t *testing.T, s Source) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &httptest.Server{
		Listener: tls.NewListener(l, &tls.Config{GetCertificate: s.GetCertificate, MinVersion: tls.VersionTLS12}),
		Config:   &http.Server{ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)},
	}
	srv.Start()
	t.Cleanup(srv.Close)
	return l.Addr().String()
}

// handshake is what an API server does that knows the bundles of v.
func handshake(addr string, v view) error {
	for _, e := range v.entries {
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(e.bundle)
		d := net.Dialer{Timeout: 10 * time.Second}
		conn, err := tls.DialWithDialer(&d, "tcp", addr, &tls.Config{RootCAs: pool, ServerName: dnsName})
		if err != nil {
			return err
		}
		if err := conn.Close(); err != nil {
			return err
		}
	}
	return nil
}

func (r *replica) leaf(t *testing.T) *x509.Certificate {
	t.Helper()
	c, err := r.GetCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	return c.Leaf
}

func (r *replica) ready() bool { return r.Ready() == nil }

// eventually fails the test when cond stays false. The limit is generous: it is
// there to end a test that hangs, not to measure.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !cond(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("in vain waited until: %s", what)
		}
	}
}

// never fails the test when cond becomes true within d.
func never(t *testing.T, what string, d time.Duration, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if cond() {
			t.Fatalf("it happened: %s", what)
		}
	}
}

// allHold reports whether there are bundles and each has the CA.
func (a *api) allHold(ca []byte) bool {
	es := a.bundles()
	for _, e := range es {
		if !holds(e.bundle, ca) {
			return false
		}
	}
	return len(es) > 0
}

func (a *api) anyHolds(ca []byte) bool {
	for _, e := range a.bundles() {
		if holds(e.bundle, ca) {
			return true
		}
	}
	return false
}

type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

var _ io.Writer = (*buffer)(nil)

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func encodePair(t *testing.T, c *tls.Certificate) (cert, key []byte) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}
