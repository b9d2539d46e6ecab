// SPDX-License-Identifier: Apache-2.0

package suite

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/castai/privatelink-webhook/deploy"
	"github.com/castai/privatelink-webhook/internal/doctor"
	"github.com/castai/privatelink-webhook/internal/doctor/cluster"
	"github.com/castai/privatelink-webhook/internal/doctor/registry"
	"github.com/castai/privatelink-webhook/internal/exitcode"
	"github.com/castai/privatelink-webhook/internal/kubeconfig"
	"github.com/castai/privatelink-webhook/internal/mirror/lock"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

const privateRegistry = "123456789012.dkr.ecr.us-east-1.amazonaws.com/castai"

func newRules(t *testing.T) *rewrite.Rules {
	t.Helper()
	rules, err := rewrite.New(rewrite.Config{Registry: privateRegistry, Keep: []string{"registry.example.com/kept"}})
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

// newSuite returns a suite for a cluster with these objects and no lock file.
func newSuite(t *testing.T, objects ...runtime.Object) *Suite {
	t.Helper()
	return &Suite{
		Options: Options{
			Rules: newRules(t), Run: doctor.Options{Timeout: 5 * time.Second},
		},
		client: fake.NewClientset(objects...),
		bundle: bundle{image: privateRegistry + "/bundle:v1"},
		engine: cluster.Webhook, namespace: deploy.Namespace,
	}
}

func TestFindInstalled(t *testing.T) {
	of := func(release string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Annotations: map[string]string{"meta.helm.sh/release-name": release, "meta.helm.sh/release-namespace": "platform"}}
	}
	named := func(m metav1.ObjectMeta, namespace, name string) metav1.ObjectMeta {
		m.Namespace, m.Name = namespace, name
		return m
	}
	webhook := &admissionv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: deploy.ConfigurationName}}
	byHelm := &admissionv1.MutatingWebhookConfiguration{ObjectMeta: named(of("images"), "", deploy.ConfigurationName)}
	pods := &appsv1.Deployment{ObjectMeta: named(of("pods"), deploy.Namespace, deploy.Name)}
	onHost := &appsv1.Deployment{ObjectMeta: named(of("pods"), deploy.Namespace, deploy.Name)}
	onHost.Spec.Template.Spec.Containers = []corev1.Container{{Ports: []corev1.ContainerPort{{Name: "metrics", ContainerPort: 18080}, {Name: "https", ContainerPort: 19443}}}}
	policy := &admissionv1.MutatingAdmissionPolicy{ObjectMeta: named(of("policy"), "", deploy.PolicyName)}
	for name, tc := range map[string]struct {
		objects  []runtime.Object
		selected string
		want     cluster.Engine
		release  string
		port     int32
	}{
		"none is installed":               {nil, "", cluster.Webhook, "", 0},
		"the webhook":                     {[]runtime.Object{webhook}, "", cluster.Webhook, "", 0},
		"the webhook, by Helm":            {[]runtime.Object{byHelm, pods}, "", cluster.Webhook, "images", 9443},
		"the webhook on the host network": {[]runtime.Object{byHelm, onHost}, "", cluster.Webhook, "images", 19443},
		"its configuration was deleted":   {[]runtime.Object{pods}, "", cluster.Webhook, "pods", 9443},
		"the policy":                      {[]runtime.Object{policy}, "", cluster.Policy, "policy", 0},
		"both":                            {[]runtime.Object{webhook, policy}, "", cluster.Webhook, "", 0},
		"--engine has precedence":         {[]runtime.Object{webhook}, "policy", cluster.Policy, "", 0},
		"--engine, and both are by Helm":  {[]runtime.Object{byHelm, policy}, "policy", cluster.Policy, "policy", 0},
		"--engine webhook, and no object": {[]runtime.Object{policy}, "webhook", cluster.Webhook, "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSuite(t, tc.objects...)
			s.Engine = tc.selected
			if err := s.findInstalled(t.Context()); s.engine != tc.want || err != nil {
				t.Errorf("engine %q (%v), want %q", s.engine, err, tc.want)
			}
			if s.release.Name != tc.release {
				t.Errorf("release %q, want %q", s.release.Name, tc.release)
			}
			if s.port != tc.port {
				t.Errorf("port %d, want %d", s.port, tc.port)
			}
		})
	}
}

