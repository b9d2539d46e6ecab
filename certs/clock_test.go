// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

const year = defaultCADuration

func TestNotBefore(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for name, tc := range map[string]struct{ lifetime, before time.Duration }{
		"a CA is backdated by five minutes":          {year, 5 * time.Minute},
		"so is a leaf":                               {7 * 24 * time.Hour, 5 * time.Minute},
		"a lifetime of minutes is backdated by less": {time.Minute, 5 * time.Second},
		"a negative lifetime is not backdated":       {-time.Hour, 0},
	} {
		t.Run(name, func(t *testing.T) {
			if got := now.Sub(notBefore(now, tc.lifetime)); got != tc.before {
				t.Errorf("it begins %s ago, want %s", got, tc.before)
			}
		})
	}
}

func TestNeedsBackdating(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for name, tc := range map[string]struct {
		begins time.Duration // from now
		want   bool
	}{
		"a CA that the authority has just issued is replaced": {0, true},
		"a backdated CA is not":                               {-backDate, false},
		"nor that of a clock a minute ahead":                  {-backDate + time.Minute, false},
		"that of a clock four minutes ahead is":               {-backDate + 4*time.Minute, true},
		"that of a clock an hour ahead is":                    {time.Hour - backDate, true},
		"that of a clock an hour behind is not":               {-time.Hour - backDate, false},
		"that of a clock half a year ahead is not":            {year / 2, false},
	} {
		t.Run(name, func(t *testing.T) {
			ca := &x509.Certificate{NotBefore: now.Add(tc.begins), NotAfter: now.Add(tc.begins + year)}
			if got := needsBackdating(now, ca); got != tc.want {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}
}

// TestClocks lets replicas with any clocks check the CA in any order, each with
// the authority's rule and ours. They come to an end; with clocks that are wrong by
// weeks at most, the CA is then valid by each of them, and early enough.
func TestClocks(t *testing.T) {
	t.Parallel()
	const weeks = 25 * 24 * time.Hour
	start := time.Now()
	for round := range 3000 {
		spread := weeks
		if round%2 == 1 {
			spread = 3 * year
		}
		clocks := make([]time.Duration, 2+rand.N(4))
		for i := range clocks {
			clocks[i] = rand.N(spread)
		}
		var ca x509.Certificate // none: each authority makes one
		var at time.Duration
		step := func(clock time.Duration) (changed bool) {
			at += rand.N(time.Second)
			now := start.Add(at + clock)
			if ca.NotAfter.Sub(now) < ca.NotAfter.Sub(ca.NotBefore)/3 || ca.NotAfter.IsZero() {
				ca, changed = x509.Certificate{NotBefore: now, NotAfter: now.Add(year)}, true
			}
			if needsBackdating(now, &ca) {
				ca, changed = x509.Certificate{NotBefore: notBefore(now, year), NotAfter: now.Add(year)}, true
			}
			return changed
		}
		for range 50 * len(clocks) {
			step(clocks[rand.N(len(clocks))])
		}
		for _, c := range clocks {
			if step(c) {
				t.Fatalf("clocks ahead by %v never agree", clocks)
			}
			if now := start.Add(at + c); spread == weeks && now.Sub(ca.NotBefore) < backDate/2 {
				t.Fatalf("clocks ahead by %v: the CA begins %s before one of them", clocks, now.Sub(ca.NotBefore))
			}
		}
	}
}

// TestAPIServerClockBehind verifies new certificates with a clock that is behind,
// at the start and after each kind of CA replacement.
func TestAPIServerClockBehind(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.create("pods", "ephemeral")
	young := false // some bundle held a CA that begins too late
	replicas := []*replica{start(t, a, nil), start(t, a, nil)}
	for _, way := range []struct {
		name   string
		change func()
	}{
		{"at the start", nil},
		{"after the Secret was emptied", func() { a.editSecret(func(s *corev1.Secret) { s.Data = nil }) }},
		{"after a reset", func() {
			if err := Reset(t.Context(), a.reset(nil)); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		before := a.ca()
		if way.change != nil {
			way.change()
			eventually(t, way.name+" all entries contain a new CA", func() bool { return !bytes.Equal(a.ca(), before) && a.allHold(a.ca()) })
		}
		for _, r := range replicas {
			eventually(t, way.name+" the leaf is new", func() bool {
				return r.ready() && r.leaf(t).CheckSignatureFrom(parse(a.ca())[0]) == nil
			})
			behind := time.Now().Add(-backDate + 5*time.Second)
			if err := handshakeAt(behind, r.addr, a.asOf(time.Now())); err != nil {
				t.Errorf("%s, a clock that is behind: %v", way.name, err)
			}
			if left := time.Until(r.leaf(t).NotAfter); left < 7*24*time.Hour-time.Minute {
				t.Errorf("%s, a leaf lives for %s", way.name, left)
			}
		}
	}
	for _, m := range a.history {
		for _, e := range m.entries {
			for _, ca := range parse(e.bundle) {
				young = young || m.from.Sub(ca.NotBefore) < backDate-time.Minute
			}
		}
	}
	if young {
		t.Error("a CA was published that is not back-dated")
	}
}

// handshakeAt is handshake with a fixed clock.
func handshakeAt(now time.Time, addr string, v view) error {
	for _, e := range v.entries {
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(e.bundle)
		conn, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: pool, ServerName: dnsName, Time: func() time.Time { return now }})
		if err != nil {
			return err
		}
		if err := conn.Close(); err != nil {
			return err
		}
	}
	return nil
}

// ahead puts a CA into the Secret as a replica does whose clock is ahead.
func (a *api) ahead(t *testing.T, by time.Duration) []byte {
	t.Helper()
	ca, key, err := newCA(time.Now().Add(by), "ahead", dnsName, year)
	if err != nil {
		t.Fatal(err)
	}
	a.editSecret(func(s *corev1.Secret) { setCA(s, ca, key) })
	return ca
}

func TestFutureCAIsReplaced(t *testing.T) {
	t.Parallel()
	for name, running := range map[string]bool{
		"by a replica that starts": false,
		"by replicas that run":     true,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAPI(t)
			a.create("pods", "ephemeral")
			var replicas []*replica
			if running {
				replicas = []*replica{start(t, a, nil), start(t, a, nil)}
				for _, r := range replicas {
					eventually(t, "ready", r.ready)
				}
			}
			future := a.ahead(t, time.Hour)
			if !running {
				replicas = []*replica{start(t, a, nil), start(t, a, nil)}
			}
			for _, r := range replicas {
				eventually(t, "the CA is replaced and trusted", func() bool {
					if c, err := r.GetCertificate(nil); running && (err != nil || a.asOf(time.Now()).trusts(c.Leaf, dnsName) != nil) {
						t.Fatal("a replica served an untrusted leaf")
					}
					return r.ready() && !bytes.Equal(a.ca(), future) && a.allHold(a.ca()) && r.leaf(t).CheckSignatureFrom(parse(a.ca())[0]) == nil
				})
				if err := handshake(r.addr, a.asOf(time.Now())); err != nil {
					t.Error(err)
				}
			}
			settled := a.ca()
			never(t, "the replicas replace each other's CA, or publish the future one", time.Second, func() bool {
				return !bytes.Equal(a.ca(), settled) || a.anyHolds(future)
			})
			if logs := replicas[0].logs.String() + replicas[1].logs.String(); !strings.Contains(logs, "replaced a CA that is not valid yet") {
				t.Error("no warning was logged")
			}
		})
	}
}

func TestCAThatBeginsInMonthsIsKept(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.create("pods")
	months := a.ahead(t, year/4)
	r := start(t, a, nil)
	eventually(t, "Ready reports the cause", func() bool {
		err := r.Ready()
		return err != nil && strings.Contains(err.Error(), "expired or is not yet valid")
	})
	never(t, "the CA is replaced", 500*time.Millisecond, func() bool { return !bytes.Equal(a.ca(), months) })
	if err := Reset(t.Context(), a.reset(nil)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "ready after a reset", r.ready)
}
