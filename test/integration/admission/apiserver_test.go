// SPDX-License-Identifier: Apache-2.0

// Package admission tests the shipped webhook configuration and the product's
// handler inside the API server's own admission plugin: selectors, CEL match
// conditions, caBundle and patch application are what runs in a cluster.
package admission

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	admissionregv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/admission/plugin/webhook/mutating"
	auser "k8s.io/apiserver/pkg/authentication/user"
	webhookutil "k8s.io/apiserver/pkg/util/webhook"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	clientscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"

	"github.com/castai/privatelink-webhook/deploy"
	"github.com/castai/privatelink-webhook/internal/rewrite"
	"github.com/castai/privatelink-webhook/webhook"
)

// apiServer is the admission plugin with the bundle's configuration, and the
// product's handler behind the Service's name.
type apiServer struct {
	*testing.T
	plugin *mutating.Plugin
	calls  atomic.Int64
	server *httptest.Server
	rules  *rewrite.Rules
}

// start renders the bundle for the configuration and loads it into the plugin.
func start(t *testing.T, c rewrite.Config) *apiServer {
	t.Helper()
	rules, err := rewrite.New(c)
	if err != nil {
		t.Fatal(err)
	}
	patcher := webhook.NewPatcher(rules)
	handler, err := webhook.NewHandler(webhook.HandlerConfig{Patcher: func() *webhook.Patcher { return patcher }, Metrics: webhook.NewMetrics("test")})
	if err != nil {
		t.Fatal(err)
	}
	a := &apiServer{T: t, rules: rules}
	mux := http.NewServeMux()
	mux.HandleFunc("/mutate", func(w http.ResponseWriter, r *http.Request) {
		a.calls.Add(1)
		handler.ServeHTTP(w, r)
	})
	ca, certificate := certificateFor(t, deploy.Name+"."+deploy.Namespace+".svc")
	a.server = httptest.NewUnstartedServer(mux)
	a.server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	a.server.StartTLS()
	t.Cleanup(a.server.Close)

	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	a.plugin = plugin(t, a.server.URL, configuration(t, deploy.Options{Rules: rules, Config: text}, ca), namespaces(rules))
	return a
}

// configuration is the MutatingWebhookConfiguration of the rendered bundle, with
// the caBundle that the webhook would publish.
func configuration(t *testing.T, o deploy.Options, ca []byte) *admissionregv1.MutatingWebhookConfiguration {
	t.Helper()
	bundle, err := deploy.Objects(o)
	if err != nil {
		t.Fatal(err)
	}
	for _, object := range bundle {
		c, ok := object.(*admissionregv1.MutatingWebhookConfiguration)
		if !ok {
			continue
		}
		for i := range c.Webhooks {
			c.Webhooks[i].ClientConfig.CABundle = ca
			c.Webhooks[i].ObjectSelector = &metav1.LabelSelector{} // the API server's default
		}
		return c
	}
	t.Fatal("the bundle has no webhook configuration")
	return nil
}

// tenant is a namespace with a label; kube-system has the same label.
const tenant, tenantLabel = "tenant-a", "example.com/tenant"

func namespaces(r *rewrite.Rules) (out []runtime.Object) {
	for _, n := range append(r.Namespaces(), "default", deploy.Namespace) {
		out = append(out, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: n, Labels: map[string]string{"kubernetes.io/metadata.name": n}}})
	}
	for _, n := range []string{tenant, "kube-system"} {
		out = append(out, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: n, Labels: map[string]string{"kubernetes.io/metadata.name": n, tenantLabel: "yes"}}})
	}
	return out
}

func plugin(t *testing.T, serverURL string, c *admissionregv1.MutatingWebhookConfiguration, namespaces []runtime.Object) *mutating.Plugin {
	t.Helper()
	u, err := url.Parse(serverURL)
	if err != nil {
		t.Fatal(err)
	}
	client := fake.NewClientset(append(namespaces, c)...)
	factory := informers.NewSharedInformerFactory(client, 0)
	p, err := mutating.NewMutatingWebhook(nil)
	if err != nil {
		t.Fatal(err)
	}
	p.SetServiceResolver(resolver{*u})
	p.SetAuthenticationInfoResolverWrapper(func(webhookutil.AuthenticationInfoResolver) webhookutil.AuthenticationInfoResolver {
		return anonymous{}
	})
	p.SetExternalKubeClientSet(client)
	p.SetExternalKubeInformerFactory(factory)
	if err := p.ValidateInitialization(); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	t.Cleanup(func() { close(stop); factory.Shutdown() })
	factory.Start(stop)
	factory.WaitForCacheSync(stop)
	return p
}

// resolver plays the Service: every name leads to the test's server.
type resolver struct{ u url.URL }

func (r resolver) ResolveEndpoint(string, string, int32) (*url.URL, error) { u := r.u; return &u, nil }

// anonymous sets no server name: the API server then verifies the name of the
// Service, as in a cluster.
type anonymous struct{}

func (anonymous) ClientConfigFor(string) (*rest.Config, error) { return &rest.Config{}, nil }
func (anonymous) ClientConfigForService(string, string, int) (*rest.Config, error) {
	return &rest.Config{}, nil
}

// create sends a pod through admission. It returns what would be persisted and
// whether the webhook was called.
func (a *apiServer) create(namespace string, pod *corev1.Pod) (*corev1.Pod, bool, error) {
	return a.admit(namespace, pod, nil, admission.Create, "", &metav1.CreateOptions{})
}

// update sends an update of a pod.
func (a *apiServer) update(namespace string, pod, old *corev1.Pod) (*corev1.Pod, bool, error) {
	return a.admit(namespace, pod, old, admission.Update, "", &metav1.UpdateOptions{})
}

// debug sends an update of the ephemeral containers.
func (a *apiServer) debug(namespace string, pod, old *corev1.Pod) (*corev1.Pod, bool, error) {
	return a.admit(namespace, pod, old, admission.Update, "ephemeralcontainers", &metav1.UpdateOptions{})
}

func (a *apiServer) admit(namespace string, pod, old *corev1.Pod, op admission.Operation, subresource string, options runtime.Object) (*corev1.Pod, bool, error) {
	pod = pod.DeepCopy()
	pod.Namespace = namespace
	pod.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}
	var before runtime.Object
	if old != nil {
		before = old
	}
	attributes := admission.NewAttributesRecord(pod, before, corev1.SchemeGroupVersion.WithKind("Pod"), namespace, pod.Name,
		schema.GroupVersionResource{Version: "v1", Resource: "pods"}, subresource, op, options, false, &auser.DefaultInfo{Name: "tester"})
	calls := a.calls.Load()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	err := a.plugin.Admit(ctx, attributes, admission.NewObjectInterfacesFromScheme(clientscheme.Scheme))
	return attributes.GetObject().(*corev1.Pod), a.calls.Load() > calls, err
}

// certificateFor makes a CA and a serving certificate below it.
func certificateFor(t *testing.T, host string) (caPEM []byte, serving tls.Certificate) {
	t.Helper()
	sign := func(template, parent *x509.Certificate, key, parentKey *ecdsa.PrivateKey) *x509.Certificate {
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
		der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), parentKey)
		if err != nil {
			t.Fatal(err)
		}
		c, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	key := func() *ecdsa.PrivateKey {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	caKey, leafKey := key(), key()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	ca := sign(template, template, caKey, caKey)
	leaf := sign(&x509.Certificate{SerialNumber: big.NewInt(2), DNSNames: []string{host}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}, ca, leafKey, caKey)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Raw}), tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: leafKey}
}
