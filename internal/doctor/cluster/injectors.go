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

	"github.com/castai/privatelink-webhook/internal/doctor"
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
		return doctor.Warnf("give its MutatingWebhookConfiguration a name that sorts before "+k.Expected.Name+", or keep it from these namespaces by its namespaceSelector; mirror what it injects", "%s is called after the rewriting", doctor.List(after, 3)).With(after...)
	}
	return doctor.OKf("%d webhooks see these pods, all of them before", others)
}

// namespaceLabels are the labels of each namespace of ours. One that does not
// exist yet will have that of its name.
func (k *cluster) namespaceLabels(ctx context.Context) (all []labels.Set, err error) {
	for _, name := range k.Rules.Namespaces() {
		n, err := k.Client.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
			all = append(all, labels.Set{corev1.LabelMetadataName: name})
		case err != nil:
			return nil, err
		default:
			all = append(all, n.Labels)
		}
	}
	return all, nil
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
	namespaces, err := k.ours.Get(ctx, k.namespaceLabels)
	return slices.ContainsFunc(namespaces, func(of labels.Set) bool { return selector.Matches(of) }), err
}
