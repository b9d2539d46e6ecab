// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionregv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"

	"github.com/castai/privatelink-webhook/internal/rewrite"
	"github.com/castai/privatelink-webhook/internal/testutil/golden"
)

const registry = "123456789012.dkr.ecr.us-east-1.amazonaws.com/castai"

func rules(t testing.TB, c rewrite.Config) *rewrite.Rules {
	t.Helper()
	if c.Registry == "" {
		c.Registry = registry
	}
	r, err := rewrite.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func render(t testing.TB, o Options) string {
	t.Helper()
	out, err := Render(o)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// placeholder is the registry for which the files are generated.
const placeholder = "registry.invalid"

func TestTheBaseHoldsTheConditionsThatTheDefaultRulesGenerate(t *testing.T) {
	compare(t, "base/webhook-configuration.yaml", configuration(t, rules(t, rewrite.Config{Registry: placeholder})))
}

// compare holds a generated file to what it must be, or writes it.
func compare(t *testing.T, file, want string) {
	t.Helper()
	want = strings.ReplaceAll(want, `"`+placeholder+`"`, `"REGISTRY"`)
	if golden.Update() {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(have)); diff != "" {
		t.Errorf("run go test ./deploy -update (-want +have)\n%s", diff)
	}
}

// TestRenderEqualsTheTree edits the one line on disk, as a person does, and
// builds the checkout; the e2e test does the same with the real kubectl.
func TestRenderEqualsTheTree(t *testing.T) {
	labeled := rules(t, rewrite.Config{NamespaceSelector: rewrite.LabelSelector{MatchLabels: map[string]string{"privatelink.cast.ai/images": "rewrite"}}})
	for name, tc := range map[string]struct {
		edit func(string) string
		o    Options
	}{
		"the base":            {func(s string) string { return s }, Options{}},
		"cert-manager":        {use("- base\n", "- overlays/cert-manager\n"), Options{Overlays: []string{"cert-manager"}}},
		"host-network":        {use("- base\n", "- overlays/host-network\n"), Options{Overlays: []string{"host-network"}}},
		"all, by comment":     {use("# components:", "components:", "# - components/cert", "- components/cert", "# - components/host", "- components/host", "# - components/monitoring", "- components/monitoring"), Options{Overlays: Overlays()}},
		"a guard that denies": {use("# components:", "components:", "# - components/guard-deny", "- components/guard-deny"), Options{Guard: GuardDeny}},
		"no guard":            {use("# components:", "components:", "# - components/guard-off", "- components/guard-off"), Options{Guard: GuardOff}},
		"the policy":          {use("- base\n", "- overlays/policy\n"), Options{Engine: Policy}},
		"the policy, denying": {use("- base\n", "- overlays/policy\n", "# components:", "components:", "# - components/guard-deny", "- components/guard-deny"), Options{Engine: Policy, Guard: GuardDeny}},
		"namespaces by label": {use("# - components/namespace-selector ", "- components/namespace-selector "), Options{Rules: labeled}},
		"the same, denying":   {use("# - components/namespace-selector ", "- components/namespace-selector ", "# - components/guard-deny", "- components/guard-deny"), Options{Rules: labeled, Guard: GuardDeny}},
		"the same, unguarded": {use("# - components/namespace-selector ", "- components/namespace-selector ", "# - components/guard-off", "- components/guard-off"), Options{Rules: labeled, Guard: GuardOff}},
		"by label, by policy": {use("- base\n", "- overlays/policy\n", "# - components/namespace-selector-policy", "- components/namespace-selector-policy"), Options{Engine: Policy, Rules: labeled}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(".")); err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(dir + "/kustomization.yaml")
			if err != nil {
				t.Fatal(err)
			}
			edited := tc.edit(use("ACCOUNT.dkr.ecr.REGION.amazonaws.com/castai", registry)(string(text)))
			if err := os.WriteFile(dir+"/kustomization.yaml", []byte(edited), 0o644); err != nil {
				t.Fatal(err)
			}
			built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), dir)
			if err != nil {
				t.Fatal(err)
			}
			want, err := built.AsYaml()
			if err != nil {
				t.Fatal(err)
			}
			if tc.o.Rules == nil {
				tc.o.Rules = rules(t, rewrite.Config{})
			}
			if diff := cmp.Diff(string(want), render(t, tc.o)); diff != "" {
				t.Errorf("-tree +rendered\n%s", diff)
			}
		})
	}
}

