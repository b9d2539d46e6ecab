// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"bytes"
	"context"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
)

func (a *api) reset(change func(*ResetConfig)) ResetConfig {
	cfg := ResetConfig{
		Client: a.client(), Namespace: namespace, SecretName: secretName,
		ConfigurationName: configuration, ServiceName: service, Settle: 2 * lag,
	}
	if change != nil {
		change(&cfg)
	}
	return cfg
}

func TestResetRevokesCA(t *testing.T) {
	t.Parallel()
	for name, now := range map[string]bool{
		"after the replicas have switched": false,
		"immediately":                      true,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAPI(t)
			a.create("pods", "ephemeral")
			busy := func(c *SelfManagedConfig) { c.Settle, c.RepairInterval = 2*lag, 10*time.Millisecond }
			replicas := []*replica{start(t, a, busy), start(t, a, busy)}
			for _, r := range replicas {
				eventually(t, "ready", r.ready)
			}
			leaked, stolen := a.ca(), replicas[0].leaf(t)
			foreign, _ := testCA(t, "foreign", time.Hour)
			a.setBundles(join(leaked, foreign))

			untrusted, watching := 0, make(chan struct{})
			var wg sync.WaitGroup
			wg.Go(func() {
				for alive := true; alive; time.Sleep(5 * time.Millisecond) {
					for _, r := range replicas {
						// The leaf was served between two moments, which are far apart if the machine
						// stalls. It counts unless an API server trusted it at one of them.
						before := time.Now()
						leaf := r.leaf(t)
						after := time.Now()
						if a.asOf(before.Add(-lag)).trusts(leaf, dnsName) != nil && a.asOf(after.Add(-lag)).trusts(leaf, dnsName) != nil {
							untrusted++
						}
					}
					select {
					case <-watching:
						alive = false
					default:
					}
				}
			})
			var progress []string
			err := Reset(t.Context(), a.reset(func(c *ResetConfig) {
				c.Now, c.Progress = now, func(s string) { progress = append(progress, s) }
				c.Settle = time.Second // generous, for machines that are busy
			}))
			if err != nil {
				t.Fatal(err)
			}
			never(t, "the leaked or the foreign CA is trusted", 1500*time.Millisecond, func() bool { return a.anyHolds(leaked) || a.anyHolds(foreign) })
			for _, r := range replicas {
				eventually(t, "ready", r.ready)
				if err := handshake(r.addr, a.asOf(time.Now())); err != nil {
					t.Error(err)
				}
			}
			close(watching)
			wg.Wait()
			if !now && untrusted > 0 {
				t.Errorf("%d calls would have been lost", untrusted)
			}
			if bytes.Equal(a.ca(), leaked) || !a.allHold(a.ca()) {
				t.Error("the new CA is not the one published")
			}
			if a.asOf(time.Now()).trusts(stolen, dnsName) == nil {
				t.Error("a leaf of the leaked CA is still trusted")
			}
			t.Logf("untrusted %d; progress:\n%s", untrusted, strings.Join(progress, "\n"))
		})
	}
}

// TestResetWithConcurrentRepairs resets while publishers that repair in a loop read
// stale objects.
func TestResetWithConcurrentRepairs(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.create("pods")
	old, _ := a.setCA(t, "first")
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	a.onGot = func(string) { time.Sleep(rand.N(20 * time.Millisecond)) }
	for range 4 {
		p := a.publisher()
		wg.Go(func() {
			for ctx.Err() == nil {
				_ = p.repair(ctx)
				_, _ = p.publish(ctx)
			}
		})
	}
	for round := range 8 {
		if err := Reset(t.Context(), a.reset(func(c *ResetConfig) { c.Now = true })); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		never(t, "a revoked CA is back", 60*time.Millisecond, func() bool { return a.anyHolds(old) })
		old = a.ca()
	}
}

// TestResetDuringPublish blocks a publisher after it has read the leaked CA, while
// Reset runs from start to end before it continues.
func TestResetDuringPublish(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.create("pods")
	leaked, _ := a.setCA(t, "leaked")
	reached, goOn := make(chan struct{}), make(chan struct{})
	var held atomic.Bool
	a.onGot = func(resource string) {
		if resource == "secrets" && held.CompareAndSwap(false, true) {
			close(reached)
			<-goOn
		}
	}
	done := make(chan error, 1)
	go func() {
		_, err := a.publisher().publish(t.Context())
		done <- err
	}()
	<-reached
	if err := Reset(t.Context(), a.reset(func(c *ResetConfig) { c.Now = true })); err != nil {
		t.Fatal(err)
	}
	close(goOn)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if a.anyHolds(leaked) || !a.allHold(a.ca()) {
		t.Error("the leaked CA is back")
	}
}

// TestRepairDoesNotRestoreRevokedCA covers a publisher that has published the
// leaked CA before.
func TestRepairDoesNotRestoreRevokedCA(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.create("pods")
	leaked, _ := a.setCA(t, "leaked")
	p := a.publisher()
	if _, err := p.publish(t.Context()); err != nil || !a.allHold(leaked) {
		t.Fatal("not published", err)
	}
	if err := Reset(t.Context(), a.reset(func(c *ResetConfig) { c.Now = true })); err != nil {
		t.Fatal(err)
	}
	if err := p.repair(t.Context()); err != nil || a.anyHolds(leaked) {
		t.Error("the leaked CA is back", err)
	}
}

