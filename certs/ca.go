// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"net"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// caKey is the Secret key under which cert-manager's authority stores the CA
// certificate.
const caKey = "ca.crt"

// setCA writes a CA into its Secret in the form that the authority reads.
func setCA(s *corev1.Secret, ca, key []byte) {
	if s.Data == nil {
		s.Data = map[string][]byte{}
	}
	s.Data[caKey], s.Data[corev1.TLSCertKey], s.Data[corev1.TLSPrivateKeyKey] = ca, ca, key
}

// serviceName is the DNS name for which API servers verify the certificate of a
// Service.
func serviceName(service, namespace string) string { return service + "." + namespace + ".svc" }

// newCA creates a CA and its key, both in PEM, of the kind that cert-manager's
// authority creates and accepts. In addition, it is backdated, and limited to leaves
// for the name of one Service: the API server trusts it for that name alone, and its
// key is of no use for other servers.
// https://www.rfc-editor.org/rfc/rfc5280#section-4.2.1.10
func newCA(now time.Time, commonName, name string, lifetime time.Duration) (cert, key []byte, err error) {
	pk, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		Subject:   pkix.Name{CommonName: commonName},
		NotBefore: notBefore(now, lifetime), NotAfter: now.Add(lifetime),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		PermittedDNSDomainsCritical: true, PermittedDNSDomains: []string{name},
		// A permitted DNS name alone leaves addresses unconstrained.
		ExcludedIPRanges: []*net.IPNet{
			{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)},
			{IP: net.IPv6zero, Mask: net.CIDRMask(0, 128)},
		},
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, pk.Public(), pk)
	if err != nil {
		return nil, nil, err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(pk)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), nil
}

// mayIssue reports whether a leaf of the CA for the name can be valid. A CA without
// name constraints is one of an earlier version, or of cert-manager's authority at
// its renewal.
func mayIssue(ca *x509.Certificate, name string) bool {
	return len(ca.PermittedDNSDomains) == 0 || slices.ContainsFunc(ca.PermittedDNSDomains, func(permitted string) bool {
		return name == permitted || strings.HasSuffix(name, "."+permitted)
	})
}
