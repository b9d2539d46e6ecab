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
	// retryInterval is how soon a refused leaf is asked for again. The first one
	// is refused while the Secret is empty, as it is shipped.
	retryInterval = 250 * time.Millisecond
	// lookAgain is how often a leaf that waits for API servers makes sure that its
	// CA is still wanted and published: a reset may come in between.
	lookAgain = time.Second
)

// errReplaced says that the CA that was published is not that of the Secret any
// more: another replica or a reset has replaced it since.
var errReplaced = errors.New("the CA was replaced before it signed a leaf")

// gate is cert-manager's authority behind "publish before sign": a leaf is signed
// once API servers have had the time to trust its CA.
//
// It signs itself. The authority would do so with the CA that it remembers, and
// with dates of its own that nobody can change.
type gate struct {
	servertls.Authority
	s   *SelfManaged
	ctx context.Context // of Start: Sign has none, and must not outlive it
}

// Sign fails when no leaf may be used yet. The caller, DynamicSource, tries again
// and serves the leaf it has in the meantime.
func (g *gate) Sign(template *x509.Certificate) (*x509.Certificate, error) {
	leaf, err := g.sign(template)
	if g.ctx.Err() == nil {
		g.s.note(&g.s.signing, err)
	}
	return leaf, err
}

func (g *gate) sign(template *x509.Certificate) (*x509.Certificate, error) {
	for {
		v, err := g.s.pub.publish(g.ctx)
		if errors.Is(err, errNoCA) { // which is no news to the caller
			return nil, fmt.Errorf("%w: %w", err, authority.ErrCertificateNotAvailable)
		}
		if err != nil {
			return nil, fmt.Errorf("publish the CA: %w", err)
		}
		if !v.published() {
			return nil, fmt.Errorf("the CA of %s expired before it was published; check this node's clock", g.s.pub.where())
		}
		wait := v.settled(g.s.cfg.Settle)
		if wait == 0 || !g.inUse(v) {
			return g.leaf(template, v.ca)
		}
		if !pause(g.ctx, min(wait, lookAgain)) {
			return nil, g.ctx.Err()
		}
	}
}

// leaf signs a leaf under the CA that was published, with the key that the Secret
// holds beside it.
func (g *gate) leaf(template *x509.Certificate, ca []byte) (*x509.Certificate, error) {
	ctx, cancel := context.WithTimeout(g.ctx, callTimeout)
	defer cancel()
	s, err := g.s.pub.read(ctx)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(s.Data[caKey], ca) {
		return nil, errReplaced
	}
	pair, err := tls.X509KeyPair(ca, s.Data[corev1.TLSPrivateKeyKey])
	if err != nil {
		return nil, fmt.Errorf("%s: %w", g.s.pub.where(), err)
	}
	issuer, now := parse(ca)[0], time.Now()
	template.BasicConstraintsValid = true
	template.NotBefore, template.NotAfter = begin(now, g.s.cfg.LeafDuration), now.Add(g.s.cfg.LeafDuration)
	if issuer.NotAfter.Before(template.NotAfter) {
		template.NotAfter = issuer.NotAfter
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, template.PublicKey, pair.PrivateKey)
	if err != nil {
		return nil, fmt.Errorf("sign a leaf for %s: %w", g.s.name, err)
	}
	return x509.ParseCertificate(der)
}

// inUse reports whether waiting protects anything: once callers do not trust the
// leaf in use any more, as after Reset with Now, each further second with it costs
// calls. At the start there is none, and a replica that is not ready has time.
func (g *gate) inUse(v view) bool {
	cert, err := g.s.GetCertificate(nil)
	if err != nil {
		return true
	}
	leaf, err := leafOf(cert)
	return err == nil && v.trusts(leaf, g.s.name) == nil
}
