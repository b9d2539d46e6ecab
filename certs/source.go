// SPDX-License-Identifier: Apache-2.0

// Package certs yields the certificate that the webhook serves, and says
// whether the API server is able to trust it.
//
// There are two sources. [SelfManaged] is an authority of our own, kept in one
// Secret and shared by all replicas, under one rule: publish before sign. A leaf
// is used only after the API server was told to trust the CA behind it, so a
// rotation has no moment in which a call fails. [Files] serves a pair that
// somebody else renews, such as cert-manager through a mounted Secret. [Reset]
// revokes a CA that leaked.
//
// The care for the CA, renewal and file reading are cert-manager's own
// serving-certificate packages. They promise no stable API, therefore no other package of ours
// imports them.
package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"time"
)

// Source yields the serving certificate and says whether it may be used.
type Source interface {
	// GetCertificate fits tls.Config. It fails as long as there is nothing to serve.
	GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// Start keeps the certificate up to date until ctx ends, and then returns nil.
	Start(ctx context.Context) error
	// Ready is nil when there is a certificate that callers can trust, and says
	// what is missing otherwise. It never blocks on the network.
	Ready() error
	// Expiry is what a metric shows.
	Expiry() Expiry
}

// Expiry holds the ends of validity; a zero time is one that is not known.
type Expiry struct{ Leaf, CA time.Time }

// leafOf returns the parsed leaf of a pair.
func leafOf(c *tls.Certificate) (*x509.Certificate, error) {
	if c.Leaf != nil {
		return c.Leaf, nil
	}
	if len(c.Certificate) == 0 {
		return nil, errors.New("the pair holds no certificate")
	}
	return x509.ParseCertificate(c.Certificate[0]) // GODEBUG=x509keypairleaf=0
}

// pause waits for d and reports whether ctx is still alive.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return ctx.Err() == nil
	}
}
