// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	arv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
)

func TestNewSelfManagedValidatesConfig(t *testing.T) {
	t.Parallel()
	good := SelfManagedConfig{RESTConfig: &rest.Config{}, Namespace: "n", SecretName: "s", ConfigurationName: "c", ServiceName: "w"}
	for name, tc := range map[string]struct {
		change func(*SelfManagedConfig)
		want   string
	}{
		"nothing beyond the five fields":     {func(*SelfManagedConfig) {}, ""},
		"a REST configuration":               {func(c *SelfManagedConfig) { c.RESTConfig = nil }, "RESTConfig is required"},
		"a namespace":                        {func(c *SelfManagedConfig) { c.Namespace = "" }, "Namespace is required"},
		"a Secret":                           {func(c *SelfManagedConfig) { c.SecretName = "" }, "SecretName is required"},
		"a configuration":                    {func(c *SelfManagedConfig) { c.ConfigurationName = "" }, "ConfigurationName is required"},
		"a Service":                          {func(c *SelfManagedConfig) { c.ServiceName = "" }, "ServiceName is required"},
		"a leaf that its CA outlives":        {func(c *SelfManagedConfig) { c.CADuration = time.Hour }, "LeafDuration 168h0m0s must be shorter than CADuration 1h0m0s"},
		"a leaf that does not end with it":   {func(c *SelfManagedConfig) { c.CADuration = 7 * 24 * time.Hour }, "LeafDuration 168h0m0s must be shorter than CADuration 168h0m0s"},
		"all faults to be reported together": {func(c *SelfManagedConfig) { c.Namespace, c.ServiceName = "", "" }, "Namespace is required\nself-managed certificates: ServiceName is required"},
		"a REST configuration that works":    {func(c *SelfManagedConfig) { c.RESTConfig = &rest.Config{Host: "::"} }, "client: "},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := good
			tc.change(&cfg)
			_, err := NewSelfManaged(cfg)
			if tc.want == "" && err == nil {
				return
			}
			if err == nil || tc.want == "" || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	source, err := NewSelfManaged(SelfManagedConfig{RESTConfig: &rest.Config{}, Namespace: "n", SecretName: "s", ConfigurationName: "c", ServiceName: "w", Settle: -1})
	if err != nil {
		t.Fatal(err)
	}
	reset := ResetConfig{Settle: -1}.withDefaults()
	for name, d := range map[string]struct{ have, want time.Duration }{
		"CADuration":                    {source.cfg.CADuration, 365 * day},
		"LeafDuration":                  {source.cfg.LeafDuration, 7 * day},
		"Settle":                        {source.cfg.Settle, 5 * time.Second},
		"RepairInterval":                {source.cfg.RepairInterval, 2 * time.Second},
		"ConfigurationWait":             {source.cfg.ConfigurationWait, 10 * time.Second},
		"CADuration of a reset":         {reset.CADuration, 365 * day},
		"Settle of a reset":             {reset.Settle, 5 * time.Second},
		"Settle of a reset without one": {ResetConfig{}.withDefaults().Settle, 5 * time.Second},
	} {
		if d.have != d.want {
			t.Errorf("%s is %s, want %s", name, d.have, d.want)
		}
	}
}

// kubectl creates the configuration last, perhaps when the pod already runs.
func TestANewReplicaWaitsForTheConfiguration(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	r := start(t, a, func(c *SelfManagedConfig) { c.ConfigurationWait = time.Hour })
	eventually(t, "a certificate", func() bool { _, err := r.GetCertificate(nil); return err == nil })
	if err := r.Ready(); err == nil || !strings.Contains(err.Error(), "there is no webhook in MutatingWebhookConfiguration "+configuration+" yet") {
		t.Errorf("without a configuration: %v", err)
	}
	a.create("pods.privatelink.cast.ai")
	eventually(t, "ready with the configuration", r.ready)
	if !a.allHold(a.ca()) {
		t.Error("ready before the CA is in the configuration")
	}
}

func TestConfigurationCreatedLater(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	r := prepare(t, a, nil)
	if err := r.Ready(); err == nil || !strings.Contains(err.Error(), "no serving certificate for "+dnsName+" yet") {
		t.Errorf("before the first leaf: %v", err)
	}
	r.run(t)
	eventually(t, "ready without a configuration", r.ready)
	leaf := r.leaf(t)
	if leafEnd, caEnd := r.Expiry(); !leafEnd.Equal(leaf.NotAfter) || time.Until(leafEnd) > 7*24*time.Hour || time.Until(caEnd) < 364*24*time.Hour {
		t.Errorf("expiry of the leaf %v, of the CA %v", leafEnd, caEnd)
	}
	if ca := parse(a.ca())[0]; ca.Subject.CommonName != commonName {
		t.Errorf("the CA is called %s", ca.Subject)
	}

	a.create("pods.privatelink.cast.ai", "ephemeral.privatelink.cast.ai")
	eventually(t, "the CA is in each entry", func() bool { return a.allHold(a.ca()) })
	eventually(t, "ready with the configuration", r.ready)
	if err := handshake(r.addr, a.asOf(time.Now())); err != nil {
		t.Error(err)
	}
	if !bytes.Equal(r.leaf(t).AuthorityKeyId, leaf.AuthorityKeyId) {
		t.Error("the CA was replaced for no reason")
	}

	a.mu.Lock()
	defer a.mu.Unlock()
	for _, w := range a.config.Webhooks {
		if w.ClientConfig.Service == nil || *w.FailurePolicy != arv1.Fail || len(w.MatchConditions) != 1 {
			t.Errorf("webhook %s lost fields of its own: %+v", w.Name, w)
		}
	}
	for _, p := range a.patches {
		if len(p) != 2 || len(p["metadata"].(map[string]any)) != 1 {
			t.Errorf("more than names and bundles was patched: %v", p)
		}
		for _, w := range p["webhooks"].([]any) {
			w := w.(map[string]any)
			if c := w["clientConfig"].(map[string]any); len(w) != 2 || w["name"] == nil || len(c) != 1 || c["caBundle"] == nil {
				t.Errorf("more than name and bundle was patched: %v", w)
			}
		}
	}
}

func TestBundleRepair(t *testing.T) {
	t.Parallel()
	foreign, foreignKey := testCA(t, "foreign", time.Hour)
	expired, _ := testCA(t, "expired", -time.Hour)
	for name, tc := range map[string]struct{ bundle, keeps, loses []byte }{
		"that was wiped is repaired":                         {nil, nil, nil},
		"that holds a foreign CA gets ours too":              {foreign, foreign, nil},
		"that holds garbage is repaired":                     {[]byte("-----BEGIN CERTIFICATE-----\nAAAA\n"), nil, nil},
		"that holds a key is repaired, and loses the key":    {join(foreignKey, foreign), foreign, foreignKey},
		"that holds an expired CA is repaired, and loses it": {join(expired, foreign), foreign, expired},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAPI(t)
			a.create("pods", "ephemeral")
			r := start(t, a, nil)
			eventually(t, "ready", r.ready)
			a.setBundles(tc.bundle)
			eventually(t, "the CA is back in each entry", func() bool { return a.allHold(a.ca()) })
			for _, e := range a.bundles() {
				if tc.keeps != nil && !holds(e.bundle, tc.keeps) {
					t.Errorf("%s lost the foreign CA", e.name)
				}
				if tc.loses != nil && bytes.Contains(e.bundle, tc.loses) {
					t.Errorf("%s kept an invalid entry", e.name)
				}
			}
			eventually(t, "ready again", r.ready)
		})
	}
}