// TestAnOverlaySetsRegistryAndNamespace builds kustomizations outside of the tree, as
// a GitOps repository has them, without a change to the tree.
func TestAnOverlaySetsRegistryAndNamespace(t *testing.T) {
	const (
		header   = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n"
		prefix   = "configMapGenerator:\n- name: privatelink-registry\n  literals: [registry=" + registry + "]\n"
		registry = "components: [../deploy/components/registry]\n"
	)
	for name, tc := range map[string]struct {
		files map[string]string
		o     Options
	}{
		"a registry": {map[string]string{
			"overlay": prefix + registry + "resources: [../deploy/base]\n",
		}, Options{}},
		"a registry and a namespace": {map[string]string{
			"overlay": prefix + registry + "resources: [../deploy/base]\nnamespace: team-x\n",
		}, Options{Namespace: "team-x"}},
		"components": {map[string]string{
			"overlay": prefix + "components: [../deploy/components/registry, ../deploy/components/host-network, ../deploy/components/guard-deny]\n" + "resources: [../deploy/base]\nnamespace: team-x\n",
		}, Options{Namespace: "team-x", Overlays: []string{"host-network"}, Guard: GuardDeny}},
		"the policy": {map[string]string{
			"overlay": prefix + registry + "resources: [../deploy/policy]\n",
		}, Options{Engine: Policy}},
		"cert-manager in a namespace": {map[string]string{
			"namespace": "resources: [../deploy/base]\nnamespace: team-x\n",
			"overlay":   prefix + "components: [../deploy/components/registry, ../deploy/components/cert-manager]\n" + "resources: [../namespace]\n",
		}, Options{Namespace: "team-x", Overlays: []string{"cert-manager"}}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.CopyFS(dir+"/deploy", os.DirFS(".")); err != nil {
				t.Fatal(err)
			}
			for folder, text := range tc.files {
				err := errors.Join(os.Mkdir(dir+"/"+folder, 0o755), os.WriteFile(dir+"/"+folder+"/kustomization.yaml", []byte(header+text), 0o644))
				if err != nil {
					t.Fatal(err)
				}
			}
			built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), dir+"/overlay")
			if err != nil {
				t.Fatal(err)
			}
			want, err := built.AsYaml()
			if err != nil {
				t.Fatal(err)
			}
			tc.o.Rules = rules(t, rewrite.Config{})
			if diff := cmp.Diff(string(want), render(t, tc.o)); diff != "" {
				t.Errorf("-overlay +rendered\n%s", diff)
			}
			if strings.Contains(string(want), "REGISTRY") {
				t.Error("a placeholder is left")
			}
		})
	}
}

// TestNamespaceReachesEveryObject looks for the default namespace in what is rendered
// for another one. Objects of the cluster have no namespace.
func TestNamespaceReachesEveryObject(t *testing.T) {
	for _, overlays := range [][]string{nil, {"cert-manager"}, {"host-network"}, Overlays()} {
		o := Options{Rules: rules(t, rewrite.Config{}), Namespace: "team-x", Overlays: overlays}
		objects, err := Objects(o)
		if err != nil {
			t.Fatal(err)
		}
		for _, object := range objects {
			m, err := meta.Accessor(object)
			if err != nil {
				t.Fatal(err)
			}
			kind := object.GetObjectKind().GroupVersionKind().Kind
			ofCluster := kind == "Namespace" || strings.HasPrefix(kind, "Cluster") || strings.HasPrefix(kind, "Validating") || strings.HasPrefix(kind, "Mutating")
			if !ofCluster && m.GetNamespace() != "team-x" {
				t.Errorf("%s %s has the namespace %q", kind, m.GetName(), m.GetNamespace())
			}
		}
		text := strings.ReplaceAll(render(t, o), "app.kubernetes.io/part-of: castai-privatelink", "")
		for line := range strings.Lines(text) {
			if strings.Contains(line, Namespace) {
				t.Errorf("%v: %s", overlays, line)
			}
		}
	}
}