func TestTheNetworkIsCheckedForThePortOfTheDeployment(t *testing.T) {
	onHost := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: deploy.Namespace, Name: deploy.Name}}
	onHost.Spec.Template.Spec.Containers = []corev1.Container{{Ports: []corev1.ContainerPort{{Name: "https", ContainerPort: 19443}}}}
	for want, objects := range map[int32][]runtime.Object{9443: nil, 19443: {onHost}} {
		s := newSuite(t, objects...)
		if err := s.findInstalled(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.awsChecks(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := s.describe(t.Context(), nil).Port; got != want {
			t.Errorf("port %d, want %d", got, want)
		}
	}
}

func TestProbeWithoutADeployment(t *testing.T) {
	s := newSuite(t)
	s.Probe, s.release = true, cluster.Release{Name: "images", Namespace: "platform"}
	checks, err := s.insideChecks(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	f := checks[0].Run(t.Context())
	if want := cluster.InstallCommand(s.engine, s.release); f.Status != doctor.Unknown || !strings.Contains(f.Remedy, want) {
		t.Errorf("%v, remedy %q, want one of Helm: %s", f.Status, f.Remedy, want)
	}
}

func TestReadConfig(t *testing.T) {
	config := func(text string) *corev1.ConfigMap {
		return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: deploy.Namespace, Name: deploy.Name}, Data: map[string]string{deploy.ConfigKey: text}}
	}
	s := newSuite(t, config("registry: "+privateRegistry+"\n"))
	s.Rules = nil
	if err := s.readConfig(t.Context()); err != nil || s.Rules.Registry() != privateRegistry {
		t.Errorf("rules %v (%v), want those of registry %s", s.Rules, err, privateRegistry)
	}
	noKubeconfig := &Suite{clusterErr: errors.New("no kubeconfig")}
	for name, s := range map[string]*Suite{"nothing is installed": newSuite(t), "no kubeconfig": noKubeconfig} {
		if err := s.readConfig(t.Context()); exitcode.Code(err) != exitcode.Usage {
			t.Errorf("%s: error %v, want a usage error", name, err)
		}
	}
	forbidden := newSuite(t)
	forbidden.client.(*fake.Clientset).PrependReactor("get", "configmaps", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewForbidden(schema.GroupResource{Resource: "configmaps"}, deploy.Name, nil)
	})
	loggedOut := newSuite(t)
	loggedOut.clusterErr = &kubeconfig.AccessError{Problem: "the API server refuses the credentials"}
	for name, tc := range map[string]struct {
		suite     *Suite
		isInvalid bool
	}{
		"an empty file":          {newSuite(t, config("")), true},
		"an unknown key":         {newSuite(t, config("registry: "+privateRegistry+"\nkeeps: []\n")), true},
		"the placeholder prefix": {newSuite(t, config("registry: ACCOUNT.dkr.ecr.REGION.amazonaws.com/castai\n")), true},
		"no permission":          {forbidden, false},
		"an expired login":       {loggedOut, false},
	} {
		err := tc.suite.readConfig(t.Context())
		if _, isInvalid := errors.AsType[*cluster.InvalidConfigError](tc.suite.configErr); err != nil || tc.suite.configErr == nil || isInvalid != tc.isInvalid || tc.suite.Rules == nil {
			t.Errorf("%s: %v, %v, want an error of the configuration", name, err, tc.suite.configErr)
		}
	}
}

func TestReadConfigOfThePolicy(t *testing.T) {
	config := []byte("registry: " + privateRegistry + "\nkeep: [registry.example.com/kept]\n")
	rules, err := rewrite.Load("test", config)
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := render(rules, config, deploy.Namespace)
	if err != nil {
		t.Fatal(err)
	}
	s := newSuite(t, bundle.policy, bundle.policyBindings[0])
	s.Rules, s.engine = nil, cluster.Policy
	if err := s.readConfig(t.Context()); err != nil || s.configErr != nil || s.Rules.Registry() != privateRegistry || !slices.Equal(s.Rules.Entries(), rules.Entries()) {
		t.Errorf("rules %v, %v, %v", s.Rules, err, s.configErr)
	}
}

func TestImagesOfTheWebhook(t *testing.T) {
	deployment := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: deploy.Namespace, Name: deploy.Name}}
	deployment.Spec.Template.Spec.Containers = []corev1.Container{{Name: "webhook", Image: privateRegistry + "/deployment:v1"}}
	noAccess := newSuite(t)
	noAccess.clusterErr = errors.New("no kubeconfig")
	policy := newSuite(t)
	policy.engine = cluster.Policy
	for name, tc := range map[string]struct {
		suite           *Suite
		probe, expected string // "" for an error
		namespace       string
	}{
		"installed":     {newSuite(t, deployment), "/deployment:v1", "/deployment:v1", deploy.Namespace},
		"not installed": {newSuite(t), "", "/bundle:v1", deploy.Namespace},
		"no access":     {noAccess, "", "/bundle:v1", deploy.Namespace},
		"the policy":    {policy, "/bundle:v1", "/bundle:v1", policy.Rules.Namespaces()[0]},
	} {
		t.Run(name, func(t *testing.T) {
			want := ""
			if tc.probe != "" {
				want = privateRegistry + tc.probe
			}
			if got, err := tc.suite.webhookImage(t.Context()); got != want || (err != nil) != (want == "") {
				t.Errorf("the probe runs %q (%v), want %q", got, err, want)
			}
			if got, err := tc.suite.expectedWebhookImage(t.Context()); got != privateRegistry+tc.expected || err != nil {
				t.Errorf("expected image %q (%v), want %q", got, err, privateRegistry+tc.expected)
			}
			if got := tc.suite.probeNamespace(); got != tc.namespace {
				t.Errorf("namespace %q, want %q", got, tc.namespace)
			}
		})
	}
}

