// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	servertls "github.com/cert-manager/cert-manager/pkg/server/tls"
	"github.com/cert-manager/cert-manager/pkg/server/tls/authority"
)

const (
	defaultCADuration = 365 * 24 * time.Hour
	defaultSettle     = 5 * time.Second
	// retryInterval is how soon a refused leaf is asked for again. The first one
	// is refused at each start, because the authority has yet to read its Secret.
	retryInterval = 250 * time.Millisecond
	// lookAgain is how often a leaf that waits for API servers makes sure that its
	// CA is still wanted and published: a reset may come in between.
	lookAgain = time.Second
)

// gate is cert-manager's authority behind "publish before sign": the leaf it
// signs is handed out once API servers have had the time to trust its CA.
type gate struct {
	servertls.Authority
	s   *SelfManaged
	ctx context.Context // of Start: Sign has none, and must not outlive it
}

// Sign fails when the leaf may not be used yet. The caller, DynamicSource, tries
// again and serves the leaf it has in the meantime.
func (g *gate) Sign(template *x509.Certificate) (*x509.Certificate, error) {
	leaf, err := g.sign(template)
	if g.ctx.Err() == nil {
		g.s.note(&g.s.signing, err)
	}
	return leaf, err
}

func (g *gate) sign(template *x509.Certificate) (*x509.Certificate, error) {
	leaf, err := g.Authority.Sign(template)
	if errors.Is(err, authority.ErrCertificateNotAvailable) {
		return nil, fmt.Errorf("the authority has not read Secret %s/%s, or it has no CA: %w", g.s.cfg.Namespace, g.s.cfg.SecretName, err)
	}
	if err != nil {
		return nil, fmt.Errorf("sign a leaf for %s: %w", g.s.name, err)
	}
	for {
		v, err := g.s.pub.publish(g.ctx)
		if err != nil {
			return nil, fmt.Errorf("publish the CA: %w", err)
		}
		// The authority signs with a cached CA, which another replica or a reset may
		// have replaced since. What was published is what the Secret holds now.
		cas := parse(v.ca)
		if len(cas) == 0 || leaf.CheckSignatureFrom(cas[0]) != nil {
			return nil, errors.New("the CA was replaced while it signed a leaf")
		}
		if !v.published() {
			return nil, fmt.Errorf("the CA of Secret %s/%s expired before it was published; check this node's clock", g.s.cfg.Namespace, g.s.cfg.SecretName)
		}
		wait := v.settled(g.s.cfg.Settle)
		if wait == 0 || !g.inUse(v) {
			return leaf, nil
		}
		if !pause(g.ctx, min(wait, lookAgain)) {
			return nil, g.ctx.Err()
		}
	}
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
