// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// issue signs a certificate and returns it with its key.
func issue(t *testing.T, issuer *x509.Certificate, issuerKey any, template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.NotBefore, template.NotAfter = time.Now().Add(-10*time.Minute), time.Now().Add(time.Hour)
	if issuer == nil {
		issuer, issuerKey = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, key.Public(), issuerKey)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c, key
}

func TestCAIsLimitedToTheService(t *testing.T) {
	t.Parallel()
	pair, err := tls.X509KeyPair(testCA(t, "ca", time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	ca := pair.Leaf
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	intermediate, intermediateKey := issue(t, ca, pair.PrivateKey, &x509.Certificate{Subject: pkix.Name{CommonName: "intermediate"}, IsCA: true, BasicConstraintsValid: true})
	for name, tc := range map[string]struct {
		leaf          *x509.Certificate
		host          string
		below         bool // the intermediate
		refusedReason string
	}{
		"its own name":      {&x509.Certificate{DNSNames: []string{dnsName}}, dnsName, false, ""},
		"another Service":   {&x509.Certificate{DNSNames: []string{"kubernetes.default.svc"}}, "kubernetes.default.svc", false, "not permitted by any constraint"},
		"another namespace": {&x509.Certificate{DNSNames: []string{"privatelink-webhook.evil.svc"}}, "privatelink-webhook.evil.svc", false, "not permitted by any constraint"},
		"one name more":     {&x509.Certificate{DNSNames: []string{dnsName, "example.com"}}, dnsName, false, "not permitted by any constraint"},
		"an IPv4 address":   {&x509.Certificate{DNSNames: []string{dnsName}, IPAddresses: []net.IP{net.IPv4(10, 0, 0, 1)}}, "10.0.0.1", false, "excluded by constraint"},
		"an IPv6 address":   {&x509.Certificate{DNSNames: []string{dnsName}, IPAddresses: []net.IP{net.IPv6loopback}}, "::1", false, "excluded by constraint"},
		"an intermediate":   {&x509.Certificate{DNSNames: []string{dnsName}}, dnsName, true, "too many intermediates"},
	} {
		t.Run(name, func(t *testing.T) {
			issuer, key, intermediates := ca, pair.PrivateKey, x509.NewCertPool()
			if tc.below {
				issuer, key = intermediate, intermediateKey
				intermediates.AddCert(intermediate)
			}
			leaf, _ := issue(t, issuer, key, tc.leaf)
			_, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: intermediates, DNSName: tc.host})
			if (err != nil) != (tc.refusedReason != "") || err != nil && !strings.Contains(err.Error(), tc.refusedReason) {
				t.Errorf("error %v, want %q", err, tc.refusedReason)
			}
		})
	}
}

func TestMayIssue(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		permitted []string
		want      bool
	}{
		"no constraints": {nil, true},
		"the name":       {[]string{"other.svc", dnsName}, true},
		"a domain above": {[]string{"svc"}, true},
		"another name":   {[]string{"privatelink-webhook.team-x.svc"}, false},
		"a suffix only":  {[]string{"webhook." + namespace + ".svc"}, false},
	} {
		if got := mayIssue(&x509.Certificate{PermittedDNSDomains: tc.permitted}, dnsName); got != tc.want {
			t.Errorf("%s: have %v", name, got)
		}
	}
}

// TestCAWithoutConstraintsIsKeptUntilReset starts from a Secret that an earlier
// version filled.
func TestCAWithoutConstraintsIsKeptUntilReset(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.create("pods", "ephemeral")
	cert, key := issue(t, nil, nil, &x509.Certificate{Subject: pkix.Name{CommonName: commonName}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	old := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
	a.editSecret(func(s *corev1.Secret) {
		setCA(s, old, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))
	})
	r := start(t, a, func(c *SelfManagedConfig) { c.LeafDuration, c.CADuration = 10*time.Minute, time.Hour })
	eventually(t, "ready", r.ready)
	if !bytes.Equal(a.ca(), old) || r.leaf(t).CheckSignatureFrom(cert) != nil {
		t.Error("the CA of the earlier version was replaced")
	}
	if err := Reset(t.Context(), a.reset(nil)); err != nil {
		t.Fatal(err)
	}
	ca := parse(a.ca())[0]
	if !mayIssue(ca, dnsName) || mayIssue(ca, "example.com") || !ca.MaxPathLenZero {
		t.Errorf("the new CA permits %v, path length zero %v", ca.PermittedDNSDomains, ca.MaxPathLenZero)
	}
	eventually(t, "ready with the new CA", func() bool { return r.ready() && r.leaf(t).CheckSignatureFrom(ca) == nil })
}

// TestNewCAIsLimitedToTheService starts from an empty Secret, which cert-manager's
// authority fills without constraints first.
func TestNewCAIsLimitedToTheService(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.create("pods")
	r := start(t, a, nil)
	eventually(t, "ready", r.ready)
	if ca := parse(a.ca())[0]; !ca.MaxPathLenZero || len(ca.PermittedDNSDomains) != 1 || ca.PermittedDNSDomains[0] != dnsName || !ca.PermittedDNSDomainsCritical {
		t.Errorf("the CA permits %v, path length zero %v", ca.PermittedDNSDomains, ca.MaxPathLenZero)
	}
}

func TestCAOfAnotherServiceIsReported(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.create("pods")
	ca, key, err := newCA(time.Now(), commonName, serviceName(service, "team-x"), year)
	if err != nil {
		t.Fatal(err)
	}
	a.editSecret(func(s *corev1.Secret) { setCA(s, ca, key) })
	r := start(t, a, nil)
	eventually(t, "Ready reports the cause", func() bool {
		err := r.Ready()
		return err != nil && strings.Contains(err.Error(), "limited to privatelink-webhook.team-x.svc") && strings.Contains(err.Error(), "certs reset")
	})
	if !bytes.Equal(a.ca(), ca) {
		t.Error("the CA was replaced")
	}
}

// TestCABundleDoesNotGrowWithoutEnd replaces the CA more often than caBundle has room.
func TestCABundleDoesNotGrowWithoutEnd(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.create("pods", "ephemeral")
	p := a.publisher()
	for i := range 2 * maxCAs {
		ca, key, err := newCA(time.Now().Add(-time.Hour), fmt.Sprint("ca ", i), dnsName, year)
		if err != nil {
			t.Fatal(err)
		}
		a.editSecret(func(s *corev1.Secret) { setCA(s, ca, key) })
		v, err := p.publish(t.Context())
		if err != nil || !v.published() || !a.allHold(ca) {
			t.Fatalf("CA %d was not published: %v", i, err)
		}
	}
	for _, e := range a.bundles() {
		if n := len(parse(e.bundle)); n != maxCAs {
			t.Errorf("%s has %d certificates, want %d", e.name, n, maxCAs)
		}
	}
	// A Secret with more certificates than that counts as its first.
	many := a.bundles()[0].bundle
	ca, key := testCA(t, "first", time.Hour)
	a.editSecret(func(s *corev1.Secret) { setCA(s, join(ca, many, many), key) })
	if v, err := p.publish(t.Context()); err != nil || !v.published() || !a.allHold(ca) {
		t.Errorf("a Secret with many certificates was not published: %v", err)
	}
}
