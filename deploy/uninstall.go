// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"sigs.k8s.io/kustomize/kyaml/resid"
	"sigs.k8s.io/yaml"

	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// Removal chooses the objects that RenderRemoval returns. The zero value is the bundle
// without overlays. Fields are those of Options.
type Removal struct {
	Engine    Engine
	Guard     Guard // GuardOff leaves the guard out
	Namespace string
	Overlays  []string
}

// deletionOrder is the order of kinds in which deletion refuses no pod: whatever has
// the API server call the webhook goes before the webhook. Kinds that are missing here
// are deleted before the Namespace.
var deletionOrder = []string{
	"MutatingWebhookConfiguration", "MutatingAdmissionPolicyBinding", "MutatingAdmissionPolicy",
	"PodDisruptionBudget", "Deployment", "Service", "NetworkPolicy", "Certificate", "Issuer", "ConfigMap", "Secret",
	"RoleBinding", "Role", "ClusterRoleBinding", "ClusterRole", "ServiceAccount",
	"ValidatingAdmissionPolicyBinding", "ValidatingAdmissionPolicy",
}

// RenderRemoval returns manifests for kubectl delete, in the order to delete them: the
// kinds and names of all objects that Render returns for any configuration with these
// options, of those that the overlays leave out and an earlier bundle had, and of the
// Secrets in which cert-manager stores the private keys of Certificates. It keeps them when
// a Certificate is deleted:
// https://cert-manager.io/docs/usage/certificate/#cleaning-up-secrets-when-certificates-are-deleted
//
// The guard's bindings come first: a guard that denies would refuse the pods that are no
// longer rewritten. The Namespace comes last, and only if it is the default one, since
// another one may hold more than the bundle.
func RenderRemoval(r Removal) ([]byte, error) {
	all, err := r.objects()
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	for i, id := range all {
		if i > 0 {
			out.WriteString("---\n")
		}
		metadata := map[string]string{"name": id.Name}
		if id.Namespace != "" {
			metadata["namespace"] = id.Namespace
		}
		text, err := yaml.Marshal(map[string]any{"apiVersion": id.ApiVersion(), "kind": id.Kind, "metadata": metadata})
		if err != nil {
			return nil, fmt.Errorf("render: %w", err)
		}
		out.Write(text)
	}
	return out.Bytes(), nil
}

func (r Removal) objects() ([]resid.ResId, error) {
	// Names do not depend on the registry. A namespaceSelector adds objects.
	rules, err := rewrite.New(rewrite.Config{
		Registry:          "registry.example.com/any",
		NamespaceSelector: rewrite.LabelSelector{MatchLabels: map[string]string{"any": "any"}},
	})
	if err != nil {
		return nil, err
	}
	var all []resid.ResId
	for _, overlays := range [][]string{nil, r.Overlays} {
		out, err := build(Options{Rules: rules, Engine: r.Engine, Guard: r.Guard, Namespace: r.Namespace, Overlays: overlays})
		if err != nil {
			return nil, err
		}
		for _, o := range out.Resources() {
			id := o.CurId()
			isOtherNamespace := id.Kind == "Namespace" && id.Name != Namespace
			if !isOtherNamespace && !slices.Contains(all, id) {
				all = append(all, id)
			}
			if id.Kind == "Certificate" {
				name, err := o.GetString("spec.secretName")
				if err != nil {
					return nil, fmt.Errorf("render: Certificate %s: %w", id.Name, err)
				}
				all = append(all, resid.NewResIdWithNamespace(resid.NewGvk("", "v1", "Secret"), name, id.Namespace))
			}
		}
	}
	slices.SortStableFunc(all, func(a, b resid.ResId) int { return cmp.Compare(deletionRank(a), deletionRank(b)) })
	return all, nil
}

func deletionRank(id resid.ResId) int {
	at := slices.Index(deletionOrder, id.Kind)
	switch {
	case id.Kind == "ValidatingAdmissionPolicyBinding" && (id.Name == GuardName || id.Name == GuardName+ByLabel):
		return -1
	case id.Kind == "Namespace":
		return len(deletionOrder) + 1
	case at < 0:
		return len(deletionOrder)
	}
	return at
}
