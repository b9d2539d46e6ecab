// SPDX-License-Identifier: Apache-2.0

// Package certs provides the serving certificate of the webhook, and reports
// whether the API server can trust it.
//
// There are two sources. [SelfManaged] is a certificate authority that is stored
// in a Secret and shared by all replicas, under one rule: publish before sign. A
// leaf is used only after its CA was published in the caBundle of the webhook
// configuration, so that no call fails during a rotation. [Files] serves a pair
// that is renewed by another program, such as cert-manager through a mounted
// Secret. [Reset] revokes a CA that leaked.
//
// CA creation, renewal and file reading use cert-manager's serving-certificate
// packages. They promise no stable API, so no other package imports them.
package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"time"
)

// Source provides the serving certificate and reports whether it may be used.
type Source interface {
	// GetCertificate is for tls.Config. It returns an error while there is no
	// certificate.
	GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// Start keeps the certificate up to date until ctx ends, and then returns nil.
	// It must be called once.
	Start(ctx context.Context) error
	// Ready returns nil if there is a certificate that the API server can trust,
	// and the obstacle otherwise. It makes no network calls.
	Ready() error
	// Expiry returns the NotAfter times of the current leaf and of its CA. A zero
	// time is not known.
	Expiry() (leaf, ca time.Time)
}

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
