// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
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

// newCA creates a CA and its key, both in PEM, of the kind that cert-manager's
// authority creates and accepts, except that it is backdated.
func newCA(now time.Time, commonName string, lifetime time.Duration) (cert, key []byte, err error) {
	pk, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		Subject:   pkix.Name{CommonName: commonName},
		NotBefore: notBefore(now, lifetime), NotAfter: now.Add(lifetime),
		IsCA: true, BasicConstraintsValid: true,
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
