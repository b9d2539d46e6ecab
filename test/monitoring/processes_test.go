// SPDX-License-Identifier: Apache-2.0

//go:build monitoring

package monitoring

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"sync"
	"time"

	admissionregv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/admission/plugin/webhook/mutating"
	auser "k8s.io/apiserver/pkg/authentication/user"
	webhookutil "k8s.io/apiserver/pkg/util/webhook"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	clientscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/component-base/metrics/legacyregistry"

	"github.com/castai/privatelink-webhook/deploy"
	"github.com/castai/privatelink-webhook/internal/rewrite"
	"github.com/castai/privatelink-webhook/webhook"
)

const registry = "123456789012.dkr.ecr.us-east-1.amazonaws.com/castai"

// settings are those of a process of the test, as JSON in the environment: metrics of
// Kubernetes are global, so that each API server needs a process of its own.
type settings struct {
	Role                string // roleAPIServer, rolePanics or roleSlow
	Listen              string
	Webhooks            []string // addresses
	CA                  []byte   // PEM
	Metrics             string   // of a webhook
	Config, Cert, KeyPE string   // files of a webhook
}

const (
	environment   = "MONITORING_TEST_PROCESS"
	roleAPIServer = "API server"
	rolePanics    = "webhook that panics"
	roleSlow      = "webhook that is slow"
)

// runProcess is the main function of a process.
func runProcess(text string) error {
	var s settings
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return err
	}
	if s.Role == roleAPIServer {
		return runAPIServer(s)
	}
	return runBroken(s)
}

// runBroken serves the product's handler and metrics with a bug.
func runBroken(s settings) error {
	metrics := webhook.NewMetrics("test")
	config, err := webhook.NewConfigFile(webhook.ConfigFileConfig{Path: s.Config, Metrics: metrics})
	if err != nil {
		return err
	}
	metrics.WatchCertificate(func() (leaf, ca time.Time) { return time.Now().Add(90 * 24 * time.Hour), ca })
	handler, err := webhook.NewHandler(webhook.HandlerConfig{Metrics: metrics, Patcher: func() *webhook.Patcher {
		if s.Role == rolePanics {
			panic("a bug")
		}
		time.Sleep(700 * time.Millisecond)
		return config.Patcher()
	}})
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("/metrics", metrics.Handler())
	failed := make(chan error, 2)
	go func() { failed <- http.ListenAndServe(s.Metrics, mux) }()
	go func() { failed <- http.ListenAndServeTLS(s.Listen, s.Cert, s.KeyPE, handler) }()
	return <-failed
}

// apiServer is the admission plugin of the API server with the bundle's configuration, and
// its metrics. It also serves metrics in the place of kube-state-metrics.
type apiServer struct {
	plugin        *mutating.Plugin
	client        *fake.Clientset
	configuration *admissionregv1.MutatingWebhookConfiguration

	mu        sync.Mutex
	webhooks  []string
	isBlocked bool
	state     string   // metrics of kube-state-metrics
	images    []string // of the pods that are created
}

// control changes an apiServer. Fields that are nil stay as they are.
type control struct {
	CA        []byte
	Ignore    bool // sets the failure policy
	IsBlocked *bool
	State     *string
	Images    []string
}

func runAPIServer(s settings) error {
	a := &apiServer{webhooks: s.Webhooks, images: []string{"ghcr.io/castai/images/agent:v1"}}
	if err := a.load(s.CA); err != nil {
		return err
	}
	go a.createPods()
	mux := http.NewServeMux()
	mux.Handle("/metrics", legacyregistry.Handler())
	mux.HandleFunc("/state", func(w http.ResponseWriter, _ *http.Request) {
		a.mu.Lock()
		defer a.mu.Unlock()
		fmt.Fprint(w, a.state)
	})
	mux.HandleFunc("/control", func(w http.ResponseWriter, r *http.Request) {
		var c control
		err := json.NewDecoder(r.Body).Decode(&c)
		if err == nil {
			err = a.change(r.Context(), c)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
		}
	})
	return http.ListenAndServe(s.Listen, mux)
}