func use(pairs ...string) func(string) string { return strings.NewReplacer(pairs...).Replace }

func TestTheRegistryReachesConfigConditionsAndImage(t *testing.T) {
	out := render(t, Options{Rules: rules(t, rewrite.Config{})})
	for _, want := range []string{
		`registry: "` + registry + `"`,
		`image: ` + registry + `/privatelink-webhook:v`,
		`["` + registry + `"].exists(registry,`,
	} {
		if !strings.Contains(out, want) {
			t.Errorf("the bundle does not have %q", want)
		}
	}
	if n := strings.Count(out, `["`+registry+`"].exists(registry,`); n != 2 {
		t.Errorf("%d conditions name the registry, want 2", n)
	}
	policy := render(t, Options{Rules: rules(t, rewrite.Config{}), Engine: Policy})
	for name, text := range map[string]string{"the guard with the webhook": out, "the policy and its guard": policy} {
		want := map[bool]int{true: 1, false: 2}[text == out]
		if n := strings.Count(text, "- expression: '\""+registry+"\"'\n    name: registry\n"); n != want {
			t.Errorf("%s: %d variables name the registry, want %d", name, n, want)
		}
	}
	for _, kind := range []string{"Deployment", "Service", "Secret", "Role", "ConfigMap", "Namespace", "Webhook"} {
		if strings.Contains(policy, "kind: "+kind) || strings.Contains(policy, "kind: Cluster"+kind) || strings.Contains(policy, "kind: Mutating"+kind) {
			t.Errorf("the policy's bundle has a %s", kind)
		}
	}
	out += policy
	for _, leftover := range []string{"REGISTRY", "privatelink-registry", "caBundle:", "ACCOUNT.dkr"} {
		if strings.Contains(out, leftover) {
			t.Errorf("the bundle still has %q", leftover)
		}
	}
}

func TestObjectsAreTypedAndKeepTheOrderOfRender(t *testing.T) {
	for _, o := range []Options{{}, {Overlays: Overlays()}, {Engine: Policy}} {
		o.Rules = rules(t, rewrite.Config{})
		objects, err := Objects(o)
		if err != nil {
			t.Fatal(err)
		}
		var want, have []string
		for line := range strings.SplitSeq(render(t, o), "\n") {
			if kind, ok := strings.CutPrefix(line, "kind: "); ok {
				want = append(want, kind)
			}
		}
		for _, object := range objects {
			kind := object.GetObjectKind().GroupVersionKind()
			have = append(have, kind.Kind)
			if _, generic := object.(*unstructured.Unstructured); generic != (kind.Group == "cert-manager.io" || kind.Group == "monitoring.coreos.com") {
				t.Errorf("%s is a %T", kind, object)
			}
		}
		if diff := cmp.Diff(want, have); diff != "" {
			t.Errorf("-want +have\n%s", diff)
		}
	}
}

func TestWebhookImage(t *testing.T) {
	r := rules(t, rewrite.Config{})
	image, err := WebhookImage(r)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(render(t, Options{Rules: r}), "image: "+image+"\n") || !strings.HasPrefix(image, WebhookRepository(r)+":v") {
		t.Errorf("have %s", image)
	}
}

func TestOptionsThatDoNotFitTogetherAreRefused(t *testing.T) {
	for want, o := range map[string]Options{
		"engine":        {Engine: "x"},
		"guard":         {Guard: "x"},
		"failure":       {FailurePolicy: "x"},
		"overlay":       {Overlays: []string{"x"}},
		"engine policy": {Engine: Policy, Replicas: 3},
		"namespace":     {Namespace: "castai-agent"},
	} {
		o.Rules = rules(t, rewrite.Config{})
		if _, err := Objects(o); err == nil || !strings.HasPrefix(err.Error(), "render: "+want) {
			t.Errorf("%s: error %v", want, err)
		}
	}
	if _, err := Render(Options{}); err == nil {
		t.Error("no error without rules")
	}
}

