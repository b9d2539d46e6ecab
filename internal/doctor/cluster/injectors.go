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

// injectors finds webhooks that the API server calls after the rewriting. It
// calls them in the order of the names of their configurations.
func (k *checker) injectors(ctx context.Context) doctor.Finding {
	list, err := k.Client.AdmissionregistrationV1().MutatingWebhookConfigurations().List(ctx, metav1.ListOptions{})
	if err != nil {
		return k.requestFailed("listing MutatingWebhookConfigurations", err)
	}
	var after []string
	others := 0
	for _, c := range list.Items {
		if c.Name == k.Expected.Name {
			continue
		}
		for _, w := range c.Webhooks {
			called, err := k.isCalled(ctx, w)
			if err != nil {
				return k.requestFailed("reading the namespaces of the configuration", err)
			}
			if called {
				if others++; c.Name > k.Expected.Name {
					after = append(after, w.Name+" of "+c.Name)
				}
			}
		}
	}
	if len(after) > 0 {
		return doctor.Warnf("give its MutatingWebhookConfiguration a name that sorts before "+k.Expected.Name+", or exclude these namespaces in its namespaceSelector; mirror the images that it injects", "%s is called after the rewriting", doctor.List(after, 3)).With(after...)
	}
	return doctor.OKf("%d other webhooks are called for these pods, all of them before", others)
}

// namespaceLabels returns the labels of each namespace of the configuration. A
// namespace that does not exist yet will have the label with its name.
func (k *checker) namespaceLabels(ctx context.Context) (sets []labels.Set, err error) {
	namespaces, err := k.namespaces(ctx)
	if err != nil {
		return nil, err
	}
	for _, name := range namespaces {
		set, err := k.labelsOf(ctx, name)
		if err != nil {
			return nil, err
		}
		sets = append(sets, set)
	}
	return sets, nil
}

func (k *checker) labelsOf(ctx context.Context, namespace string) (labels.Set, error) {
	n, err := k.Client.CoreV1().Namespaces().Get(ctx, namespace, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return labels.Set{corev1.LabelMetadataName: namespace}, nil
	} else if err != nil {
		return nil, err
	}
	return n.Labels, nil
}

// isCalled reports whether a webhook is called for new pods in a namespace of the
// configuration. Match conditions and object selectors are assumed to match.
func (k *checker) isCalled(ctx context.Context, w admissionv1.MutatingWebhook) (bool, error) {
	if !slices.ContainsFunc(w.Rules, isForNewPods) {
		return false, nil
	}
	if w.NamespaceSelector == nil {
		return true, nil
	}
	selector, err := metav1.LabelSelectorAsSelector(w.NamespaceSelector)
	if err != nil {
		return false, err
	}
	namespaces, err := k.namespacesOnce.Get(ctx, k.namespaceLabels)
	return slices.ContainsFunc(namespaces, func(set labels.Set) bool { return selector.Matches(set) }), err
}

// isForNewPods reports whether a rule covers the creation of pods.
func isForNewPods(r admissionv1.RuleWithOperations) bool {
	return (slices.Contains(r.Operations, admissionv1.Create) || slices.Contains(r.Operations, admissionv1.OperationAll)) &&
		(slices.Contains(r.APIGroups, "") || slices.Contains(r.APIGroups, "*")) &&
		(slices.Contains(r.Resources, "pods") || slices.Contains(r.Resources, "*") || slices.Contains(r.Resources, "*/*")) &&
		(r.Scope == nil || *r.Scope != admissionv1.ClusterScope)
}
