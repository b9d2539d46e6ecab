// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"time"
)

// errInProgress is the reason if no attempt has failed.
var errInProgress = errors.New("in progress")

// GetCertificate implements Source.
func (s *SelfManaged) GetCertificate(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
	return s.source.GetCertificate(h)
}

// Ready implements Source. It uses the state that was last read, so that an
// unreachable API server does not make replicas unready.
func (s *SelfManaged) Ready() error {
	cert, err := s.GetCertificate(nil)
	if err != nil {
		return fmt.Errorf("no serving certificate for %s yet: %w", s.name, s.why())
	}
	leaf, err := leafOf(cert)
	if err != nil {
		return fmt.Errorf("serving certificate for %s: %w", s.name, err)
	}
	if time.Now().After(leaf.NotAfter) {
		return fmt.Errorf("the serving certificate for %s expired at %s and is not renewed: %w", s.name, leaf.NotAfter, s.why())
	}
	seen := s.pub.last()
	if len(seen.entries) == 0 && s.runsFor() < s.cfg.ConfigurationWait {
		return fmt.Errorf("there is no webhook in MutatingWebhookConfiguration %s yet: ready without one %s after the start", s.cfg.ConfigurationName, s.cfg.ConfigurationWait)
	}
	if err := seen.trusts(leaf, s.name); err != nil {
		return fmt.Errorf("MutatingWebhookConfiguration %s does not trust the serving certificate: %w: %w", s.cfg.ConfigurationName, err, s.why())
	}
	return nil
}

// Expiry implements Source.
func (s *SelfManaged) Expiry() (leaf, ca time.Time) {
	if pair, err := s.GetCertificate(nil); err == nil {
		if cert, err := leafOf(pair); err == nil {
			leaf = cert.NotAfter
		}
	}
	if all := parse(s.pub.last().ca); len(all) > 0 {
		ca = all[0].NotAfter
	}
	return leaf, ca
}

func (s *SelfManaged) note(where *error, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	*where = err
}

// runsFor is the time since Start.
func (s *SelfManaged) runsFor() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Since(s.started)
}

// why is the last failure, that of signing first.
func (s *SelfManaged) why() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return cmp.Or(s.signErr, s.repairErr, errInProgress)
}
