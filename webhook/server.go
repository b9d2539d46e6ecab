// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// ServerConfig configures Server. Handler, GetCertificate, Ready and Metrics are
// required.
type ServerConfig struct {
	Listen         string // of /mutate, HTTPS; default :9443
	MetricsListen  string // of /metrics, /healthz and /readyz, plain HTTP; default :8080
	Handler        http.Handler
	GetCertificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	Ready          func() error // nil when the certificate may be used
	Metrics        *Metrics
	Log            *slog.Logger // default: discards

	// Drain is how long the server continues to serve after its context has ended:
	// the time that the removal of its endpoint may take to reach every API server.
	// Default 10s.
	Drain time.Duration
	// Grace is how long reviews in progress may then take. Default 25s. The sum of
	// Drain and Grace must be below terminationGracePeriodSeconds.
	Grace time.Duration
}

// Server serves admission reviews over HTTPS, and probes and metrics over HTTP.
type Server struct {
	config           ServerConfig
	draining         atomic.Bool
	connections      *connections
	limited          *slog.Logger // of lines that every client can cause
	notReady         atomic.Value // string: the reason that was logged last
	reviews, metrics net.Listener
}

// NewServer validates the configuration and listens on both addresses.
func NewServer(c ServerConfig) (*Server, error) {
	if c.Handler == nil || c.GetCertificate == nil || c.Ready == nil || c.Metrics == nil {
		return nil, errors.New("webhook server: Handler, GetCertificate, Ready and Metrics are required")
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	defaults := func(s *string, d string) {
		if *s == "" {
			*s = d
		}
	}
	defaults(&c.Listen, ":9443")
	defaults(&c.MetricsListen, ":8080")
	if c.Drain == 0 {
		c.Drain = 10 * time.Second
	}
	if c.Grace == 0 {
		c.Grace = 25 * time.Second
	}
	s := &Server{config: c, connections: newConnections(maxReviews, minReviewStay), limited: limitRate(c.Log, clientLinesPerSecond, clientLinesBurst)}
	var err error
	if s.reviews, err = net.Listen("tcp", c.Listen); err != nil {
		return nil, fmt.Errorf("--listen: %w: choose a free address and port", err)
	}
	if s.metrics, err = net.Listen("tcp", c.MetricsListen); err != nil {
		_ = s.reviews.Close()
		return nil, fmt.Errorf("--metrics-listen: %w: choose a free address and port", err)
	}
	return s, nil
}

// ReviewAddr is the address of the HTTPS listener.
func (s *Server) ReviewAddr() string { return s.reviews.Addr().String() }

// MetricsAddr is the address of the listener for probes and metrics.
func (s *Server) MetricsAddr() string { return s.metrics.Addr().String() }

// Run serves until ctx ends, and then drains: /readyz fails, responses have
// "Connection: close" for the time of Drain, and Run returns when the last review
// is answered. It returns the error of a listener that fails before. To disable
// keep-alives instead would close idle connections at once, which races with
// requests that are being sent.
func (s *Server) Run(ctx context.Context) error {
	mux := http.NewServeMux()
	mux.Handle("/mutate", s.config.Handler)
	reviews := s.httpServer(s.closing(mux), s.connections)
	reviews.TLSConfig = &tls.Config{GetCertificate: s.config.GetCertificate, MinVersion: tls.VersionTLS12, CipherSuites: authenticated()}
	reviews.ErrorLog = log.New(&tlsErrors{s.limited, s.config.Metrics}, "", 0)
	probes := s.httpServer(s.probes(), newConnections(maxProbes, minProbeStay))
	probes.ErrorLog = slog.NewLogLogger(s.config.Log.Handler(), slog.LevelDebug)
	group, failed := errgroup.WithContext(context.WithoutCancel(ctx))
	group.Go(func() error { return s.served(reviews.ServeTLS(s.reviews, "", "")) })
	group.Go(func() error { return s.served(probes.Serve(s.metrics)) })
	group.Go(func() error {
		select {
		case <-ctx.Done():
			s.drain(failed, reviews)
		case <-failed.Done(): // a listener failed: close the other
			_ = reviews.Close()
		}
		return probes.Close()
	})
	s.config.Log.Info("serving", "reviews", s.ReviewAddr(), "metrics", s.MetricsAddr())
	return group.Wait()
}

// The limits of connections: about 40 KiB each. Above them, those that have waited
// longest are closed, if they have waited for the minimum.
const (
	maxReviews = 512 // an API server keeps up to 25 idle, and has up to 200 writes in progress
	maxProbes  = 64

	minReviewStay = 250 * time.Millisecond // in a burst of connections, the TLS handshake of an API server takes longer
	minProbeStay  = 10 * time.Millisecond  // a client of plain HTTP sends its request at once
)

// httpServer returns a server for clients without credentials: every pod of the
// cluster may connect.
func (s *Server) httpServer(h http.Handler, c *connections) *http.Server {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true) // the API server speaks HTTP/1.1 to webhooks
	return &http.Server{
		Handler: h, Protocols: protocols, ConnState: c.changed,
		// Above the configuration's timeoutSeconds, below any hang. The API
		// server drops idle connections after 90s; letting the client close
		// first avoids a race.
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second, IdleTimeout: 120 * time.Second,
		MaxHeaderBytes: 8 << 10, // those of the API server have about 300 bytes
	}
}

