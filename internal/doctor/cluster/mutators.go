// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

type webhookEntry = admissionv1.MutatingWebhook

// webhookConfiguration is the object that a webhook is an entry of.
type webhookConfiguration struct {
	kind, configuration string // empty if it is not found
	service             string // NAMESPACE/NAME, or the URL
	isDead              bool   // its Service does not exist
	err                 error  // why the configuration is not known
}

func (c webhookConfiguration) String() string {
	switch {
	case c.err != nil:
		return "a configuration that cannot be read: " + c.err.Error()
	case c.configuration == "":
		return "a configuration that is not found"
	}
	return c.kind + " " + c.configuration
}

// webhookOwner returns the configuration that has a webhook of a name.
func (k *checker) webhookOwner(ctx context.Context, name string) webhookConfiguration {
	api := k.Client.AdmissionregistrationV1()
	mutating, mutatingErr := api.MutatingWebhookConfigurations().List(ctx, metav1.ListOptions{})
	if mutatingErr == nil {
		for _, c := range mutating.Items {
			for _, w := range c.Webhooks {
				if w.Name == name {
					return k.describeWebhook(ctx, "mutatingwebhookconfiguration", c.Name, w.ClientConfig)
				}
			}
		}
	}
	validating, validatingErr := api.ValidatingWebhookConfigurations().List(ctx, metav1.ListOptions{})
	if validatingErr == nil {
		for _, c := range validating.Items {
			for _, w := range c.Webhooks {
				if w.Name == name {
					return k.describeWebhook(ctx, "validatingwebhookconfiguration", c.Name, w.ClientConfig)
				}
			}
		}
	}
	return webhookConfiguration{err: errors.Join(mutatingErr, validatingErr)}
}

func (k *checker) describeWebhook(ctx context.Context, kind, name string, c admissionv1.WebhookClientConfig) webhookConfiguration {
	found := webhookConfiguration{kind: kind, configuration: name}
	if c.Service == nil {
		if c.URL != nil {
			found.service = *c.URL
		}
		return found
	}
	found.service = c.Service.Namespace + "/" + c.Service.Name
	_, err := k.Client.CoreV1().Services(c.Service.Namespace).Get(ctx, c.Service.Name, metav1.GetOptions{})
	found.isDead = apierrors.IsNotFound(err)
	if err != nil && !found.isDead {
		found.service += fmt.Sprintf(" (%v)", err)
	}
	return found
}

// mutator is a policy or a webhook of others that changes new pods of a namespace.
type mutator struct {
	name   string // with its kind
	text   string // what it does, as far as it can be read
	remedy string
}

// otherMutators returns the policies and webhooks that change new pods in a namespace,
// apart from those of this engine.
func (k *checker) otherMutators(ctx context.Context, namespace string) ([]mutator, error) {
	policies, err := k.otherPolicies(ctx, namespace)
	if err != nil {
		return nil, err
	}
	webhooks, err := k.Client.AdmissionregistrationV1().MutatingWebhookConfigurations().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	for _, c := range webhooks.Items {
		if c.Name == k.Expected.Name && k.Engine == Webhook {
			continue
		}
		for _, w := range c.Webhooks {
			if called, err := k.isCalled(ctx, w); err != nil {
				return nil, err
			} else if called {
				policies = append(policies, mutator{name: "webhook " + w.Name + " of mutatingwebhookconfiguration " + c.Name,
					remedy: fmt.Sprintf("exclude the namespace %s in the namespaceSelector of mutatingwebhookconfiguration %s, or delete it: kubectl delete mutatingwebhookconfiguration %s", namespace, c.Name, c.Name)})
			}
		}
	}
	return policies, nil
}

// otherPolicies returns the MutatingAdmissionPolicies with a binding for a namespace.
// Before Kubernetes 1.36 there are none.
func (k *checker) otherPolicies(ctx context.Context, namespace string) (found []mutator, err error) {
	api := k.Client.AdmissionregistrationV1()
	policies, err := api.MutatingAdmissionPolicies().List(ctx, metav1.ListOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	bindings, err := api.MutatingAdmissionPolicyBindings().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	set, err := k.labelsOf(ctx, namespace)
	if err != nil {
		return nil, err
	}
	for _, p := range policies.Items {
		isOurs := p.Name == k.Policy.Name
		if isOurs && k.Engine == Policy || !selectsPods(p.Spec.MatchConstraints, set) {
			continue
		}
		i := slices.IndexFunc(bindings.Items, func(b admissionv1.MutatingAdmissionPolicyBinding) bool {
			return b.Spec.PolicyName == p.Name && (b.Spec.MatchResources == nil || selectsNamespace(b.Spec.MatchResources.NamespaceSelector, set))
		})
		if i < 0 {
			continue
		}
		text, err := json.Marshal(p.Spec)
		if err != nil {
			return nil, err
		}
		m := mutator{name: "mutatingadmissionpolicy " + p.Name, text: string(text),
			remedy: fmt.Sprintf("exclude the namespace %s in matchResources.namespaceSelector of mutatingadmissionpolicybinding %s, or delete the binding: kubectl delete mutatingadmissionpolicybinding %[2]s", namespace, bindings.Items[i].Name)}
		if isOurs {
			m.remedy = "it was left behind when the engine was changed: privatelink uninstall --engine policy --guard off | kubectl delete --ignore-not-found -f -"
		}
		found = append(found, m)
	}
	return found, nil
}

func selectsPods(m *admissionv1.MatchResources, namespace labels.Set) bool {
	return m != nil && selectsNamespace(m.NamespaceSelector, namespace) && slices.ContainsFunc(m.ResourceRules, func(r admissionv1.NamedRuleWithOperations) bool {
		return isForNewPods(r.RuleWithOperations)
	})
}

func selectsNamespace(s *metav1.LabelSelector, namespace labels.Set) bool {
	if s == nil {
		return true
	}
	selector, err := metav1.LabelSelectorAsSelector(s)
	return err == nil && selector.Matches(namespace)
}

// changedBy returns which of the mutators changed an image: the one that names the
// host of the result or, if none does, the only one. Otherwise each may have done so.
func changedBy(mutators []mutator, image string) []mutator {
	host, _, _ := strings.Cut(image, "/")
	if i := slices.IndexFunc(mutators, func(m mutator) bool { return strings.Contains(m.text, host) }); i >= 0 {
		return mutators[i : i+1]
	}
	return mutators
}
