// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"crypto/x509"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/rest"

	"github.com/google/go-cmp/cmp"

	"github.com/castai/privatelink-webhook/internal/doctor"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// test/isolated tests the checks on a real cluster. These tests cover API servers
// that are old or return errors, and pure functions.

func TestAPI(t *testing.T) {
	for name, tc := range map[string]struct {
		respond func(http.ResponseWriter)
		want    doctor.Status
		found   string
	}{
		"a supported version": {func(w http.ResponseWriter) { fmt.Fprint(w, `{"gitVersion":"v1.34.4-eks-113cf36"}`) }, doctor.OK, "v1.34.4-eks-113cf36"},
		"an old version":      {func(w http.ResponseWriter) { fmt.Fprint(w, `{"gitVersion":"v1.31.9-eks-1"}`) }, doctor.Failed, "v1.31.9"},
		"an invalid version":  {func(w http.ResponseWriter) { fmt.Fprint(w, `{"gitVersion":"main"}`) }, doctor.Unknown, `"main"`},
		"refused credentials": {func(w http.ResponseWriter) { w.WriteHeader(http.StatusUnauthorized) }, doctor.Unknown, "refuses the credentials"},
		"another error":       {func(w http.ResponseWriter) { w.WriteHeader(http.StatusBadGateway) }, doctor.Unknown, "reading the version"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				tc.respond(w)
			}))
			defer server.Close()
			f := newChecker(t, server.URL).api(t.Context())
			if f.Status != tc.want || !strings.Contains(f.Found, tc.found) || (f.Remedy == "") != (tc.want == doctor.OK) {
				t.Errorf("%+v, want %s with %q", f, tc.want, tc.found)
			}
		})
	}
	if f := newChecker(t, "https://127.0.0.1:1").api(t.Context()); f.Status != doctor.Unknown || !strings.Contains(f.Remedy, "VPN") {
		t.Errorf("connection refused: %+v", f)
	}
}

// Pods are ready before the EndpointSlices have them: then the selector is correct.
func TestServiceWithoutEndpoints(t *testing.T) {
	labels := map[string]string{"app": "webhook"}
	deployment := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: "castai-privatelink", Name: "privatelink-webhook"},
		Spec:       appsv1.DeploymentSpec{Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}}},
	}
	for name, tc := range map[string]struct {
		selector map[string]string
		remedy   string
	}{
		"a selector of the replicas": {labels, "--wait 1m"},
		"another selector":           {map[string]string{"app": "other"}, "patch service"},
		"no selector":                {nil, "patch service"},
	} {
		t.Run(name, func(t *testing.T) {
			k := newChecker(t, "https://127.0.0.1:1")
			k.Client = fake.NewClientset(deployment, &corev1.Service{ObjectMeta: deployment.ObjectMeta, Spec: corev1.ServiceSpec{Selector: tc.selector}})
			if f := k.service(t.Context()); f.Status != doctor.Failed || !strings.Contains(f.Remedy, tc.remedy) {
				t.Errorf("%+v, want the remedy %s", f, tc.remedy)
			}
		})
	}
}

func newChecker(t *testing.T, url string) *checker {
	t.Helper()
	config := &rest.Config{Host: url}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return &checker{Config: Config{Client: client, REST: config, Names: Names{
		Namespace: "castai-privatelink", Deployment: "privatelink-webhook", Service: "privatelink-webhook", ConfigMap: "privatelink-webhook", ConfigKey: "privatelink.yaml", CASecret: "ca",
	}}}
}

