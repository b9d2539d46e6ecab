// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/castai/privatelink-webhook/internal/testutil/corpus"
)

// network is a listener whose connections stay inside the process, so that a
// bubble of testing/synctest can own the server: its clock then jumps over the
// ten seconds of a drain, and a goroutine that outlives the server fails the
// test. Its connections have no buffer: where both sides say goodbye at once,
// TLS gives up after five seconds.
type network struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newNetwork() *network { return &network{conns: make(chan net.Conn), done: make(chan struct{})} }

func (n *network) Accept() (net.Conn, error) {
	select {
	case c := <-n.conns:
		return c, nil
	case <-n.done:
		return nil, net.ErrClosed
	}
}

func (n *network) Close() error {
	n.once.Do(func() { close(n.done) })
	return nil
}

func (n *network) Addr() net.Addr { return &net.UnixAddr{Name: "inside", Net: "pipe"} }

var errRefused = errors.New("connection refused")

func (n *network) dial(context.Context, string, string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case n.conns <- server:
		return client, nil
	case <-n.done:
		return nil, errRefused
	}
}

// identity is a certificate, and what a client must trust to accept it.

func identity(t testing.TB) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	s := httptest.NewTLSServer(nil)
	defer s.Close()
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	return s.TLS.Certificates[0], roots
}

// running is a Server inside a bubble.

type running struct {
	*Server
	stop    context.CancelFunc // as SIGTERM does
	ended   chan struct{}
	err     error // of Run, once it ended
	log     *journal
	reviews *network
	probes  *http.Client
	client  *http.Client
}

// run starts a server on in-process networks, with the changes to its

// configuration that a test wants.

func run(t *testing.T, cert tls.Certificate, roots *x509.CertPool, change func(*ServerConfig)) *running {
	t.Helper()
	r := &running{ended: make(chan struct{}), log: &journal{}, reviews: newNetwork()}
	m := NewMetrics("test")
	h, err := NewHandler(HandlerConfig{Patcher: fixed(testPatcher(t)), Metrics: m})
	if err != nil {
		t.Fatal(err)
	}
	c := ServerConfig{
		Listen: "127.0.0.1:0", MetricsListen: "127.0.0.1:0", Handler: h, Metrics: m,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &cert, nil },
		Ready:          func() error { return nil },
		Log:            slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	if change != nil {
		change(&c)
	}
	if r.Server, err = NewServer(c); err != nil {
		t.Fatal(err)
	}
	metrics := newNetwork()
	_, _ = r.Server.reviews.Close(), r.Server.metrics.Close()
	r.Server.reviews, r.Server.metrics = r.reviews, metrics

	r.client = &http.Client{Transport: &http.Transport{DialContext: r.reviews.dial, TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "example.com"}}}
	r.probes = &http.Client{Transport: &http.Transport{DialContext: metrics.dial}}
	var ctx context.Context
	ctx, r.stop = context.WithCancel(t.Context())
	go func() {
		r.err = r.Run(ctx)
		close(r.ended)
	}()
	synctest.Wait()
	t.Cleanup(func() {
		r.client.CloseIdleConnections()
		r.probes.CloseIdleConnections()
		r.stop()
		<-r.ended
	})
	return r
}

// probe requests a path on the port of probes and metrics.