func TestRequiredImagesOfTheCluster(t *testing.T) {
	rules := newRules(t)
	pod := func(name, image string) *corev1.Pod {
		return &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: rules.Namespaces()[0], Name: name},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: image}}},
		}
	}
	const public = "us-docker.pkg.dev/castai-hub/library/agent:v1"
	private := rules.Image(public).Target
	s := newSuite(t, pod("agent", public), pod("rewritten", private), pod("kept", "registry.example.com/kept/app:v1"))
	got, err := s.requiredImages(t.Context())
	if diff := cmp.Diff([]registry.RequiredImage{{Target: private}}, got); diff != "" || err != nil {
		t.Errorf("error %v, images (-want +got):\n%s", err, diff)
	}

	s.clusterErr = errors.New("no kubeconfig")
	if _, err := s.requiredImages(t.Context()); !errors.Is(err, s.clusterErr) {
		t.Errorf("without access: error %v, want %v", err, s.clusterErr)
	}
}

func TestRequiredImagesOfTheLockFile(t *testing.T) {
	const target = privateRegistry + "/agent:v1"
	d, source := digest.FromString("manifest"), digest.FromString("index")
	for name, tc := range map[string]struct {
		lock         lock.Lock
		allPlatforms bool
	}{
		"all platforms":                 {lock.Lock{Images: []lock.Entry{{Source: "docker.io/castai/agent:v1", Target: target, Digest: d, SourceDigest: d}}}, true},
		"selected platforms":            {lock.Lock{Platforms: []string{"linux/amd64"}, Images: []lock.Entry{{Source: "docker.io/castai/agent:v1", Target: target, Digest: d}}}, false},
		"an index with fewer manifests": {lock.Lock{Images: []lock.Entry{{Source: "docker.io/castai/agent:v1", Target: target, Digest: d, SourceDigest: source}}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			s := newSuite(t)
			tc.lock.Registry = privateRegistry
			if err := tc.lock.Write(lock.DefaultFile); err != nil {
				t.Fatal(err)
			}
			got, err := s.requiredImages(t.Context())
			if diff := cmp.Diff([]registry.RequiredImage{{Target: target, Digest: d, AllPlatforms: tc.allPlatforms}}, got); diff != "" || err != nil {
				t.Errorf("error %v, images (-want +got):\n%s", err, diff)
			}
		})
	}
	s := newSuite(t)
	s.LockFile = filepath.Join(t.TempDir(), "next.yaml")
	failed := lock.Lock{Registry: privateRegistry, Images: []lock.Entry{{Source: "docker.io/castai/agent:v1", Target: target, Digest: d}},
		NotCopied: []lock.NotCopied{{Source: "docker.io/castai/late:v1", Target: privateRegistry + "/late:v1"}, {Source: "X Y"}}}
	if err := failed.Write(s.LockFile); err != nil {
		t.Fatal(err)
	}
	if got, err := s.requiredImages(t.Context()); err != nil || len(got) != 2 || got[1].Target != privateRegistry+"/late:v1" {
		t.Errorf("images %+v, error %v", got, err)
	}
	other := lock.Lock{Registry: "registry.example.com/other", Images: []lock.Entry{{Source: "ghcr.io/castai/images/agent:v1", Target: "registry.example.com/other/agent:v1", Digest: d}}}
	if err := other.Write(s.LockFile); err != nil {
		t.Fatal(err)
	}
	if _, err := s.requiredImages(t.Context()); err == nil {
		t.Error("a lock file for another registry is accepted")
	}
}

func TestPlatforms(t *testing.T) {
	node := func(name, system, architecture string) *corev1.Node {
		return &corev1.Node{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Status:     corev1.NodeStatus{NodeInfo: corev1.NodeSystemInfo{OperatingSystem: system, Architecture: architecture}},
		}
	}
	s := newSuite(t, node("a", "linux", "arm64"), node("b", "linux", "amd64"), node("c", "linux", "arm64"), node("d", "windows", "amd64"))
	got, err := s.platforms(t.Context())
	if diff := cmp.Diff([]string{"linux/amd64", "linux/arm64"}, got); diff != "" || err != nil {
		t.Errorf("error %v, platforms (-want +got):\n%s", err, diff)
	}

	forbidden := errors.New("nodes is forbidden")
	s.client.(*fake.Clientset).PrependReactor("list", "nodes", func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, forbidden })
	if _, err := s.platforms(t.Context()); !errors.Is(err, forbidden) {
		t.Errorf("without permission: error %v, want %v", err, forbidden)
	}
	s.clusterErr = errors.New("no kubeconfig")
	if _, err := s.platforms(t.Context()); !errors.Is(err, s.clusterErr) {
		t.Errorf("without access: error %v, want %v", err, s.clusterErr)
	}
}