func TestLeafOfRevokedCAIsNotServed(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.create("pods")
	a.onGot = func(string) { time.Sleep(30 * time.Millisecond) } // a wrong leaf would otherwise be replaced before the test sees it
	// Signing is to publish, not the repair loop.
	r := start(t, a, func(c *SelfManagedConfig) { c.Settle, c.RepairInterval = 2*time.Second, time.Hour })
	eventually(t, "the first CA settles", func() bool { return a.ca() != nil && a.allHold(a.ca()) })
	if err := Reset(t.Context(), a.reset(func(c *ResetConfig) { c.Now = true })); err != nil {
		t.Fatal(err)
	}
	eventually(t, "ready", func() bool {
		if c, err := r.GetCertificate(nil); err == nil && a.asOf(time.Now()).trusts(c.Leaf, dnsName) != nil {
			t.Fatal("a leaf of the revoked CA is served")
		}
		return r.ready()
	})
}

func TestReset(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		set    func(*testing.T, *api, context.CancelFunc)
		change func(*testing.T, *api, context.CancelFunc, *ResetConfig)
		want   string // in the error, or in the progress if there is none
		fails  bool
	}{
		"needs a client": {
			change: func(_ *testing.T, _ *api, _ context.CancelFunc, c *ResetConfig) { c.Client = kubernetes.Interface(nil) },
			want:   "required", fails: true,
		},
		"needs no configuration": {want: "there is no webhook in MutatingWebhookConfiguration zz-privatelink-webhook"},
		"fills an empty Secret": {
			set:  func(_ *testing.T, a *api, _ context.CancelFunc) { a.create("pods") },
			want: "trusts the new CA only",
		},
		"names the remedy when it is not allowed": {
			set:  func(_ *testing.T, a *api, _ context.CancelFunc) { a.forbid["PUT secrets"] = true },
			want: "ask for get and update on Secret", fails: true,
		},
		"reports that nothing was changed": {
			set:  func(_ *testing.T, a *api, _ context.CancelFunc) { a.forbid["PUT secrets"] = true },
			want: "nothing was changed", fails: true,
		},
		"waits for the replicas": {
			set:  func(t *testing.T, a *api, _ context.CancelFunc) { a.create("pods"); a.setCA(t, "leaked") },
			want: "waiting 30ms for the replicas", // three times Settle
		},
		"reports that nothing was changed if the Secret may not be read": {
			set:  func(_ *testing.T, a *api, _ context.CancelFunc) { a.forbid["GET secrets"] = true },
			want: "nothing was changed", fails: true,
		},
		"is repeated after a replica has written the Secret": {
			set: func(_ *testing.T, a *api, _ context.CancelFunc) {
				a.create("pods")
				var once sync.Once
				a.onGot = func(resource string) {
					if resource == "secrets" {
						once.Do(func() { a.editSecret(func(s *corev1.Secret) { s.Labels = map[string]string{"a": "b"} }) })
					}
				}
			},
			want: "trusts the new CA only",
		},
		"reports that the old CA is trusted if the new one may not be added": {
			set: func(t *testing.T, a *api, _ context.CancelFunc) {
				a.create("pods")
				a.setCA(t, "leaked")
				a.forbid["PATCH mutatingwebhookconfigurations"] = true
				reads := 0
				a.onGet = func(resource string) { // from the second read on it may, which comes too late
					if resource == "mutatingwebhookconfigurations" {
						if reads++; reads == 2 {
							a.set(func() { clear(a.forbid) })
						}
					}
				}
			},
			want: "the old CA may still be trusted: run the reset again", fails: true,
		},
		"reports that the old CA is trusted if it may not be removed": {
			set: func(t *testing.T, a *api, _ context.CancelFunc) {
				a.create("pods")
				a.setCA(t, "leaked")
				a.forbid["PATCH mutatingwebhookconfigurations"] = true
			},
			change: func(_ *testing.T, _ *api, _ context.CancelFunc, c *ResetConfig) { c.Now = true },
			want:   "the old CA may still be trusted: run the reset again", fails: true,
		},
		"reports on interruption that the old CA may be trusted": {
			set: func(t *testing.T, a *api, _ context.CancelFunc) { a.create("pods"); a.setCA(t, "leaked") },
			change: func(_ *testing.T, _ *api, cancel context.CancelFunc, c *ResetConfig) {
				c.Settle, c.Progress = time.Hour, func(s string) {
					if strings.Contains(s, "waiting") {
						cancel()
					}
				}
			},
			want: "the old CA may still be trusted: run the reset again", fails: true,
		},
		"detects that the leaked CA was restored": {
			set: func(t *testing.T, a *api, _ context.CancelFunc) { a.create("pods"); a.setCA(t, "leaked") },
			change: func(t *testing.T, a *api, _ context.CancelFunc, c *ResetConfig) {
				before := a.secret.Data
				c.Settle, c.Progress = 10*time.Millisecond, func(s string) {
					if strings.Contains(s, "waiting") {
						a.editSecret(func(s *corev1.Secret) { s.Data = before })
					}
				}
			},
			want: "was changed in the meantime", fails: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAPI(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if tc.set != nil {
				tc.set(t, a, cancel)
			}
			var progress []string
			cfg := a.reset(func(c *ResetConfig) {
				c.Settle, c.Progress = 10*time.Millisecond, func(s string) { progress = append(progress, s) }
			})
			if tc.change != nil {
				tc.change(t, a, cancel, &cfg)
			}
			err := Reset(ctx, cfg)
			if err != nil {
				progress = append(progress, err.Error())
			}
			if (err != nil) != tc.fails || !strings.Contains(strings.Join(progress, "\n"), tc.want) {
				t.Errorf("got %v, progress %q, want %q", err, progress, tc.want)
			}
		})
	}
}
