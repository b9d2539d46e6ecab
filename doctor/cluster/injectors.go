// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"slices"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/castai/privatelink-webhook/doctor"
)

// injectors finds webhooks that the API server calls after ours: it goes by the
// names of the configurations.
func (k *cluster) injectors(ctx context.Context) doctor.Finding {
	list, err := k.Client.AdmissionregistrationV1().MutatingWebhookConfigurations().List(ctx, metav1.ListOptions{})
	if err != nil {
		return unseen("listing MutatingWebhookConfigurations", err)
	}
	var after []string
	others := 0
	for _, c := range list.Items {
		if c.Name == k.Expected.Name {
			continue
		}
		for _, w := range c.Webhooks {
			hit, err := k.sees(ctx, w)
			if err != nil {
				return unseen("reading the namespaces of the configuration", err)
			}
			if hit {
				if others++; c.Name > k.Expected.Name {
					after = append(after, w.Name+" of "+c.Name)
				}
			}
		}
	}
	if len(after) > 0 {
		return doctor.Risky("give its MutatingWebhookConfiguration a name that sorts before "+k.Expected.Name+", or keep it from these namespaces by its namespaceSelector; mirror what it injects", "%s is called after the rewriting", doctor.List(after, 3)).With(after...)
	}
	return doctor.Good("%d webhooks see these pods, all of them before", others)
}

// sees tells whether a webhook is called for new pods of a namespace of ours.
// Conditions and object selectors are taken to hold.
func (k *cluster) sees(ctx context.Context, w admissionv1.MutatingWebhook) (bool, error) {
	if !slices.ContainsFunc(w.Rules, func(r admissionv1.RuleWithOperations) bool {
		return (slices.Contains(r.Operations, admissionv1.Create) || slices.Contains(r.Operations, admissionv1.OperationAll)) &&
			(slices.Contains(r.APIGroups, "") || slices.Contains(r.APIGroups, "*")) &&
			(slices.Contains(r.Resources, "pods") || slices.Contains(r.Resources, "*") || slices.Contains(r.Resources, "*/*")) &&
			(r.Scope == nil || *r.Scope != admissionv1.ClusterScope)
	}) {
		return false, nil
	}
	if w.NamespaceSelector == nil {
		return true, nil
	}
	selector, err := metav1.LabelSelectorAsSelector(w.NamespaceSelector)
	if err != nil {
		return false, err
	}
	for _, name := range k.Rules.Namespaces() {
		of := map[string]string{corev1.LabelMetadataName: name}
		n, err := k.Client.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{})
		if err == nil {
			of = n.Labels
		} else if !apierrors.IsNotFound(err) {
			return false, err
		}
		if selector.Matches(labels.Set(of)) {
			return true, nil
		}
	}
	return false, nil
}
