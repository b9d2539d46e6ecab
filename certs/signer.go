// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	servertls "github.com/cert-manager/cert-manager/pkg/server/tls"
	"github.com/cert-manager/cert-manager/pkg/server/tls/authority"
	corev1 "k8s.io/api/core/v1"
)

const (
	defaultCADuration = 365 * 24 * time.Hour
	defaultSettle     = 5 * time.Second
	// retryInterval is the delay before a failed signing is repeated. The first one
	// fails while the Secret is empty, as it is shipped.
	retryInterval = 250 * time.Millisecond
	// recheckInterval is how often, while a leaf waits for API servers, the CA is
	// verified to be current and published: it may be reset in between.
	recheckInterval = time.Second
)

// errReplaced is the error if another replica or a reset has replaced the CA in
// the Secret since it was published.
var errReplaced = errors.New("the CA was replaced before it signed a leaf")

// signer adds "publish before sign" to cert-manager's authority: a leaf is signed
// after API servers have had the time to trust its CA.
//
// It does not use the authority's own Sign, which uses the CA that it has in
// memory, and dates that cannot be configured.
type signer struct {
	servertls.Authority
	source *SelfManaged
	ctx    context.Context // of Start; Sign has no context of its own
}

// Sign returns an error while no leaf may be used. The caller, DynamicSource,
// retries and serves its current leaf in the meantime.
func (s *signer) Sign(template *x509.Certificate) (*x509.Certificate, error) {
	leaf, err := s.sign(template)
	if s.ctx.Err() == nil {
		s.source.note(&s.source.signErr, err)
	}
	return leaf, err
}

func (s *signer) sign(template *x509.Certificate) (*x509.Certificate, error) {
	for {
		v, err := s.source.pub.publish(s.ctx)
		if errors.Is(err, errNoCA) { // the caller expects it at the start
			return nil, fmt.Errorf("%w: %w", err, authority.ErrCertificateNotAvailable)
		}
		if err != nil {
			return nil, fmt.Errorf("publish the CA: %w", err)
		}
		if !v.published() {
			return nil, fmt.Errorf("the CA of %s expired before it was published: check this node's clock", s.source.pub.secretName())
		}
		wait := v.settled(s.source.cfg.Settle)
		if wait == 0 || !s.inUse(v) {
			return s.leaf(template, v.ca)
		}
		if !pause(s.ctx, min(wait, recheckInterval)) {
			return nil, s.ctx.Err()
		}
	}
}

// leaf signs a leaf under the CA that was published, with its key from the Secret.
func (s *signer) leaf(template *x509.Certificate, ca []byte) (*x509.Certificate, error) {
	ctx, cancel := context.WithTimeout(s.ctx, callTimeout)
	defer cancel()
	secret, err := s.source.pub.read(ctx)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(firstCertificate(secret.Data[caKey]), ca) {
		return nil, errReplaced
	}
	pair, err := tls.X509KeyPair(ca, secret.Data[corev1.TLSPrivateKeyKey])
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.source.pub.secretName(), err)
	}
	issuer, now := parse(ca)[0], time.Now()
	if !mayIssue(issuer, s.source.name) {
		return nil, fmt.Errorf("the CA of %s is limited to %s and cannot sign for %s: replace it with privatelink certs reset", s.source.pub.secretName(), issuer.PermittedDNSDomains[0], s.source.name)
	}
	template.BasicConstraintsValid = true
	template.NotBefore, template.NotAfter = notBefore(now, s.source.cfg.LeafDuration), now.Add(s.source.cfg.LeafDuration)
	if issuer.NotAfter.Before(template.NotAfter) {
		template.NotAfter = issuer.NotAfter
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, template.PublicKey, pair.PrivateKey)
	if err != nil {
		return nil, fmt.Errorf("sign a leaf for %s: %w", s.source.name, err)
	}
	return x509.ParseCertificate(der)
}

// inUse reports whether the current leaf is trusted, so that waiting avoids failed
// calls. After Reset with Now it is not trusted, and each further second costs
// calls. Without a leaf it returns true, since the replica is not ready anyway.
func (s *signer) inUse(v view) bool {
	cert, err := s.source.GetCertificate(nil)
	if err != nil {
		return true
	}
	leaf, err := leafOf(cert)
	return err == nil && v.trusts(leaf, s.source.name) == nil
}