func (r *running) probe(t *testing.T, method, path string) (status int, text string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, "http://probes"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := r.probes.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

// send sends one review.

func (r *running) send() (closing bool, err error) {
	response, err := r.client.Post("https://webhook/mutate", "application/json", bytes.NewReader(createReview("1", corpus.Pods()["minimal"])))
	if err != nil {
		return false, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && (response.StatusCode != http.StatusOK || !bytes.Contains(body, []byte(`"allowed":true`))) {
		err = errors.New(response.Status + ": " + string(body))
	}
	return response.Close, err
}

func (r *running) mustAsk(t *testing.T, closing bool) {
	t.Helper()
	if got, err := r.send(); err != nil || got != closing {
		t.Errorf("answered %v with Connection: close %v, want %v", err, got, closing)
	}
}

func TestProbesAndMetricsHaveAPortOfTheirOwn(t *testing.T) {
	cert, roots := identity(t)
	synctest.Test(t, func(t *testing.T) {
		var notReady error
		r := run(t, cert, roots, func(c *ServerConfig) { c.Ready = func() error { return notReady } })
		expect := func(method, path string, status int, says string) {
			t.Helper()
			if got, text := r.probe(t, method, path); got != status || !strings.Contains(text, says) || strings.Contains(text, "10.9.8.7") {
				t.Errorf("%s %s: HTTP %d, %.200q, want %d with %q", method, path, got, text, status, says)
			}
		}
		expect("GET", "/readyz", 200, "ok")
		expect("GET", "/healthz", 200, "ok")
		notReady = errors.New("no certificate yet: Get https://10.9.8.7:443: refused")
		for range 3 {
			expect("GET", "/readyz", 503, "not ready: see the log\n")
		}
		if n := strings.Count(r.log.String(), "no certificate yet: Get https://10.9.8.7:443"); n != 1 {
			t.Errorf("the reason is %d times in the log, want once:\n%s", n, r.log)
		}
		expect("GET", "/healthz", 200, "ok") // or the process would be restarted, which cures nothing
		notReady = nil
		expect("GET", "/readyz", 200, "ok")
		r.mustAsk(t, false)
		expect("GET", "/metrics", 200, `privatelink_reviews_total{operation="create",result="rewritten"} 1`)
		expect("GET", "/metrics", 200, `privatelink_build_info{version="test"} 1`)
		expect("GET", "/mutate", 404, "")
		expect("GET", "/", 404, "")
		expect("POST", "/readyz", 405, "")

		for _, path := range []string{"/metrics", "/readyz", "/healthz", "/"} {
			response, err := r.client.Get("https://webhook" + path)
			if err != nil {
				t.Fatal(err)
			}
			if _ = response.Body.Close(); response.StatusCode != http.StatusNotFound {
				t.Errorf("HTTP %d for %s on the port of the reviews", response.StatusCode, path)
			}
		}
	})
}

func TestServerDrainsWhenItsContextEnds(t *testing.T) {
	cert, roots := identity(t)
	synctest.Test(t, func(t *testing.T) {
		r := run(t, cert, roots, nil)
		r.mustAsk(t, false)
		r.stop()
		synctest.Wait()

		if status, text := r.probe(t, "GET", "/readyz"); status != 503 || !strings.Contains(text, "draining") {
			t.Errorf("readyz: HTTP %d, %q", status, text)
		}
		if status, _ := r.probe(t, "GET", "/healthz"); status != 200 {
			t.Errorf("healthz: HTTP %d", status)
		}
		r.mustAsk(t, true) // over the connection of before
		r.mustAsk(t, true) // over a new one: the endpoint is still known to the API server

		time.Sleep(10*time.Second - time.Nanosecond)
		r.mustAsk(t, true)
		select {
		case <-r.ended:
			t.Fatalf("it ended before its time: %v", r.err)
		default:
		}
		if <-r.ended; r.err != nil {
			t.Errorf("Run returned %v", r.err)
		}
		if _, err := r.send(); !errors.Is(err, errRefused) {
			t.Errorf("a stopped server answered: %v", err)
		}
	})
}

func TestAReviewThatIsUnderWayIsAnswered(t *testing.T) {
	cert, roots := identity(t)
	for name, tc := range map[string]struct {
		takes    time.Duration
		answered bool
	}{
		"when it ends within the drain":       {9 * time.Second, true},
		"when it ends within the grace after": {20 * time.Second, true},
		"but not when it takes longer still":  {60 * time.Second, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := run(t, cert, roots, func(c *ServerConfig) {
					inner := c.Handler
					c.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						_ = http.NewResponseController(w).SetWriteDeadline(time.Time{}) // this test is not about timeouts
						body, _ := io.ReadAll(r.Body)
						r.Body = io.NopCloser(bytes.NewReader(body))
						select {
						case <-time.After(tc.takes):
							inner.ServeHTTP(w, r)
						case <-r.Context().Done():
						}
					})
				})
				answer := make(chan error, 1)
				go func() {
					_, err := r.send()
					answer <- err
				}()
				synctest.Wait()
				r.stop()
				if err := <-answer; (err == nil) != tc.answered {
					t.Errorf("the answer: %v", err)
				}
				if <-r.ended; r.err != nil {
					t.Errorf("Run returned %v", r.err)
				}
				if cut := strings.Contains(r.log.String(), "some reviews were cut off"); cut == tc.answered {
					t.Errorf("the log:\n%s", r.log)
				}
			})
		})
	}
}