func TestEntryWithoutCAIsRepaired(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.create("pods", "ephemeral")
	r := start(t, a, nil)
	eventually(t, "ready", r.ready)
	a.edit(func(c *arv1.MutatingWebhookConfiguration) { c.Webhooks[1].ClientConfig.CABundle = nil })
	eventually(t, "the CA is back in each entry", func() bool { return a.allHold(a.ca()) })
}

func TestConfigurationRecreated(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.create("pods")
	r := start(t, a, nil)
	eventually(t, "ready", r.ready)
	a.set(func() { a.config, a.history = nil, append(a.history, moment{from: time.Now()}) })
	never(t, "not ready without a configuration", 500*time.Millisecond, func() bool { return !r.ready() })
	a.create("pods")
	eventually(t, "the new configuration contains the CA", func() bool { return a.allHold(a.ca()) })
}

func TestUnreachableAPIServer(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.create("pods")
	// A leaf of 6 s is due after 4 s.
	r := start(t, a, func(c *SelfManagedConfig) { c.LeafDuration = 6 * time.Second })
	eventually(t, "ready", r.ready)
	leaf, trusted := r.leaf(t), a.asOf(time.Now())
	a.setDown(true)
	fresh := start(t, a, nil)
	for end := leaf.NotAfter.Add(-500 * time.Millisecond); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if err := handshake(r.addr, trusted); err != nil && time.Now().Before(end) {
			t.Fatalf("the current leaf is no longer served: %v", err)
		}
		if err := r.Ready(); err != nil && time.Now().Before(end) {
			t.Fatalf("an unreachable API server made the replica unready: %v", err)
		}
	}
	eventually(t, "an expired leaf is reported by Ready", func() bool {
		err := r.Ready()
		return err != nil && strings.Contains(err.Error(), "expired at")
	})
	if err := fresh.Ready(); err == nil {
		t.Error("a new replica cannot be ready")
	}
	eventually(t, "the failure is logged", func() bool { return strings.Contains(r.logs.String(), "cannot verify that the CA is published") })
	a.setDown(false)
	eventually(t, "both are ready once it is back", func() bool { return r.ready() && fresh.ready() })
	if err := handshake(r.addr, a.asOf(time.Now())); err != nil {
		t.Error(err)
	}
}