func TestChecksWithoutPermissionAreUnknown(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path == "/version" {
			fmt.Fprint(w, `{"gitVersion":"v1.37.2"}`)
			return
		}
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","code":403,"message":"user cannot get it"}`)
	}))
	defer server.Close()
	config := newChecker(t, server.URL).Config
	rules, err := rewrite.New(rewrite.Config{Registry: "123456789012.dkr.ecr.us-east-1.amazonaws.com/castai"})
	if err != nil {
		t.Fatal(err)
	}
	config.Rules, config.Expected = rules, &admissionv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "zz"}}
	config.Policy = &admissionv1.MutatingAdmissionPolicy{ObjectMeta: metav1.ObjectMeta{Name: "policy"}}
	config.AccountPolicy = &admissionv1.ValidatingAdmissionPolicy{ObjectMeta: metav1.ObjectMeta{Name: "account"}}
	config.Guard = &admissionv1.ValidatingAdmissionPolicy{ObjectMeta: metav1.ObjectMeta{Name: "guard"}}
	for _, config.Engine = range []Engine{Webhook, Policy} {
		results, err := doctor.Run(t.Context(), Checks(config), doctor.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range results[1:] {
			if r.Status != doctor.Unknown || r.Cause == "" && !strings.Contains(r.Remedy, "can-i") {
				t.Errorf("%s: %s: %+v", config.Engine, r.ID(), r.Finding)
			}
		}
	}
}

