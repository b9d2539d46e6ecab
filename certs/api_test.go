// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"net/http/httptest"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	arv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/client-go/applyconfigurations"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
)

const (
	namespace     = "castai-privatelink"
	secretName    = "privatelink-webhook-ca"
	configuration = "zz-privatelink-webhook"
	service       = "privatelink-webhook"
	dnsName       = service + "." + namespace + ".svc"
)

// api is an API server with one Secret and at most one configuration. It allows
// what our RBAC allows and nothing else. Resource versions, the watch and
// patches are the real thing, with the owners of fields by apimachinery's field manager.
type api struct {
	t      testing.TB
	server *httptest.Server
	fields *managedfields.FieldManager

	mu        sync.Mutex
	version   int
	secret    *corev1.Secret
	config    *arv1.MutatingWebhookConfiguration
	history   []moment
	watchers  map[chan []byte]bool
	down      bool
	denied    []string // requests beyond our RBAC
	patches   []map[string]any
	conflicts int
	forbid    map[string]bool // "GET mutatingwebhookconfigurations": RBAC that was not applied

	// Both are called without the lock: before a read looks at the object, and
	// between its check and its response.
	onGet, onGot func(resource string)
}

// moment is what the configuration's bundles were from some time on.
type moment struct {
	from    time.Time
	entries []entry
}

func newAPI(t testing.TB) *api {
	t.Helper()
	gvk := arv1.SchemeGroupVersion.WithKind("MutatingWebhookConfiguration")
	fields, err := managedfields.NewDefaultFieldManager(applyconfigurations.NewTypeConverter(scheme.Scheme),
		scheme.Scheme, noDefaults{}, scheme.Scheme, gvk, gvk.GroupVersion(), "", nil)
	if err != nil {
		t.Fatal(err)
	}
	a := &api{t: t, fields: fields, version: 1, watchers: map[chan []byte]bool{}, forbid: map[string]bool{}}
	a.secret = &corev1.Secret{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: secretName, ResourceVersion: "1"},
	}
	a.history = []moment{{}}
	a.server = httptest.NewServer(a)
	t.Cleanup(func() {
		a.server.CloseClientConnections()
		a.server.Close()
		a.mu.Lock()
		defer a.mu.Unlock()
		if len(a.denied) > 0 {
			t.Errorf("requests beyond the RBAC that we ship: %q", a.denied)
		}
	})
	return a
}

type noDefaults struct{}

func (noDefaults) Default(runtime.Object) {}

func (a *api) restConfig() *rest.Config {
	return &rest.Config{
		Host: a.server.URL, QPS: -1,
		ContentConfig: rest.ContentConfig{ContentType: "application/json", AcceptContentTypes: "application/json"},
	}
}

func (a *api) client() kubernetes.Interface { return kubernetes.NewForConfigOrDie(a.restConfig()) }

func (a *api) next() string {
	a.version++
	return strconv.Itoa(a.version)
}

// create makes the configuration as a user does, without a bundle.
func (a *api) create(webhooks ...string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	cfg := &arv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: configuration}}
	for _, name := range webhooks {
		path, fail, none := "/mutate", arv1.Fail, arv1.SideEffectClassNone
		cfg.Webhooks = append(cfg.Webhooks, arv1.MutatingWebhook{
			Name: name, FailurePolicy: &fail, SideEffects: &none, AdmissionReviewVersions: []string{"v1"},
			ClientConfig:    arv1.WebhookClientConfig{Service: &arv1.ServiceReference{Namespace: namespace, Name: service, Path: &path}},
			MatchConditions: []arv1.MatchCondition{{Name: "has-public-image", Expression: "true"}},
		})
	}
	a.store(&arv1.MutatingWebhookConfiguration{}, cfg, "kubectl")
}

// edit changes the configuration as `kubectl replace` does.
func (a *api) edit(change func(*arv1.MutatingWebhookConfiguration)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	cfg := a.config.DeepCopy()
	change(cfg)
	a.store(a.config, cfg, "kubectl")
}

func (a *api) setBundles(b []byte) {
	a.edit(func(cfg *arv1.MutatingWebhookConfiguration) {
		for i := range cfg.Webhooks {
			cfg.Webhooks[i].ClientConfig.CABundle = b
		}
	})
}

func (a *api) store(old, cfg *arv1.MutatingWebhookConfiguration, manager string) {
	gvk := arv1.SchemeGroupVersion.WithKind("MutatingWebhookConfiguration")
	old.SetGroupVersionKind(gvk)
	cfg.SetGroupVersionKind(gvk)
	out, err := a.fields.Update(old, cfg, manager)
	if err != nil {
		a.t.Errorf("update of the configuration: %v", err)
		return
	}
	a.keep(out.(*arv1.MutatingWebhookConfiguration))
}

func (a *api) keep(cfg *arv1.MutatingWebhookConfiguration) {
	cfg.SetGroupVersionKind(arv1.SchemeGroupVersion.WithKind("MutatingWebhookConfiguration"))
	cfg.ResourceVersion = a.next()
	a.config = cfg
	m := moment{from: time.Now()}
	for _, w := range cfg.Webhooks {
		m.entries = append(m.entries, entry{w.Name, w.ClientConfig.CABundle})
	}
	a.history = append(a.history, m)
}

// asOf is what an API server knew that learned of each change with a delay.
func (a *api) asOf(at time.Time) view {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, m := range slices.Backward(a.history) {
		if !m.from.After(at) {
			return view{entries: m.entries}
		}
	}
	return view{}
}

func (a *api) bundles() []entry { return a.asOf(time.Now()).entries }

// ca is the CA certificate in the Secret.
func (a *api) ca() []byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.secret.Data[caKey]
}

// editSecret changes the Secret as a user does.
func (a *api) editSecret(change func(*corev1.Secret)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.secret.DeepCopy()
	change(s)
	a.keepSecret(s)
}

func (a *api) keepSecret(s *corev1.Secret) {
	s.TypeMeta, s.ResourceVersion = a.secret.TypeMeta, a.next()
	a.secret = s
	for w := range a.watchers {
		w <- event("MODIFIED", s)
	}
}

// setDown cuts all connections and answers no more, or comes back.
func (a *api) setDown(down bool) {
	a.mu.Lock()
	a.down = down
	a.mu.Unlock()
	if down {
		a.server.CloseClientConnections()
	}
}

func (a *api) set(change func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change()
}
