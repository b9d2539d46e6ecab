// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"context"
	"encoding/json"
	"sync"
	"testing"
	"time"

	admissionregv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/admission/plugin/policy/generic"
	mutatingpolicy "k8s.io/apiserver/pkg/admission/plugin/policy/mutating"
	validatingpolicy "k8s.io/apiserver/pkg/admission/plugin/policy/validating"
	auser "k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/warning"
	"k8s.io/client-go/discovery"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	clientscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/openapi"
	"k8s.io/client-go/openapi/openapitest"

	"github.com/castai/privatelink-webhook/deploy"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// policies are the API server's two policy plugins with what the bundle of
// `privatelink install --engine policy` has.
type policies struct {
	*testing.T
	rules      *rewrite.Rules
	mutating   *mutatingpolicy.Plugin
	validating *validatingpolicy.Plugin
	mutator    *admissionregv1.MutatingAdmissionPolicy
	guard      *admissionregv1.ValidatingAdmissionPolicy
}

func startPolicies(t *testing.T, c rewrite.Config, o deploy.Options) *policies {
	t.Helper()
	rules, err := rewrite.New(c)
	if err != nil {
		t.Fatal(err)
	}
	o.Rules, o.Engine = rules, deploy.Policy
	if o.Config, err = json.Marshal(c); err != nil {
		t.Fatal(err)
	}
	bundle, err := deploy.Objects(o)
	if err != nil {
		t.Fatal(err)
	}
	p := &policies{T: t, rules: rules}
	p.complete(bundle)
	client := fake.NewClientset(append(namespaces(rules), bundle...)...)
	factory := informers.NewSharedInformerFactory(client, 0)
	stop := make(chan struct{})
	t.Cleanup(func() { close(stop); factory.Shutdown() })

	if p.mutating, err = mutatingpolicy.NewPlugin(nil); err != nil {
		t.Fatal(err)
	}
	p.mutating.SetEnabled(true)
	wire(t, p.mutating.Plugin, client, factory, stop)
	if p.validating, err = validatingpolicy.NewPlugin(nil); err != nil {
		t.Fatal(err)
	}
	wire(t, p.validating.Plugin, client, factory, stop)
	factory.Start(stop)
	factory.WaitForCacheSync(stop)
	if !p.mutating.WaitForReady() || !p.validating.WaitForReady() {
		t.Fatal("the plugins do not become ready")
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		// The plugin reads the schemas in the background, and returns 503 until it has them.
		_, err := p.create(rules.Namespaces()[0], podsWith("probe", "")["container"])
		if err == nil {
			return p
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// complete adds the API server's defaults to the policies of the bundle.
func (p *policies) complete(bundle []runtime.Object) {
	for _, object := range bundle {
		switch o := object.(type) {
		case *admissionregv1.MutatingAdmissionPolicy:
			p.mutator, o.Spec.MatchConstraints.ObjectSelector = o, &metav1.LabelSelector{}
		case *admissionregv1.ValidatingAdmissionPolicy:
			if o.Name == deploy.GuardName {
				p.guard = o
			}
			o.Spec.MatchConstraints.ObjectSelector = &metav1.LabelSelector{}
		case *admissionregv1.MutatingAdmissionPolicyBinding:
			completeMatch(o.Spec.MatchResources)
		case *admissionregv1.ValidatingAdmissionPolicyBinding:
			completeMatch(o.Spec.MatchResources)
		}
	}
}

func completeMatch(r *admissionregv1.MatchResources) {
	if r != nil {
		r.ObjectSelector, r.MatchPolicy = &metav1.LabelSelector{}, new(admissionregv1.Equivalent)
	}
}

func wire[H any](t *testing.T, p *generic.Plugin[H], client kubernetes.Interface, factory informers.SharedInformerFactory, stop chan struct{}) {
	t.Helper()
	p.SetExternalKubeClientSet(schemas{client})
	p.SetExternalKubeInformerFactory(factory)
	p.SetDynamicClient(dynamicfake.NewSimpleDynamicClient(clientscheme.Scheme))
	p.SetRESTMapper(meta.NewDefaultRESTMapper(nil))
	p.SetUnconditionalAuthorizer(noAuthorizer{})
	p.SetDrainedNotification(stop)
	if err := p.ValidateInitialization(); err != nil {
		t.Fatal(err)
	}
}

// schemas is a client that has the API server's OpenAPI schemas, which the
// mutating plugin requests.
type schemas struct{ kubernetes.Interface }

func (s schemas) Discovery() discovery.DiscoveryInterfaces {
	return withSchemas{s.Interface.Discovery()}
}

type withSchemas struct{ discovery.DiscoveryInterfaces }

func (withSchemas) OpenAPIV3() openapi.Client { return openapitest.NewEmbeddedFileClient() }

type noAuthorizer struct{}

func (noAuthorizer) Authorize(context.Context, authorizer.Attributes) (authorizer.Decision, string, error) {
	return authorizer.DecisionNoOpinion, "", nil
}

// verdict is the result of the guard.
type verdict struct {
	warnings []string
	denied   error
}

type recorder struct {
	mu    sync.Mutex
	texts []string
}

func (r *recorder) AddWarning(_, text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.texts = append(r.texts, text)
}

// create sends a pod through the policy.
func (p *policies) create(namespace string, pod *corev1.Pod) (*corev1.Pod, error) {
	a := request(namespace, pod, nil, "")
	err := p.mutating.Admit(context.Background(), a, admission.NewObjectInterfacesFromScheme(clientscheme.Scheme))
	return a.GetObject().(*corev1.Pod), err
}

// update sends an update of a pod through the policy.
func (p *policies) update(namespace string, pod, old *corev1.Pod) (*corev1.Pod, error) {
	return p.admitUpdate(request(namespace, pod, old, ""))
}

// debug sends an update of the ephemeral containers through the policy.
func (p *policies) debug(namespace string, pod, old *corev1.Pod) (*corev1.Pod, error) {
	return p.admitUpdate(request(namespace, pod, old, "ephemeralcontainers"))
}

func (p *policies) admitUpdate(a admission.Attributes) (*corev1.Pod, error) {
	err := p.mutating.Admit(context.Background(), a, admission.NewObjectInterfacesFromScheme(clientscheme.Scheme))
	return a.GetObject().(*corev1.Pod), err
}

// watch shows a pod to the guard, old for an update.
func (p *policies) watch(namespace string, pod, old *corev1.Pod, subresource string) verdict {
	r := &recorder{}
	err := p.validating.Validate(warning.WithWarningRecorder(context.Background(), r), request(namespace, pod, old, subresource), admission.NewObjectInterfacesFromScheme(clientscheme.Scheme))
	return verdict{r.texts, err}
}

func request(namespace string, pod, old *corev1.Pod, subresource string) admission.Attributes {
	pod = pod.DeepCopy()
	pod.Namespace = namespace
	pod.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}
	var (
		before  runtime.Object
		op                     = admission.Create
		options runtime.Object = &metav1.CreateOptions{}
	)
	if old != nil {
		before, op, options = old, admission.Update, &metav1.UpdateOptions{}
	}
	return admission.NewAttributesRecord(pod, before, corev1.SchemeGroupVersion.WithKind("Pod"), namespace, pod.Name,
		schema.GroupVersionResource{Version: "v1", Resource: "pods"}, subresource, op, options, false, &auser.DefaultInfo{Name: "tester"})
}
