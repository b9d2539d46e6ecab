// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"context"
	"crypto/tls"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// lag is how late the API servers of these tests learn of a new caBundle.
const lag = 400 * time.Millisecond

// tally is what an observer of two replicas saw.
type tally struct{ checks, untrusted, handshakes, refused, unready, cas, pairs int }

// TestRotation rotates leaf and CA of two replicas
// repeatedly: they never serve a certificate that an API server, which
// learns of each bundle some time after it was written, does not trust.
func TestRotation(t *testing.T) {
	t.Parallel()
	const checks, handshakes, cas = 5_000, 50, 4
	got := rotate(t, 28*time.Second, 8*time.Second, 2*lag, func(c, h, n int) bool { return c >= checks && h >= handshakes && n >= cas })
	t.Logf("%+v", got)
	if got.untrusted+got.refused+got.unready != 0 {
		t.Error("calls would have been lost")
	}
	if got.checks < checks || got.handshakes < handshakes || got.cas < cas {
		t.Errorf("too few observations: %+v", got)
	}
}

// TestRotationWithoutSettling shows that TestRotation detects faults: the same
// replicas, except that they do not wait for the API servers.
func TestRotationWithoutSettling(t *testing.T) {
	t.Parallel()
	got := rotate(t, 0, 10*time.Second, 1, func(int, int, int) bool { return true })
	t.Logf("%+v", got)
	if got.untrusted == 0 {
		t.Error("no untrusted certificate was observed: the test detects nothing")
	}
}

// rotate observes two replicas for as long as CAs are replaced by age, and then
// for as long as they are replaced every three seconds because a person empties
// the Secret; longer, up to two minutes, on a machine that is too busy for it to
// have seen enough checks, handshakes and CAs by then.
func rotate(t *testing.T, byAge, byForce, settle time.Duration, enough func(checks, handshakes, cas int) bool) tally {
	a := newAPI(t)
	a.create("pods", "ephemeral")
	short := func(c *SelfManagedConfig) {
		c.CADuration, c.LeafDuration, c.Settle = 20*time.Second, 15*time.Second, settle
	}
	replicas := []*replica{start(t, a, short), start(t, a, short)}
	for _, r := range replicas {
		eventually(t, "ready", r.ready)
	}
	time.Sleep(lag)
	force := time.Now().Add(byAge)
	end := force.Add(byForce)
	ctx, cancel := context.WithDeadline(t.Context(), end.Add(2*time.Minute))
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() {
		for pause(ctx, time.Second) && time.Now().Before(force) {
			// The manifest of the Secret is applied again. The authority checks the age
			// of its CA then, and would otherwise do so only every 10 s.
			a.editSecret(func(s *corev1.Secret) { s.Annotations = map[string]string{"applied": time.Now().String()} })
		}
		for last := ""; pause(ctx, 3*time.Second); {
			// On a busy machine, replicas need longer for a CA and its leaf. If no CA
			// lived for long enough, they would have none when the leaf expires.
			if ca := string(replicas[0].leaf(t).AuthorityKeyId); ca != last && ca == string(replicas[1].leaf(t).AuthorityKeyId) {
				last = ca
				a.editSecret(func(s *corev1.Secret) { s.Data = nil })
			}
		}
	})
	var got tally
	var handshakes atomic.Int64
	wg.Go(func() {
		for pause(ctx, 200*time.Millisecond) {
			for _, r := range replicas {
				v := a.asOf(time.Now().Add(-lag))
				v.entries = v.entries[:1]
				handshakes.Add(1)
				err := handshake(r.addr, v)
				if refusal, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
					// It counts unless the API server has learned of a bundle meanwhile.
					err = a.asOf(time.Now().Add(-lag)).trusts(refusal.UnverifiedCertificates[0], dnsName)
				}
				if err != nil {
					got.refused++
					t.Logf("handshake: %v", err)
				}
				if err := r.Ready(); err != nil {
					got.unready++
					t.Log(err)
				}
			}
		}
	})
	cas, known := map[string]bool{}, map[string]error{}
	for pause(ctx, time.Millisecond) {
		if time.Now().After(end) && enough(got.checks, int(handshakes.Load()), len(cas)) {
			cancel()
		}
		for _, r := range replicas {
			leaf := r.leaf(t)
			v := a.asOf(time.Now().Add(-lag))
			// Verifying P-384 is slow under the race detector: the same leaf and bundles are
			// verified once, the dates each time.
			var key strings.Builder
			key.WriteString(string(leaf.Raw))
			for _, e := range v.entries {
				key.WriteString(string(e.bundle))
			}
			err, ok := known[key.String()]
			if !ok {
				err = v.trusts(leaf, dnsName)
				known[key.String()] = err
			}
			if now := time.Now(); now.Before(leaf.NotBefore) || now.After(leaf.NotAfter) {
				err = errors.New("expired")
			}
			got.checks++
			cas[string(leaf.AuthorityKeyId)] = true
			if err != nil {
				got.untrusted++
			}
		}
	}
	wg.Wait()
	got.handshakes, got.cas, got.pairs = int(handshakes.Load()), len(cas), len(known)
	return got
}