func TestMissingRBAC(t *testing.T) {
	t.Parallel()
	for name, verb := range map[string]string{
		"without get on the configuration":   "GET mutatingwebhookconfigurations",
		"without patch on the configuration": "PATCH mutatingwebhookconfigurations",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAPI(t)
			a.create("pods")
			a.forbid[verb] = true
			r := start(t, a, nil)
			eventually(t, "Ready names the remedy", func() bool {
				err := r.Ready()
				return err != nil && strings.Contains(err.Error(), "apply the install bundle again") && strings.Contains(err.Error(), configuration)
			})
			never(t, "an untrusted leaf", 300*time.Millisecond, func() bool { _, err := r.GetCertificate(nil); return err == nil })
			a.set(func() { clear(a.forbid) })
			eventually(t, "ready once RBAC is applied", r.ready)
		})
	}
}

// A failure that lasts is logged once, and so is its end.
func TestRepairLogsTheBeginningAndTheEndOfAFailure(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.create("pods")
	var reads atomic.Int64
	a.onGet = func(resource string) {
		if resource == "mutatingwebhookconfigurations" {
			reads.Add(1)
		}
	}
	r := start(t, a, func(c *SelfManagedConfig) { c.RepairInterval = 5 * time.Millisecond })
	logged := func(when string, failures, ends int) {
		t.Helper()
		before := reads.Load()
		eventually(t, "more repairs "+when, func() bool { return reads.Load() > before+3 })
		logs := r.logs.String()
		if n, m := strings.Count(logs, "cannot verify that the CA is published"), strings.Count(logs, "can be read and repaired again"); n != failures || m != ends {
			t.Errorf("%s: %d failures and %d ends are logged, want %d and %d", when, n, m, failures, ends)
		}
	}
	eventually(t, "ready", r.ready)
	logged("at first", 0, 0)
	a.set(func() { a.forbid["GET mutatingwebhookconfigurations"] = true })
	logged("while it may not read", 1, 0)
	a.set(func() { clear(a.forbid) })
	logged("when it may read again", 1, 1)
	r.stop()
	if strings.Count(r.logs.String(), "cannot verify") != 1 {
		t.Error("the end of the replica is logged as a failure")
	}
}

func TestContextCancellation(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change func(*SelfManagedConfig)
		when   func(*api, *replica) bool
	}{
		"stops a replica that runs": {nil, func(_ *api, r *replica) bool { return r.ready() }},
		"stops a replica that lets a bundle settle": {
			func(c *SelfManagedConfig) { c.Settle = time.Hour },
			func(a *api, _ *replica) bool { return a.ca() != nil && a.allHold(a.ca()) },
		},
		"stops a replica whose API server is unreachable": {nil, func(a *api, r *replica) bool {
			a.setDown(true)
			return strings.Contains(r.logs.String(), "cannot verify")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAPI(t)
			a.create("pods")
			r := start(t, a, tc.change)
			eventually(t, "the condition for the stop", func() bool { return tc.when(a, r) })
			began := time.Now()
			r.stop()
			if d := time.Since(began); d > 5*time.Second {
				t.Errorf("it took %s", d)
			}
		})
	}
}

func TestStoppedAuthorityIsRestarted(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	file := filepath.Join(t.TempDir(), "ca.crt")
	ca, _ := testCA(t, "api", time.Hour)
	write := func() {
		if err := os.WriteFile(file, ca, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write()
	r := prepare(t, a, func(c *SelfManagedConfig) { c.RESTConfig.CAFile = file })
	if err := os.Remove(file); err != nil { // the authority makes a client of its own
		t.Fatal(err)
	}
	r.run(t)
	eventually(t, "the authority stops", func() bool {
		return strings.Contains(r.logs.String(), "the certificate authority stopped, restarting it")
	})
	write()
	eventually(t, "ready", r.ready)
}

func TestLogs(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.create("pods")
	r, other := start(t, a, nil), start(t, a, nil)
	eventually(t, "ready", func() bool { return r.ready() && other.ready() })
	a.setDown(true)
	time.Sleep(time.Second)
	a.setDown(false)
	a.editSecret(func(s *corev1.Secret) { s.Data = nil })
	before := r.leaf(t)
	eventually(t, "a new leaf", func() bool { return !r.leaf(t).Equal(before) })
	lines := strings.Split(strings.TrimSpace(r.logs.String()+other.logs.String()), "\n")
	for _, l := range lines {
		if strings.Contains(l, "PRIVATE KEY") || strings.Contains(l, "CERTIFICATE-----") {
			t.Errorf("key material in the log: %s", l)
		}
		if strings.Contains(l, `"level":"ERROR"`) {
			t.Errorf("nothing here is an error: %s", l)
		}
	}
	warnings := slices.DeleteFunc(lines, func(l string) bool {
		return strings.Contains(l, `"level":"DEBUG"`) || strings.Contains(l, `"level":"INFO"`)
	})
	if len(warnings) > 8 {
		t.Errorf("%d warnings are too many:\n%s", len(warnings), strings.Join(warnings, "\n"))
	}
}
