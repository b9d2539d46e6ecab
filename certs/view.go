// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"time"

	arv1 "k8s.io/api/admissionregistration/v1"
)

// clockTrustAge is the minimum age of the last change of a configuration for its
// timestamps, which are from the API server's clock, to be compared with the local
// clock. It is longer than a clock may be ahead, or a change of this moment would
// pass for an old one.
const clockTrustAge = backDate + time.Minute

// view is the state that was last read from the API server.
type view struct {
	entries []entry   // none: no configuration, or one without webhooks
	ca      []byte    // the CA of the Secret, which each entry should hold
	since   time.Time // since when each entry has held it; zero if not all do
}

// entry is one webhook of the configuration.
type entry struct {
	name   string
	bundle []byte
}

// last returns the latest view.
func (p *publisher) last() view {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seen
}

func (p *publisher) remember(cfg *arv1.MutatingWebhookConfiguration, ca []byte) {
	v := p.observe(cfg, ca)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen = v
}

// observe returns the view of a configuration; nil if it does not exist.
func (p *publisher) observe(cfg *arv1.MutatingWebhookConfiguration, ca []byte) view {
	v, before := view{ca: ca}, p.last()
	if cfg == nil {
		return v
	}
	for _, w := range cfg.Webhooks {
		v.entries = append(v.entries, entry{w.Name, w.ClientConfig.CABundle})
	}
	for _, e := range v.entries {
		if !holds(e.bundle, ca) {
			return v
		}
	}
	v.since = time.Now()
	if bytes.Equal(before.ca, ca) && !before.since.IsZero() {
		v.since = before.since
	} else if changed := lastChange(cfg); !changed.IsZero() && time.Since(changed) > clockTrustAge {
		v.since = changed // not changed for long: a restart need not wait
	}
	return v
}

// lastChange is when any field manager last wrote the configuration, zero if that
// is not recorded.
func lastChange(cfg *arv1.MutatingWebhookConfiguration) time.Time {
	var at time.Time
	for _, m := range cfg.ManagedFields {
		if m.Time != nil && m.Time.After(at) {
			at = m.Time.Time
		}
	}
	return at
}

// published reports whether each entry holds the CA.
func (v view) published() bool { return len(v.entries) == 0 || !v.since.IsZero() }

// settled is the time left until each API server has had the time settle to learn
// of the CA. It counts from when the CA was first seen in the configuration, not
// from the write: of two replicas only one writes, and both must wait.
func (v view) settled(settle time.Duration) time.Duration {
	if len(v.entries) == 0 {
		return 0
	}
	return max(0, settle-time.Since(v.since))
}

// trusts verifies a leaf as an API server with this configuration would.
func (v view) trusts(leaf *x509.Certificate, name string) error {
	for _, e := range v.entries {
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(e.bundle)
		if _, err := leaf.Verify(x509.VerifyOptions{Roots: pool, DNSName: name}); err != nil {
			return fmt.Errorf("caBundle of webhook %s: %w", e.name, err)
		}
	}
	return nil
}