func TestOptionsReachTheBundle(t *testing.T) {
	config := rewrite.Config{Namespaces: []string{"elsewhere"}}
	webhook := Options{Image: "example.com/webhook:1", Replicas: 3, FailurePolicy: "Ignore"}
	policy := Options{Engine: Policy, FailurePolicy: "Fail"}
	for want, o := range map[string]Options{
		"image: example.com/webhook:1": webhook, "replicas: 3": webhook, "failurePolicy: Ignore\n  matchConditions": webhook, "- elsewhere": webhook,
		"failurePolicy: Fail\n  matchConditions": policy,
	} {
		o.Rules, o.Config = rules(t, config), []byte("registry: "+registry)
		if !strings.Contains(render(t, o), want) {
			t.Errorf("the bundle does not have %q", want)
		}
	}
}

// TestNamespacesAreSelectedByNameOrByLabel requires that no namespace is matched
// twice, by the entries of the webhook or by the bindings of a policy.
func TestNamespacesAreSelectedByNameOrByLabel(t *testing.T) {
	c := rewrite.Config{Namespaces: []string{"castai-agent", "castai-omni"}, NamespaceSelector: rewrite.LabelSelector{MatchLabels: map[string]string{"example.com/tenant": "yes"}}}
	byName := &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "kubernetes.io/metadata.name", Operator: "In", Values: c.Namespaces}}}
	byLabel := func(own ...string) *metav1.LabelSelector {
		return &metav1.LabelSelector{MatchLabels: c.NamespaceSelector.MatchLabels, MatchExpressions: []metav1.LabelSelectorRequirement{{
			Key: "kubernetes.io/metadata.name", Operator: "NotIn", Values: append([]string{"castai-agent", "castai-omni", "castai-privatelink", "kube-node-lease", "kube-public", "kube-system"}, own...)}}}
	}
	for name, tc := range map[string]struct {
		o    Options
		want map[string]*metav1.LabelSelector
	}{
		"the webhook": {Options{Namespace: "team-x", FailurePolicy: "Ignore"}, map[string]*metav1.LabelSelector{
			"pods.privatelink.cast.ai Ignore": byName, "ephemeral.privatelink.cast.ai Ignore": byName,
			"pods-by-label.privatelink.cast.ai Ignore": byLabel("team-x"), "ephemeral-by-label.privatelink.cast.ai Ignore": byLabel("team-x"),
			"privatelink-guard": byName, "privatelink-guard-by-label": byLabel("team-x"),
		}},
		"the policy": {Options{Engine: Policy}, map[string]*metav1.LabelSelector{
			"privatelink": byName, "privatelink-by-label": byLabel(), "privatelink-guard": byName, "privatelink-guard-by-label": byLabel(),
		}},
	} {
		tc.o.Rules, tc.o.Config = rules(t, c), []byte("registry: "+registry)
		objects, err := Objects(tc.o)
		if err != nil {
			t.Fatal(err)
		}
		have := map[string]*metav1.LabelSelector{}
		for _, object := range objects {
			switch o := object.(type) {
			case *admissionregv1.MutatingWebhookConfiguration:
				for _, w := range o.Webhooks {
					have[w.Name+" "+string(*w.FailurePolicy)] = w.NamespaceSelector
				}
			case *admissionregv1.MutatingAdmissionPolicyBinding:
				have[o.Name] = o.Spec.MatchResources.NamespaceSelector
			case *admissionregv1.ValidatingAdmissionPolicyBinding:
				if o.Spec.PolicyName == GuardName {
					have[o.Name] = o.Spec.MatchResources.NamespaceSelector
				}
			}
		}
		if d := cmp.Diff(tc.want, have); d != "" {
			t.Errorf("%s: -want +have\n%s", name, d)
		}
	}
}
