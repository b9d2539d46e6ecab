// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"

	"github.com/castai/privatelink-webhook/internal/testutil/corpus"
)

// service stands for a Kubernetes Service: the addresses that new connections
// are led to in turn. An address leaves it some time after its readiness fails,
// as the news must travel to the API server.
type service struct {
	mu    sync.Mutex
	addrs []string
	next  int
}

const news = 100 * time.Millisecond

func (s *service) add(addr string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addrs = append(s.addrs, addr)
}

func (s *service) remove(addr string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addrs = slices.DeleteFunc(s.addrs, func(a string) bool { return a == addr })
}

func (s *service) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	s.mu.Lock()
	if len(s.addrs) == 0 {
		s.mu.Unlock()
		return nil, errors.New("no endpoint")
	}
	s.next++
	addr := s.addrs[s.next%len(s.addrs)]
	s.mu.Unlock()
	return new(net.Dialer).DialContext(ctx, "tcp", addr)
}

// replica is one server behind the service.
type replica struct {
	stop context.CancelFunc
	done chan error
}

// start runs a replica and, like a kubelet, adds it to the service while its
// readiness probe succeeds.
func (s *service) start(t *testing.T, cert *tls.Certificate, drain, grace time.Duration) replica {
	t.Helper()
	m := NewMetrics("test")
	h, err := NewHandler(HandlerConfig{Patcher: fixed(testPatcher(t)), Metrics: m})
	if err != nil {
		t.Fatal(err)
	}
	server, err := NewServer(ServerConfig{
		Listen: "127.0.0.1:0", MetricsListen: "127.0.0.1:0", Handler: h, Metrics: m, Drain: drain, Grace: grace,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return cert, nil },
		Ready:          func() error { return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	r := replica{stop: cancel, done: make(chan error, 1)}
	go func() { r.done <- server.Run(ctx) }()

	s.add(server.ReviewAddr())
	go func() {
		for ready(server.MetricsAddr()) {
			time.Sleep(5 * time.Millisecond) // the period of the probe
		}
		time.AfterFunc(news, func() { s.remove(server.ReviewAddr()) })
	}()
	return r
}

func ready(addr string) bool {
	response, err := http.Get("http://" + addr + "/readyz")
	if err != nil {
		return false
	}
	_ = response.Body.Close()
	return response.StatusCode == http.StatusOK
}

const workers = 8

// apiServer calls the service as the API server calls a webhook: HTTP/1.1 kept
// alive over TLS, several calls at a time, three seconds for each, none twice.
// Unlike the API server it keeps no more connections than it needs. One that is
// idle for all of the drain is closed at its end, which a call that starts at
// that instant can always lose; it takes a busy machine and a short drain.
type apiServer struct {
	client   *http.Client
	body     []byte
	answered chan struct{}
	lost     atomic.Int64
	first    atomic.Pointer[error]
}

func newAPIServer(s *service, roots *x509.CertPool) *apiServer {
	return &apiServer{
		client: &http.Client{Timeout: 3 * time.Second, Transport: &http.Transport{
			DialContext: s.dial, MaxConnsPerHost: workers, MaxIdleConnsPerHost: workers, IdleConnTimeout: 90 * time.Second,
			TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "example.com", NextProtos: []string{"http/1.1"}},
		}},
		body:     createReview("1", corpus.Pods()["agent"]),
		answered: make(chan struct{}),
	}
}

func (a *apiServer) call() error {
	response, err := a.client.Post("https://webhook.castai-privatelink.svc/mutate?timeout=3s", "application/json", bytes.NewReader(a.body))
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	var review admissionv1.AdmissionReview
	if err := json.Unmarshal(text, &review); err != nil || review.Response == nil || len(review.Response.Patch) < 10 {
		return fmt.Errorf("HTTP %d: %v: %.200s", response.StatusCode, err, text)
	}
	return nil
}

// load calls until the context ends.
func (a *apiServer) load(ctx context.Context) *sync.WaitGroup {
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for ctx.Err() == nil {
				if err := a.call(); err != nil {
					a.lost.Add(1)
					a.first.CompareAndSwap(nil, &err)
					continue
				}
				select {
				case a.answered <- struct{}{}:
				default:
				}
			}
		})
	}
	return &wg
}

// see waits for a number of answers.
func (a *apiServer) see(n int) {
	for range n {
		<-a.answered
	}
}

// rollingRestart replaces two replicas one after the other, under load, and
// returns how many calls were lost.
func rollingRestart(t *testing.T, drain, grace time.Duration) (lost int64, first error) {
	t.Helper()
	cert, roots := identity(t)
	s := &service{}
	replicas := []replica{s.start(t, &cert, drain, grace), s.start(t, &cert, drain, grace)}
	api := newAPIServer(s, roots)
	ctx, cancel := context.WithCancel(t.Context())
	load := api.load(ctx)
	api.see(100)
	for _, old := range replicas {
		replicas = append(replicas, s.start(t, &cert, drain, grace)) // maxSurge 1, maxUnavailable 0
		api.see(50)
		old.stop()
		if err := <-old.done; err != nil {
			t.Errorf("Run returned %v", err)
		}
		api.see(50)
	}
	cancel()
	load.Wait()
	api.client.CloseIdleConnections()
	for _, r := range replicas[2:] {
		r.stop()
	}
	for _, r := range replicas[2:] {
		if err := <-r.done; err != nil {
			t.Errorf("Run returned %v", err)
		}
	}
	if err := api.first.Load(); err != nil {
		first = *err
	}
	return api.lost.Load(), first
}

func TestARollingRestart(t *testing.T) {
	t.Run("loses no review", func(t *testing.T) {
		if lost, first := rollingRestart(t, 15*news, 5*time.Second); lost > 0 {
			t.Errorf("%d reviews were lost, the first because: %v", lost, first)
		}
	})
	t.Run("loses some without the drain, so the test would notice", func(t *testing.T) {
		lost, first := rollingRestart(t, 1, 1)
		if t.Logf("%d reviews were lost, the first because: %v", lost, first); lost == 0 {
			t.Error("none was lost")
		}
	})
}