func TestABrokenListenerEndsTheServer(t *testing.T) {
	cert, roots := identity(t)
	for name, broken := range map[string]func(*running) net.Listener{
		"that of the reviews": func(r *running) net.Listener { return r.Server.reviews },
		"that of the probes":  func(r *running) net.Listener { return r.Server.metrics },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := run(t, cert, roots, nil)
				_ = broken(r).Close()
				if <-r.ended; !errors.Is(r.err, net.ErrClosed) {
					t.Errorf("Run returned %v", r.err)
				}
				if _, err := r.send(); err == nil {
					t.Error("the other port still serves")
				}
			})
		})
	}
}

func TestAPortThatIsTakenIsNamedByItsFlag(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for flag, change := range map[string]func(*ServerConfig){
		"--listen":         func(c *ServerConfig) { c.Listen = taken.Addr().String() },
		"--metrics-listen": func(c *ServerConfig) { c.MetricsListen = taken.Addr().String() },
	} {
		t.Run(flag, func(t *testing.T) {
			c := ServerConfig{
				Listen: "127.0.0.1:0", MetricsListen: "127.0.0.1:0", Handler: http.NotFoundHandler(), Metrics: NewMetrics(""),
				GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, nil }, Ready: func() error { return nil },
			}
			change(&c)
			_, err := NewServer(c)
			if err == nil || !strings.HasPrefix(err.Error(), flag+": ") || !strings.Contains(err.Error(), taken.Addr().String()) {
				t.Errorf("the error is %v", err)
			}
		})
	}
}

func TestAServerRequiresItsFields(t *testing.T) {
	whole := ServerConfig{
		Handler: http.NotFoundHandler(), Metrics: NewMetrics(""), Ready: func() error { return nil },
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, nil },
	}
	for part, without := range map[string]func(*ServerConfig){
		"Handler": func(c *ServerConfig) { c.Handler = nil }, "Metrics": func(c *ServerConfig) { c.Metrics = nil },
		"Ready": func(c *ServerConfig) { c.Ready = nil }, "GetCertificate": func(c *ServerConfig) { c.GetCertificate = nil },
	} {
		c := whole
		without(&c)
		if _, err := NewServer(c); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("without %s: %v", part, err)
		}
	}
}

// http.Server.Shutdown would drop this request, having read it.
func TestARequestOnAConnectionNotUsedBeforeIsAnsweredUntilTheEnd(t *testing.T) {
	cert, roots := identity(t)
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		r := run(t, cert, roots, func(c *ServerConfig) {
			inner := c.Handler
			c.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.RawQuery == "slow" {
					<-release
				}
				inner.ServeHTTP(w, r)
			})
		})
		r.stop()
		time.Sleep(9 * time.Second)
		slow := make(chan error, 1)
		go func(client *http.Client) {
			response, err := client.Post("https://webhook/mutate?slow", "application/json", strings.NewReader("{}"))
			if err == nil {
				_ = response.Body.Close()
			}
			slow <- err
		}(r.client)
		raw, err := r.reviews.dial(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		unused := tls.Client(raw, &tls.Config{RootCAs: roots, ServerName: "example.com"})
		if err := unused.HandshakeContext(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second) // the drain is over, the slow review is not

		if _, err := r.reviews.dial(t.Context(), "", ""); !errors.Is(err, errRefused) {
			t.Errorf("a new connection is accepted: %v", err)
		}
		r.client = &http.Client{Transport: &http.Transport{DialTLSContext: func(context.Context, string, string) (net.Conn, error) { return unused, nil }}}
		r.mustAsk(t, true)
		close(release)
		if err := <-slow; err != nil {
			t.Error(err)
		}
		if <-r.ended; r.err != nil {
			t.Errorf("Run returned %v", r.err)
		}
	})
}