func TestCompareWebhooks(t *testing.T) {
	entry := func(name string, change func(*admissionv1.MutatingWebhook)) admissionv1.MutatingWebhook {
		w := admissionv1.MutatingWebhook{Name: name, TimeoutSeconds: new(int32(3)), FailurePolicy: new(admissionv1.Fail), NamespaceSelector: &metav1.LabelSelector{}}
		if change != nil {
			change(&w)
		}
		return w
	}
	want := []admissionv1.MutatingWebhook{entry("pods", nil), entry("ephemeral", nil)}
	for name, tc := range map[string]struct {
		got              []admissionv1.MutatingWebhook
		different, added []string
	}{
		"the same":                              {want, nil, nil},
		"in another order":                      {[]admissionv1.MutatingWebhook{want[1], want[0]}, nil, nil},
		"another failure policy is allowed":     {[]admissionv1.MutatingWebhook{entry("pods", func(w *admissionv1.MutatingWebhook) { w.FailurePolicy = new(admissionv1.Ignore) }), want[1]}, nil, nil},
		"a caBundle belongs to check ca-bundle": {[]admissionv1.MutatingWebhook{entry("pods", func(w *admissionv1.MutatingWebhook) { w.ClientConfig.CABundle = []byte("x") }), want[1]}, nil, nil},
		"an empty object selector":              {[]admissionv1.MutatingWebhook{entry("pods", func(w *admissionv1.MutatingWebhook) { w.ObjectSelector = &metav1.LabelSelector{} }), want[1]}, nil, nil},
		"a timeout":                             {[]admissionv1.MutatingWebhook{entry("pods", func(w *admissionv1.MutatingWebhook) { w.TimeoutSeconds = new(int32(30)) }), want[1]}, []string{"pods: timeoutSeconds"}, nil},
		"a missing entry":                       {want[:1], []string{"ephemeral is missing"}, nil},
		"an added entry":                        {append([]admissionv1.MutatingWebhook{entry("theirs", nil)}, want...), nil, []string{"theirs was not rendered at /webhooks/0"}},
		"a selector": {[]admissionv1.MutatingWebhook{want[0], entry("ephemeral", func(w *admissionv1.MutatingWebhook) {
			w.ObjectSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"a": "b"}}
		})}, nil, []string{"ephemeral: objectSelector: a=b at /webhooks/1/objectSelector"}},
	} {
		t.Run(name, func(t *testing.T) {
			different, more := compareWebhooks(want, tc.got)
			var added []string
			for _, a := range more {
				added = append(added, a.name+" at "+a.path)
			}
			if diff := cmp.Diff(tc.different, different) + cmp.Diff(tc.added, added); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestNetworkPolicyAllows(t *testing.T) {
	port := func(p intstr.IntOrString) []networkingv1.NetworkPolicyPort {
		return []networkingv1.NetworkPolicyPort{{Port: &p}}
	}
	for name, tc := range map[string]struct {
		rule networkingv1.NetworkPolicyIngressRule
		want bool
	}{
		"everything":           {networkingv1.NetworkPolicyIngressRule{}, true},
		"the port":             {networkingv1.NetworkPolicyIngressRule{Ports: port(intstr.FromInt32(9443))}, true},
		"the port by its name": {networkingv1.NetworkPolicyIngressRule{Ports: port(intstr.FromString("https"))}, true},
		"another port":         {networkingv1.NetworkPolicyIngressRule{Ports: port(intstr.FromInt32(443))}, false},
		"a range around it":    {networkingv1.NetworkPolicyIngressRule{Ports: []networkingv1.NetworkPolicyPort{{Port: new(intstr.FromInt32(9000)), EndPort: new(int32(9999))}}}, true},
		"a range below it":     {networkingv1.NetworkPolicyIngressRule{Ports: []networkingv1.NetworkPolicyPort{{Port: new(intstr.FromInt32(9000)), EndPort: new(int32(9442))}}}, false},
		"the port, for UDP":    {networkingv1.NetworkPolicyIngressRule{Ports: []networkingv1.NetworkPolicyPort{{Port: new(intstr.FromInt32(9443)), Protocol: new(corev1.ProtocolUDP)}}}, false},
		"from pods":            {networkingv1.NetworkPolicyIngressRule{From: []networkingv1.NetworkPolicyPeer{{PodSelector: &metav1.LabelSelector{}}}}, false},
		"from some addresses":  {networkingv1.NetworkPolicyIngressRule{From: []networkingv1.NetworkPolicyPeer{{IPBlock: &networkingv1.IPBlock{CIDR: "10.0.0.0/8"}}}}, false},
	} {
		policy := networkingv1.NetworkPolicy{Spec: networkingv1.NetworkPolicySpec{Ingress: []networkingv1.NetworkPolicyIngressRule{tc.rule}}}
		if got := ingressPeers([]networkingv1.NetworkPolicy{policy}, 9443); got.all != tc.want {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestMargin(t *testing.T) {
	day := 24 * time.Hour
	for life, want := range map[time.Duration]time.Duration{7 * day: 42 * time.Hour, 90 * day: 22*day + 12*time.Hour, 3650 * day: 30 * day} {
		if got := margin(&x509.Certificate{NotBefore: time.Unix(0, 0), NotAfter: time.Unix(0, 0).Add(life)}); got != want {
			t.Errorf("margin of %s = %s, want %s", life, got, want)
		}
	}
}

func TestHasFlag(t *testing.T) {
	for name, tc := range map[string]struct {
		container corev1.Container
		want      bool
	}{
		"as an argument":                {corev1.Container{Args: []string{"--tls-cert-file=/x"}}, true},
		"as two arguments":              {corev1.Container{Args: []string{"--tls-cert-file", "/x"}}, true},
		"in the environment":            {corev1.Container{Env: []corev1.EnvVar{{Name: "PRIVATELINK_TLS_CERT_FILE", Value: "/x"}}}, true},
		"in the environment, empty":     {corev1.Container{Env: []corev1.EnvVar{{Name: "PRIVATELINK_TLS_CERT_FILE"}}}, false},
		"another flag with this prefix": {corev1.Container{Args: []string{"--tls-cert-file-x=/x"}}, false},
		"not set":                       {corev1.Container{}, false},
	} {
		d := &appsv1.Deployment{}
		d.Spec.Template.Spec.Containers = []corev1.Container{tc.container}
		if got := hasFlag(d, "tls-cert-file"); got != tc.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

func TestRemedies(t *testing.T) {
	k := newChecker(t, "http://127.0.0.1:1")
	k.Expected = &admissionv1.MutatingWebhookConfiguration{Webhooks: []admissionv1.MutatingWebhook{{Name: "pods"}}}
	for message, want := range map[string]string{
		`something new`: "correct what the message names",
		`exceeded quota: small, requested: limits.memory=128Mi,pods=1, used: limits.memory=128Mi,pods=2, limited: limits.memory=200Mi,pods=2`: `patch resourcequota small --type=merge -p '{"spec":{"hard":{"limits.memory":"712Mi","pods":"6"}}}'`,
		`failed quota: q: must specify limits.cpu for: webhook; requests.memory for: webhook`:                                                 "default: {cpu: 100m}",
		`failed calling webhook "other.example.com": Post "https://x": EOF`:                                                                   "not one of the bundle, and belongs to",
		`failed calling webhook "pods": Post "https://x": context deadline exceeded`:                                                          "authorize-security-group-ingress",
		`failed calling webhook "pods": Post "https://x": dial tcp: lookup x: Address is not allowed`:                                         "--overlay host-network",
		`failed calling webhook "pods": Post "https://x": dial tcp 10.0.0.1:9443: connect: connection refused`:                                "logs deployment/privatelink-webhook",
		`failed calling webhook "pods": x509: certificate signed by unknown authority`:                                                        "rollout restart deployment/privatelink-webhook",
		`failed calling webhook "pods": something new`:                                                                                        "logs deployment/privatelink-webhook",
	} {
		if got := k.refusalRemedy(t.Context(), "castai-agent", message); !strings.Contains(got, want) {
			t.Errorf("%q: %q, want %q", message, got, want)
		}
	}
	onHost := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "castai-privatelink", Name: "privatelink-webhook"}}
	onHost.Spec.Template.Spec.Containers = []corev1.Container{{Ports: []corev1.ContainerPort{{Name: "https", ContainerPort: 19443}}}}
	hosted := &checker{Config: Config{Client: fake.NewClientset(onHost), Names: Names{Namespace: onHost.Namespace, Deployment: onHost.Name}}}
	if got := hosted.remedyFor(t.Context(), "context deadline exceeded"); !strings.Contains(got, "--port 19443") {
		t.Errorf("on the host network: %q", got)
	}
	for message, want := range map[string]string{
		"rpc error: code = NotFound desc = failed to pull: x: not found": "privatelink mirror",
		"no match for platform in manifest: not found":                   "registry/platforms",
		"unexpected status from HEAD request: 403 Forbidden":             "node-role",
		"dial tcp: lookup x: i/o timeout":                                "--only network,inside",
		"something new":                                                  "kubectl describe pod",
		`failed to pull and unpack image "401403123456.dkr.ecr.us-east-1.amazonaws.com/castai/agent:v1.403.0": failed to do request: Head "https://401403123456.dkr.ecr.us-east-1.amazonaws.com/v2/castai/agent/manifests/v1.403.0": dial tcp 10.0.1.5:443: i/o timeout`: "--only network,inside",
		`failed to resolve image "x.example.com/denied/agent@sha256:401403": dial tcp: lookup x.example.com: no such host`:                                                                                                                                               "--only network,inside",
		`Back-off pulling image "x.example.com/not-authorized/timeout:v1": ErrImagePull: x.example.com/not-authorized/timeout:v1: not found`:                                                                                                                             "privatelink mirror",
		"failed to authorize: failed to fetch anonymous token: unexpected status from GET request to https://x.example.com/token: 401 Unauthorized":                                                                                                                      "node-role",
		"denied: User: arn:aws:sts::123456789012:assumed-role/node/i-1 is not authorized to perform: ecr:BatchGetImage on resource":                                                                                                                                      "node-role",
		"pull access denied, repository does not exist or may require authorization: 401":                                                                                                                                                                                "node-role",
	} {
		if got := remedyForPull(message); !strings.Contains(got, want) {
			t.Errorf("%q: %q, want %q", message, got, want)
		}
	}
}
