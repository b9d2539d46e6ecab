// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"crypto/sha256"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// lag is how late the API servers of these tests learn of a new caBundle.
const lag = 250 * time.Millisecond

// tally is what an observer of two replicas saw.
type tally struct{ checks, handshakes, untrusted, unready, cas int }

// TestRotation is the promise of this package: two replicas rotate leaf and CA
// again and again, and never serve a certificate that an API server, which
// learns of each bundle some time after it was written, does not trust.
func TestRotation(t *testing.T) {
	t.Parallel()
	got := rotate(t, 36*time.Second, func(c *SelfManagedConfig) { c.Settle = 2 * lag })
	t.Logf("%+v", got)
	if got.untrusted != 0 || got.unready != 0 {
		t.Errorf("%d of %d checks untrusted, %d unready", got.untrusted, got.checks, got.unready)
	}
	if got.checks < 10_000 || got.handshakes < 100 || got.cas < 4 {
		t.Errorf("too little was seen to prove anything: %+v", got)
	}
}

// TestRotationWithoutSettling shows that the observer notices: the same
// replicas, except that they do not wait for the API servers.
func TestRotationWithoutSettling(t *testing.T) {
	t.Parallel()
	got := rotate(t, 20*time.Second, func(c *SelfManagedConfig) { c.Settle = 1 })
	t.Logf("%+v", got)
	if got.untrusted == 0 {
		t.Error("not one untrusted certificate: the observer is blind")
	}
}

func rotate(t *testing.T, d time.Duration, change func(*SelfManagedConfig)) tally {
	a := newAPI(t)
	a.create("pods", "ephemeral")
	short := func(c *SelfManagedConfig) {
		c.CADuration, c.LeafDuration = 12*time.Second, 8*time.Second
		change(c)
	}
	replicas := []*replica{start(t, a, short), start(t, a, short)}
	for _, r := range replicas {
		eventually(t, "ready", r.ready)
	}
	time.Sleep(lag)
	var got tally
	cas, known := map[string]bool{}, map[[sha256.Size]byte]bool{}
	end, nextTouch, nextHandshake := time.Now().Add(d), time.Now(), time.Now()
	for time.Now().Before(end) {
		if time.Now().After(nextTouch) {
			// Somebody applies the Secret's manifest again. The authority looks at the age
			// of its CA then, and need not be waited for until its next look, 10 s apart.
			a.editSecret(func(s *corev1.Secret) { s.Annotations = map[string]string{"applied": time.Now().String()} })
			nextTouch = nextTouch.Add(time.Second)
		}
		shake := time.Now().After(nextHandshake)
		if shake {
			nextHandshake = nextHandshake.Add(200 * time.Millisecond)
		}
		for _, r := range replicas {
			leaf := r.leaf(t)
			v := a.asOf(time.Now().Add(-lag))
			cas[string(leaf.AuthorityKeyId)] = true
			got.checks++
			if shake && r.Ready() != nil {
				got.unready++
			}
			// Verifying is slow with P-384 and -race: the same leaf and bundles are verified
			// once, the dates each time.
			h := sha256.New()
			h.Write(leaf.Raw)
			for _, e := range v.entries {
				h.Write(e.bundle)
			}
			key := [sha256.Size]byte(h.Sum(nil))
			if _, ok := known[key]; !ok {
				known[key] = v.trusts(leaf, dnsName) == nil
			}
			if now := time.Now(); !known[key] || now.Before(leaf.NotBefore) || now.After(leaf.NotAfter) {
				got.untrusted++
			}
			if shake {
				got.handshakes++
				v := a.asOf(time.Now().Add(-lag))
				v.entries = v.entries[:1]
				if err := handshake(r.addr, v); err != nil {
					got.untrusted++
					t.Logf("handshake: %v", err)
				}
			}
		}
		time.Sleep(2 * time.Millisecond)
	}
	got.cas = len(cas)
	return got
}
