// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"bytes"
	"cmp"
	"crypto/x509"
	"encoding/pem"
	"slices"
	"time"
)

// union returns each certificate of the bundles once, without those that have
// expired at now. The order depends on the certificates alone, last to expire
// first, so that replicas agree on the bytes and a second union changes nothing.
//
// Other PEM blocks and text are dropped: a caBundle is edited by hand, by
// templates and by other controllers, and neither a typo nor a pasted key may
// keep the CA out of it.
func union(now time.Time, bundles ...[]byte) []byte {
	var all []*x509.Certificate
	for _, b := range bundles {
		for _, c := range parse(b) {
			if !now.After(c.NotAfter) {
				all = append(all, c)
			}
		}
	}
	slices.SortFunc(all, func(a, b *x509.Certificate) int {
		return cmp.Or(b.NotAfter.Compare(a.NotAfter), bytes.Compare(a.Raw, b.Raw))
	})
	all = slices.CompactFunc(all, (*x509.Certificate).Equal)
	var out bytes.Buffer
	for _, c := range all {
		// Writing to a bytes.Buffer does not fail.
		_ = pem.Encode(&out, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
	}
	return out.Bytes()
}

// holds reports whether bundle has every certificate of ca, and ca has one.
func holds(bundle, ca []byte) bool {
	have, want := parse(bundle), parse(ca)
	for _, c := range want {
		if !slices.ContainsFunc(have, c.Equal) {
			return false
		}
	}
	return len(want) > 0
}

// parse reads a bundle the way x509.CertPool does, which is the API server's way.
// In particular, blocks with headers are skipped: an API server does not trust
// them, but would trust a copy without the headers.
func parse(bundle []byte) []*x509.Certificate {
	var out []*x509.Certificate
	for block, rest := pem.Decode(bundle); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" || len(block.Headers) > 0 {
			continue
		}
		if c, err := x509.ParseCertificate(block.Bytes); err == nil {
			out = append(out, c)
		}
	}
	return out
}