// authenticated returns the cipher suites of TLS 1.2 that authenticate data as they
// encrypt them. TLS 1.3 has no others.
func authenticated() []uint16 {
	return []uint16{
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
		tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
	}
}

func (s *Server) drain(failed context.Context, reviews *http.Server) {
	s.draining.Store(true)
	s.config.Log.Info("draining", "for", s.config.Drain.String())
	select {
	case <-time.After(s.config.Drain):
	case <-failed.Done():
	}
	// Not http.Server.Shutdown: it leaves connections that were not used yet open
	// for five seconds, and drops the requests that arrive on them unanswered.
	_ = s.reviews.Close()
	if n := s.connections.waitForActive(s.config.Grace); n > 0 {
		s.config.Log.Warn("some reviews were cut off", "count", n)
	}
	_ = reviews.Close()
	s.config.Log.Info("stopped")
}

// closing sets "Connection: close" while draining, so that clients open a new
// connection, to another replica.
func (s *Server) closing(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.draining.Load() {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}

func (s *Server) probes() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", s.config.Metrics.Handler())
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("ok\n")) // the process answers; nothing else may restart it
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		switch err := s.config.Ready(); {
		case s.draining.Load():
			http.Error(w, "draining", http.StatusServiceUnavailable)
		case err != nil:
			// The error may have addresses and names of the cluster, and this port
			// asks for no credentials.
			if reason := err.Error(); s.notReady.Swap(reason) != reason {
				s.limited.Warn("not ready", "error", reason)
			}
			http.Error(w, "not ready: see the log", http.StatusServiceUnavailable)
		default:
			s.notReady.Store("")
			_, _ = w.Write([]byte("ok\n"))
		}
	})
	return mux
}

// served returns the error that ended a listener, nil if the server closed it.
func (s *Server) served(err error) error {
	if errors.Is(err, http.ErrServerClosed) || s.draining.Load() && errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// tlsErrors handles the lines of net/http's error log. The important one is of a
// client that does not trust the serving certificate, as the API server does not
// if its caBundle is wrong.
type tlsErrors struct {
	log     *slog.Logger
	metrics *Metrics
}

func (t *tlsErrors) Write(p []byte) (int, error) {
	line := strings.TrimSpace(string(p))
	if strings.Contains(line, "remote error: tls: bad certificate") || strings.Contains(line, "remote error: tls: unknown certificate authority") {
		t.metrics.distrust.Inc()
		t.log.Warn("a client does not trust the serving certificate; if it is the API server, compare caBundle with it", "error", line)
	} else {
		t.log.Debug("connection failed", "error", line)
	}
	return len(p), nil
}
