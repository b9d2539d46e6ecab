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

// maxCAs is the number of certificates in a caBundle. A rotation needs two. The
// number is limited because an object in etcd is, and a writer that replaces the CA
// over and over again, by a mistake or on purpose, would otherwise fill it.
const maxCAs = 16

// union returns the certificates of ca and of the bundles, each once and without
// those that have expired at now. If there are more than maxCAs, those of the bundles
// that became valid first are dropped. The order depends on the certificates alone,
// last to expire first, so that replicas agree on the bytes and a second union
// changes nothing.
//
// Other PEM blocks and text are dropped: a caBundle is edited by hand, by
// templates and by other controllers, and neither a typo nor a pasted key may
// keep the CA out of it.
func union(now time.Time, ca []byte, bundles ...[]byte) []byte {
	all := parse(ca)
	required := len(all)
	for _, b := range bundles {
		for _, c := range parse(b) {
			if !slices.ContainsFunc(all[:required], c.Equal) {
				all = append(all, c)
			}
		}
	}
	others := all[required:]
	slices.SortFunc(others, func(a, b *x509.Certificate) int {
		return cmp.Or(b.NotBefore.Compare(a.NotBefore), bytes.Compare(a.Raw, b.Raw))
	})
	others = slices.CompactFunc(others, (*x509.Certificate).Equal)
	others = slices.DeleteFunc(others, func(c *x509.Certificate) bool { return now.After(c.NotAfter) })
	others = others[:min(len(others), max(0, maxCAs-required))]
	all = slices.DeleteFunc(all[:required+len(others)], func(c *x509.Certificate) bool { return now.After(c.NotAfter) })
	slices.SortFunc(all, func(a, b *x509.Certificate) int {
		return cmp.Or(b.NotAfter.Compare(a.NotAfter), bytes.Compare(a.Raw, b.Raw))
	})
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

// firstCertificate returns the first certificate of a bundle in PEM, or nil. It is
// the one that tls.X509KeyPair takes for the key's.
func firstCertificate(bundle []byte) []byte {
	for _, c := range parse(bundle) {
		return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
	}
	return nil
}
