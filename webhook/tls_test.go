// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestASilentClientIsDropped(t *testing.T) {
	cert, roots := identity(t)
	for name, begin := range map[string]string{
		"before it says hello":         "",
		"within the head of a request": "POST /mutate HTTP/1.1\r\n",
		"within the body":              "POST /mutate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := run(t, cert, roots, nil)
				c, err := r.reviews.dial(t.Context(), "", "")
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				if begin != "" {
					c = tls.Client(c, &tls.Config{RootCAs: roots, ServerName: "example.com"})
					if _, err := io.WriteString(c, begin); err != nil {
						t.Fatal(err)
					}
				}
				start := time.Now()
				_, _ = io.Copy(io.Discard, c) // until the server closes
				if waited := time.Since(start); waited > 15*time.Second {
					t.Errorf("it was kept for %v", waited)
				}
			})
		})
	}
}

func TestClientsThatDistrustTheCertificateAreCounted(t *testing.T) {
	cert, roots := identity(t)
	for name, tc := range map[string]struct {
		client *tls.Config // nil: no TLS at all
		counts float64
	}{
		"one with another CA":           {&tls.Config{RootCAs: x509.NewCertPool(), ServerName: "example.com"}, 1},
		"one that expects another name": {&tls.Config{RootCAs: roots, ServerName: "webhook.other.svc"}, 1},
		"one with another CA, TLS 1.2":  {&tls.Config{RootCAs: x509.NewCertPool(), ServerName: "example.com", MaxVersion: tls.VersionTLS12}, 1},
		"not one that trusts it":        {&tls.Config{RootCAs: roots, ServerName: "example.com"}, 0},
		"not one that speaks no TLS":    {nil, 0},
		"not one that speaks TLS 1.1":   {&tls.Config{RootCAs: roots, ServerName: "example.com", MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, 0},
		"not one that offers no cipher": {&tls.Config{RootCAs: roots, ServerName: "example.com", MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_RSA_WITH_RC4_128_SHA}}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := run(t, cert, roots, nil)
				c, err := r.reviews.dial(t.Context(), "", "")
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				if tc.client == nil {
					_, _ = io.WriteString(c, "GET / HTTP/1.1\r\n\r\n")
				} else if err := tls.Client(c, tc.client).HandshakeContext(t.Context()); (err == nil) != strings.Contains(name, "trusts it") {
					t.Errorf("handshake: %v", err)
				}
				_ = c.Close()
				synctest.Wait()
				expectMetrics(t, r.config.Metrics, map[string]float64{"privatelink_tls_distrusted_total": tc.counts})
				if warned := strings.Contains(r.log.String(), "does not trust the serving certificate"); warned != (tc.counts == 1) {
					t.Errorf("the log:\n%s", r.log)
				}
			})
		})
	}
}

func TestOnlyHTTP1AndAuthenticatedCiphersAreOffered(t *testing.T) {
	cert, roots := identity(t)
	const version12 = tls.VersionTLS12
	for name, tc := range map[string]struct {
		client   *tls.Config
		accepted bool
	}{
		"TLS 1.3":                           {&tls.Config{MinVersion: tls.VersionTLS13}, true},
		"HTTP/1.1":                          {&tls.Config{NextProtos: []string{"http/1.1"}}, true},
		"HTTP/2 only":                       {&tls.Config{NextProtos: []string{"h2"}}, false},
		"TLS 1.2 with GCM":                  {&tls.Config{MaxVersion: version12, CipherSuites: []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}}, true},
		"TLS 1.2 with ChaCha20-Poly1305":    {&tls.Config{MaxVersion: version12, CipherSuites: []uint16{tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256}}, true},
		"TLS 1.2 with CBC":                  {&tls.Config{MaxVersion: version12, CipherSuites: []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA}}, false},
		"TLS 1.2 without a forward secrecy": {&tls.Config{MaxVersion: version12, CipherSuites: []uint16{tls.TLS_RSA_WITH_AES_128_GCM_SHA256}}, false},
		"TLS 1.1, with every suite of Go's": {&tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := run(t, cert, roots, nil)
				c, err := r.reviews.dial(t.Context(), "", "")
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				tc.client.RootCAs, tc.client.ServerName = roots, "example.com"
				client := tls.Client(c, tc.client)
				if err := client.HandshakeContext(t.Context()); (err == nil) != tc.accepted {
					t.Errorf("handshake: %v", err)
				}
				if p := client.ConnectionState().NegotiatedProtocol; p == "h2" {
					t.Errorf("%q was negotiated", p)
				}
			})
		})
	}
}

func TestTheCertificateOfTheMomentIsServedOverHTTP1(t *testing.T) {
	one, roots := identity(t)
	two := selfSigned(t)
	twoRoots := x509.NewCertPool()
	twoRoots.AddCert(two.Leaf)
	synctest.Test(t, func(t *testing.T) {
		now := &one
		r := run(t, one, roots, func(c *ServerConfig) {
			c.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return now, nil }
		})
		shake := func(roots *x509.CertPool) error {
			c, err := r.reviews.dial(t.Context(), "", "")
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			client := tls.Client(c, &tls.Config{RootCAs: roots, ServerName: "example.com", NextProtos: []string{"h2", "http/1.1"}})
			if err := client.HandshakeContext(t.Context()); err != nil {
				return err
			}
			if p := client.ConnectionState().NegotiatedProtocol; p != "http/1.1" {
				t.Errorf("%q was negotiated", p)
			}
			return nil
		}
		if err := shake(roots); err != nil {
			t.Error(err)
		}
		now = &two
		if err := shake(twoRoots); err != nil {
			t.Error(err)
		}
		if err := shake(roots); err == nil {
			t.Error("the old certificate is still served")
		}
	})
}
