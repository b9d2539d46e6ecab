// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	arv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func (a *api) publisher() *publisher {
	return &publisher{
		client: a.client(), namespace: namespace, secret: secretName,
		configuration: configuration, log: slog.New(slog.DiscardHandler),
	}
}

// setCA puts a new CA into the Secret, as another replica does.
func (a *api) setCA(t testing.TB, name string) (cert, key []byte) {
	cert, key = testCA(t, name, time.Hour)
	a.editSecret(func(s *corev1.Secret) {
		s.Data = map[string][]byte{caKey: cert, corev1.TLSCertKey: cert, corev1.TLSPrivateKeyKey: key}
	})
	return cert, key
}

func TestConcurrentPublishersKeepBothCAs(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.create("pods", "ephemeral")
	// Every second reader of the configuration is held until the first has read
	// it too: both then write on the base of the same version.
	var mu sync.Mutex
	var held chan struct{}
	a.onGet = func(resource string) {
		if resource == "secrets" {
			return
		}
		mu.Lock()
		mine := held
		if mine == nil {
			mine = make(chan struct{})
			held = mine
			mu.Unlock()
			select {
			case <-mine:
			case <-time.After(100 * time.Millisecond): // a retry has no partner
				mu.Lock()
				if held == mine {
					held = nil
				}
				mu.Unlock()
			}
			return
		}
		held = nil
		close(mine)
		mu.Unlock()
	}
	var cas [][]byte
	for round := range maxCAs / 2 {
		cert, _ := a.setCA(t, fmt.Sprint("ca ", round))
		cas = append(cas, cert)
		extra, _ := testCA(t, fmt.Sprint("extra ", round), time.Hour)
		cas = append(cas, extra)
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := a.publisher().publish(t.Context()); err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() { // a replica whose Secret had another CA
			_, err := a.publisher().write(t.Context(), false, func(old, _ []byte) []byte { return union(time.Now(), extra, old) })
			if err != nil {
				t.Error(err)
			}
		})
		wg.Wait()
	}
	for i, ca := range cas {
		if !a.allHold(ca) {
			t.Errorf("CA %d was lost", i)
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.conflicts == 0 {
		t.Error("there was no conflict, so the test proves nothing")
	}
}

func TestPublish(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		set  func(*testing.T, *api)
		want string
	}{
		"has nothing to do without a configuration":             {func(t *testing.T, a *api) { a.setCA(t, "ca") }, ""},
		"has nothing to do in a configuration without webhooks": {func(t *testing.T, a *api) { a.setCA(t, "ca"); a.create() }, ""},
		"fails if the Secret is still empty":                    {func(_ *testing.T, a *api) { a.create("pods") }, "Secret castai-privatelink/privatelink-webhook-ca: holds no CA yet"},
		"fails if the Secret contains no certificate": {func(_ *testing.T, a *api) {
			a.editSecret(func(s *corev1.Secret) { s.Data = map[string][]byte{caKey: []byte("x")} })
		}, "holds no CA yet"},
		"names the remedy when it may not read the configuration": {func(_ *testing.T, a *api) { a.forbid["GET mutatingwebhookconfigurations"] = true }, "apply the install bundle again"},
		"names the remedy when it may not read the Secret":        {func(_ *testing.T, a *api) { a.forbid["GET secrets"] = true }, "get, list, watch and update on this one Secret"},
		"names the configuration when the API server is not allowed": {func(t *testing.T, a *api) {
			a.setCA(t, "ca")
			a.create("pods")
			a.forbid["PATCH mutatingwebhookconfigurations"] = true
		}, "MutatingWebhookConfiguration zz-privatelink-webhook: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAPI(t)
			tc.set(t, a)
			_, err := a.publisher().publish(t.Context())
			if tc.want == "" && err == nil {
				return
			}
			if err == nil || tc.want == "" || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

// A CA that cannot be stored is never published: its key would be lost.
func TestReplacementOfACA(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		set   func(*api, *publisher)
		fails string
	}{
		"is stored and published": {set: func(*api, *publisher) {}},
		"is repeated after another replica has written the Secret": {set: func(a *api, _ *publisher) {
			var once sync.Once
			a.onGot = func(resource string) {
				if resource == "secrets" {
					once.Do(func() { a.editSecret(func(s *corev1.Secret) { s.Labels = map[string]string{"a": "b"} }) })
				}
			}
		}},
		"fails if the Secret may not be updated": {
			set:   func(a *api, _ *publisher) { a.forbid["PUT secrets"] = true },
			fails: "apply the install bundle again: its RBAC allows",
		},
		"fails if no CA can be made": {
			set: func(_ *api, p *publisher) {
				p.makeCA = func() (cert, key []byte, err error) { return nil, nil, errors.New("no entropy") }
			},
			fails: "make a CA: no entropy",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAPI(t)
			a.create("pods")
			future := a.ahead(t, time.Hour)
			p := a.publisher()
			p.makeCA = func() (cert, key []byte, err error) { return newCA(time.Now(), commonName, dnsName, year) }
			tc.set(a, p)
			_, err := p.publish(t.Context())
			if tc.fails == "" && (err != nil || bytes.Equal(a.ca(), future) || !a.allHold(a.ca())) {
				t.Errorf("error %v, or the new CA is not in the Secret and the configuration", err)
			}
			if tc.fails != "" && (err == nil || !strings.Contains(err.Error(), tc.fails) || !bytes.Equal(a.ca(), future) || len(a.patches) > 0) {
				t.Errorf("error %v, want %q, and no other CA in the Secret or the configuration", err, tc.fails)
			}
		})
	}
}

func TestRepairReadsOnceWhenNothingIsWrong(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.setCA(t, "ca")
	a.create("pods")
	p := a.publisher()
	if _, err := p.publish(t.Context()); err != nil {
		t.Fatal(err)
	}
	reads := map[string]int{}
	a.onGet = func(resource string) { reads[resource]++ }
	for range 5 {
		if err := p.repair(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if reads["mutatingwebhookconfigurations"] != 5 || reads["secrets"] != 0 || len(a.patches) != 1 {
		t.Errorf("reads %v, %d writes", reads, len(a.patches))
	}
}

func TestSettling(t *testing.T) {
	t.Parallel()
	now := time.Now()
	ca, _ := testCA(t, "ca", time.Hour)
	other, _ := testCA(t, "other", time.Hour)
	written := func(ago time.Duration, bundles ...[]byte) *arv1.MutatingWebhookConfiguration {
		at := metav1.NewTime(now.Add(-ago))
		cfg := &arv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{ManagedFields: []metav1.ManagedFieldsEntry{
			{Manager: "kubectl", Time: &metav1.Time{Time: now.Add(-24 * time.Hour)}}, {Manager: fieldManager, Time: &at}, {Manager: "without a time"},
		}}}
		for _, b := range bundles {
			cfg.Webhooks = append(cfg.Webhooks, arv1.MutatingWebhook{ClientConfig: arv1.WebhookClientConfig{CABundle: b}})
		}
		return cfg
	}
	withoutTime := written(0, ca)
	withoutTime.ManagedFields = nil
	for name, tc := range map[string]struct {
		before view
		cfg    *arv1.MutatingWebhookConfiguration
		want   time.Duration // of a settle time of 5s, give or take one
	}{
		"no configuration is not waited for":                           {view{}, nil, 0},
		"a configuration without webhooks is not waited for":           {view{}, written(0), 0},
		"a CA that has just been published is waited for":              {view{}, written(0, ca), 5 * time.Second},
		"also when another replica published it":                       {view{ca: other, since: now.Add(-time.Hour)}, written(2*time.Second, ca), 5 * time.Second},
		"a CA seen three seconds ago is waited for as long as is left": {view{ca: ca, since: now.Add(-3 * time.Second)}, written(3*time.Second, ca), 2 * time.Second},
		"a CA seen long ago is not waited for":                         {view{ca: ca, since: now.Add(-time.Hour)}, written(0, ca), 0},
		"after a restart an untouched configuration is not waited for": {view{}, written(time.Hour, ca), 0},
		"a CA published within the clock skew is waited for":           {view{}, written(backDate, ca), 5 * time.Second},
		"a configuration without a write time is waited for":           {view{}, withoutTime, 5 * time.Second},
		"a CA that had gone from the bundle is waited for again":       {view{ca: ca}, written(0, ca), 5 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			p := &publisher{seen: tc.before}
			got := p.observe(tc.cfg, ca).settled(5 * time.Second)
			if d := got - tc.want; d > 0 || d < -time.Second {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
	for name, cfg := range map[string]*arv1.MutatingWebhookConfiguration{
		"a CA that only some entries hold is not published": written(0, ca, other),
		"a CA that no entry holds is not published":         written(0, nil),
	} {
		t.Run(name, func(t *testing.T) {
			if (&publisher{}).observe(cfg, ca).published() {
				t.Error("the CA counts as published")
			}
		})
	}
}

func TestSignUsesCurrentCA(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.create("pods")
	r := start(t, a, nil)
	eventually(t, "ready", r.ready)
	r.stop()
	g := &signer{source: r.SelfManaged, ctx: t.Context()}
	expired, expiredKey := testCA(t, "expired", -time.Hour)
	template := func() *x509.Certificate {
		return &x509.Certificate{PublicKey: r.leaf(t).PublicKey, DNSNames: []string{dnsName}}
	}
	if leaf, err := g.Sign(template()); err != nil || a.asOf(time.Now()).trusts(leaf, dnsName) != nil {
		t.Errorf("a leaf of the current CA: %v", err)
	}
	other, _ := testCA(t, "other", time.Hour)
	if !g.inUse(a.asOf(time.Now())) || g.inUse(view{entries: []entry{{"pods", other}}}) {
		t.Error("a leaf counts as in use exactly if the configuration trusts it")
	}
	// The second read of the Secret is that of the key.
	reads := 0
	a.onGet = func(resource string) {
		if resource == "secrets" {
			if reads++; reads == 2 {
				a.setCA(t, "another")
			}
		}
	}
	if _, err := g.Sign(template()); !errors.Is(err, errReplaced) {
		t.Errorf("a CA that was replaced after it was published: %v", err)
	}
	if leaf, err := g.Sign(template()); err != nil || leaf.CheckSignatureFrom(parse(a.ca())[0]) != nil {
		t.Errorf("a leaf of the next CA: %v", err)
	}
	a.editSecret(func(s *corev1.Secret) { _, s.Data[corev1.TLSPrivateKeyKey] = testCA(t, "other", time.Hour) })
	if _, err := g.Sign(template()); err == nil || !strings.Contains(err.Error(), "private key does not match") {
		t.Errorf("with the key of another CA: %v", err)
	}
	for name, tc := range map[string]struct {
		set  func(*corev1.Secret)
		want string
	}{
		"without a CA":                      {func(s *corev1.Secret) { s.Data = nil }, errNoCA.Error()},
		"with a CA that expired before use": {func(s *corev1.Secret) { s.Data = nil; setCA(s, expired, expiredKey) }, "expired before it was published: check this node's clock"},
	} {
		a.editSecret(tc.set)
		if _, err := g.Sign(template()); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	a.setCA(t, "last")
	if _, err := g.Sign(&x509.Certificate{DNSNames: []string{dnsName}}); err == nil || !strings.Contains(err.Error(), "sign a leaf for "+dnsName) {
		t.Errorf("a request without a key: %v", err)
	}
	reads = 0
	a.onGet = func(resource string) {
		if resource == "secrets" {
			if reads++; reads == 2 {
				a.set(func() { a.forbid["GET secrets"] = true })
			}
		}
	}
	if _, err := g.Sign(template()); err == nil || !strings.Contains(err.Error(), "apply the install bundle again") {
		t.Errorf("a key that may not be read: %v", err)
	}
}
