// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// identity is an object by kind, namespace and name.
func identity(t *testing.T, o runtime.Object) string {
	t.Helper()
	m, err := meta.Accessor(o)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%s %s/%s", o.GetObjectKind().GroupVersionKind(), m.GetNamespace(), m.GetName())
}

// removed returns the identities in the removal's manifests, in order.
func removed(t *testing.T, r Removal) []string {
	t.Helper()
	out, err := RenderRemoval(r)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for d := range strings.SplitSeq(string(out), "---\n") {
		var o struct {
			APIVersion, Kind string
			Metadata         struct{ Name, Namespace string }
		}
		if err := yaml.UnmarshalStrict([]byte(d), &o); err != nil {
			t.Fatal(err) // there is more than a name
		}
		group, version, _ := strings.Cut(o.APIVersion, "/")
		if version == "" {
			group, version = "", group
		}
		all = append(all, fmt.Sprintf("%s/%s, Kind=%s %s/%s", group, version, o.Kind, o.Metadata.Namespace, o.Metadata.Name))
	}
	return all
}

// kindIn returns the position of the first object of a kind.
func kindIn(all []string, kind string) int {
	return slices.IndexFunc(all, func(s string) bool { return strings.Contains(s, ", Kind="+kind+" ") })
}

// Whatever was installed, with whatever configuration, is removed by the same flags.
func TestRemovalHasEveryObjectOfTheBundle(t *testing.T) {
	configurations := []rewrite.Config{
		{}, {Namespaces: []string{"a", "b"}}, {NamespaceSelector: rewrite.LabelSelector{MatchLabels: map[string]string{"tenant": "yes"}}},
	}
	for name, r := range map[string]Removal{
		"the bundle":        {},
		"cert-manager":      {Overlays: []string{"cert-manager"}},
		"host-network":      {Overlays: []string{"host-network"}},
		"all overlays":      {Overlays: Overlays()},
		"a guard":           {Guard: GuardDeny},
		"no guard":          {Guard: GuardOff},
		"another namespace": {Namespace: "team-x", Overlays: []string{"cert-manager"}},
		"the policy":        {Engine: Policy},
		"the policy alone":  {Engine: Policy, Guard: GuardOff},
	} {
		t.Run(name, func(t *testing.T) {
			all := removed(t, r)
			for _, c := range configurations {
				objects, err := Objects(Options{Rules: rules(t, c), Engine: r.Engine, Guard: r.Guard, Namespace: r.Namespace, Overlays: r.Overlays})
				if err != nil {
					t.Fatal(err)
				}
				for _, o := range objects {
					if id := identity(t, o); !slices.Contains(all, id) && !strings.HasSuffix(id, "Kind=Namespace /team-x") {
						t.Errorf("%s stays", id)
					}
				}
			}
			if hasGuard := strings.Contains(strings.Join(all, "\n"), GuardName); hasGuard != (r.Guard != GuardOff) {
				t.Errorf("guard %q: removed %t", r.Guard, hasGuard)
			}
		})
	}
}

// The default bundle leaves nothing that a change to cert-manager would have left.
func TestRemovalOfAnOverlayHasTheObjectsOfTheBase(t *testing.T) {
	all := removed(t, Removal{Overlays: []string{"cert-manager"}})
	for _, id := range removed(t, Removal{}) {
		if !slices.Contains(all, id) {
			t.Errorf("%s stays", id)
		}
	}
}

// cert-manager keeps the Secret of a Certificate that is deleted:
// https://cert-manager.io/docs/usage/certificate/#cleaning-up-secrets-when-certificates-are-deleted
func TestRemovalHasTheSecretsOfCertificates(t *testing.T) {
	all := removed(t, Removal{Namespace: "team-x", Overlays: []string{"cert-manager"}})
	for _, name := range []string{"privatelink-webhook-issuer", "privatelink-webhook-tls"} {
		at := slices.Index(all, "/v1, Kind=Secret team-x/"+name)
		if at < 0 || at < kindIn(all, "Certificate") {
			t.Errorf("the Secret %s is at %d of\n%s", name, at, strings.Join(all, "\n"))
		}
	}
}

func TestRemovalOrder(t *testing.T) {
	all := removed(t, Removal{Overlays: []string{"cert-manager"}})
	for _, pair := range [][2]string{
		{"MutatingWebhookConfiguration", "PodDisruptionBudget"}, {"MutatingWebhookConfiguration", "Deployment"}, {"MutatingWebhookConfiguration", "Service"},
		{"MutatingWebhookConfiguration", "NetworkPolicy"}, {"Deployment", "Service"}, {"Service", "Secret"}, {"Deployment", "Certificate"},
		{"Deployment", "RoleBinding"}, {"RoleBinding", "ServiceAccount"}, {"ServiceAccount", "ValidatingAdmissionPolicy"}, {"ValidatingAdmissionPolicy", "Namespace"},
	} {
		if first, second := kindIn(all, pair[0]), kindIn(all, pair[1]); first < 0 || first > second {
			t.Errorf("%s is at %d, %s at %d of\n%s", pair[0], first, pair[1], second, strings.Join(all, "\n"))
		}
	}
	if !strings.HasSuffix(all[0], "/"+GuardName) || !strings.HasSuffix(all[1], "/"+GuardName+ByLabel) || kindIn(all, "MutatingWebhookConfiguration") != 2 {
		t.Errorf("the guard's bindings and the webhook configuration are not first:\n%s", strings.Join(all, "\n"))
	}
	if kindIn(all, "Namespace") != len(all)-1 {
		t.Errorf("the namespace is not last:\n%s", strings.Join(all, "\n"))
	}
	for _, id := range all {
		kind := strings.Fields(id[strings.Index(id, "Kind=")+len("Kind="):])[0]
		if kind != "Namespace" && !slices.Contains(deletionOrder, kind) {
			t.Errorf("the order does not know %s", kind)
		}
	}
}

func TestRemovalKeepsAnotherNamespace(t *testing.T) {
	for _, id := range removed(t, Removal{Namespace: "team-x", Overlays: []string{"cert-manager"}}) {
		if strings.Contains(id, "Kind=Namespace") || strings.Contains(id, Namespace+"/") {
			t.Errorf("%s is removed", id)
		}
	}
	for name, r := range map[string]Removal{
		"overlay \"no\"": {Overlays: []string{"no"}}, "engine policy has no pods": {Engine: Policy, Namespace: "x"}, "the webhook would be called for its own pods": {Namespace: "castai-agent"},
	} {
		if _, err := RenderRemoval(r); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%+v: %v, want %q", r, err, name)
		}
	}
}