func (a *apiServer) change(ctx context.Context, c control) error {
	if c.CA != nil || c.Ignore {
		changed := a.configuration.DeepCopy()
		for i := range changed.Webhooks {
			w := &changed.Webhooks[i]
			if c.CA != nil {
				w.ClientConfig.CABundle = c.CA
			}
			if c.Ignore {
				w.FailurePolicy = new(admissionregv1.Ignore)
			}
		}
		if _, err := a.client.AdmissionregistrationV1().MutatingWebhookConfigurations().Update(ctx, changed, metav1.UpdateOptions{}); err != nil {
			return err
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if c.IsBlocked != nil {
		a.isBlocked = *c.IsBlocked
	}
	if c.State != nil {
		a.state = *c.State
	}
	if c.Images != nil {
		a.images = c.Images
	}
	return nil
}

// load renders the bundle and loads its webhook configuration into the plugin.
func (a *apiServer) load(ca []byte) error {
	rules, err := rewrite.New(rewrite.Config{Registry: registry})
	if err != nil {
		return err
	}
	objects, err := deploy.Objects(deploy.Options{Rules: rules})
	if err != nil {
		return err
	}
	for _, o := range objects {
		if c, ok := o.(*admissionregv1.MutatingWebhookConfiguration); ok {
			a.configuration = c
		}
	}
	for i := range a.configuration.Webhooks {
		a.configuration.Webhooks[i].ClientConfig.CABundle = ca
	}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "castai-agent", Labels: map[string]string{"kubernetes.io/metadata.name": "castai-agent"}}}
	a.client = fake.NewClientset(namespace, a.configuration)
	factory := informers.NewSharedInformerFactory(a.client, 0)
	if a.plugin, err = mutating.NewMutatingWebhook(nil); err != nil {
		return err
	}
	a.plugin.SetServiceResolver(a)
	a.plugin.SetAuthenticationInfoResolverWrapper(func(webhookutil.AuthenticationInfoResolver) webhookutil.AuthenticationInfoResolver {
		return anonymous{}
	})
	a.plugin.SetExternalKubeClientSet(a.client)
	a.plugin.SetExternalKubeInformerFactory(factory)
	if err := a.plugin.ValidateInitialization(); err != nil {
		return err
	}
	factory.Start(nil)
	factory.WaitForCacheSync(nil)
	return nil
}

// ResolveEndpoint leads to a webhook that runs, as the Service does.
func (a *apiServer) ResolveEndpoint(string, string, int32) (*url.URL, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, address := range a.webhooks {
		c, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil && !a.isBlocked {
			_ = c.Close()
			return &url.URL{Scheme: "https", Host: address}, nil
		}
	}
	return &url.URL{Scheme: "https", Host: "127.0.0.1:9"}, nil // refuses connections
}

// anonymous is the API server towards a webhook: without credentials.
type anonymous struct{}

func (anonymous) ClientConfigFor(string) (*rest.Config, error) { return &rest.Config{}, nil }
func (anonymous) ClientConfigForService(string, string, int) (*rest.Config, error) {
	return &rest.Config{}, nil
}

// createPods creates a pod ten times a second. Those that are refused are the metric's.
func (a *apiServer) createPods() {
	for {
		a.mu.Lock()
		images := a.images
		a.mu.Unlock()
		pod := &corev1.Pod{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}, ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "castai-agent"}}
		for i, image := range images {
			pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{Name: fmt.Sprintf("c%d", i), Image: image})
		}
		attributes := admission.NewAttributesRecord(pod, nil, corev1.SchemeGroupVersion.WithKind("Pod"), pod.Namespace, pod.Name,
			schema.GroupVersionResource{Version: "v1", Resource: "pods"}, "", admission.Create, &metav1.CreateOptions{}, false, &auser.DefaultInfo{Name: "tester"})
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		_ = a.plugin.Admit(ctx, attributes, admission.NewObjectInterfacesFromScheme(clientscheme.Scheme))
		cancel()
		time.Sleep(100 * time.Millisecond)
	}
}

// isProcess reports whether this is a process of the test, and runs it.
func isProcess() bool {
	text := os.Getenv(environment)
	if text == "" {
		return false
	}
	fmt.Fprintln(os.Stderr, runProcess(text))
	return true
}
