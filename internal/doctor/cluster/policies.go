// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/castai/privatelink-webhook/internal/doctor"
)

// field is a field that is compared with the rendered one. The failure policy and
// the validation actions are the user's choice and not compared.
type field struct {
	name      string
	want, got any
}

func differingFields(fields []field) (names []string) {
	for _, f := range fields {
		if !equality.Semantic.DeepEqual(f.want, f.got) {
			names = append(names, f.name)
		}
	}
	return names
}

// compareMatch returns the fields that select the pods of a policy.
func compareMatch(want, got *admissionv1.MatchResources) []field {
	if got == nil {
		got = &admissionv1.MatchResources{}
	}
	return []field{
		{"spec.matchConstraints.namespaceSelector", want.NamespaceSelector, got.NamespaceSelector},
		{"spec.matchConstraints.resourceRules", want.ResourceRules, got.ResourceRules},
		{"spec.matchConstraints.excludeResourceRules", want.ExcludeResourceRules, got.ExcludeResourceRules},
		{"spec.matchConstraints.objectSelector", selectsAll(want.ObjectSelector), selectsAll(got.ObjectSelector)},
	}
}

func selectsAll(s *metav1.LabelSelector) bool {
	return s == nil || len(s.MatchLabels)+len(s.MatchExpressions) == 0
}

// binding has the fields of a binding that could narrow its policy.
type binding struct {
	name, policy string
	resources    *admissionv1.MatchResources
	param        *admissionv1.ParamRef
}

func (b binding) namespaces() *metav1.LabelSelector {
	if b.resources == nil || selectsAll(b.resources.NamespaceSelector) {
		return nil
	}
	return b.resources.NamespaceSelector
}

// compareBinding returns these fields.
func compareBinding(want, got binding) []field {
	r := got.resources
	return []field{
		{"spec.policyName of the binding " + want.name, want.policy, got.policy},
		{"spec.matchResources.namespaceSelector of the binding " + want.name, want.namespaces(), got.namespaces()},
		{"spec.matchResources of the binding " + want.name, true, r == nil || len(r.ResourceRules)+len(r.ExcludeResourceRules) == 0 && selectsAll(r.ObjectSelector)},
		{"spec.paramRef of the binding " + want.name, true, got.param == nil},
	}
}

func (k *checker) guard(ctx context.Context) doctor.Finding {
	api := k.Client.AdmissionregistrationV1()
	name := k.Guard.Name
	p, err := api.ValidatingAdmissionPolicies().Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return doctor.Warnf(k.installCommand(), "there is no ValidatingAdmissionPolicy %s: remaining public images are not reported", name)
	} else if err != nil {
		return k.requestFailed("reading the ValidatingAdmissionPolicy", err)
	}
	w, g := k.Guard.Spec, p.Spec
	fields := append(compareMatch(w.MatchConstraints, g.MatchConstraints),
		field{"spec.variables", w.Variables, g.Variables}, field{"spec.validations", w.Validations, g.Validations}, field{"spec.matchConditions", w.MatchConditions, g.MatchConditions})
	var chosen []admissionv1.ValidationAction
	for _, want := range k.GuardBindings {
		b, err := api.ValidatingAdmissionPolicyBindings().Get(ctx, want.Name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return doctor.Warnf(k.installCommand(), "there is no ValidatingAdmissionPolicyBinding %s: its namespaces are not guarded", want.Name)
		} else if err != nil {
			return k.requestFailed("reading the ValidatingAdmissionPolicyBinding", err)
		}
		chosen = b.Spec.ValidationActions
		fields = append(fields, compareBinding(binding{want.Name, want.Spec.PolicyName, want.Spec.MatchResources, want.Spec.ParamRef}, binding{b.Name, b.Spec.PolicyName, b.Spec.MatchResources, b.Spec.ParamRef})...)
	}
	different := differingFields(fields)
	if len(different) > 0 {
		return doctor.Warnf(k.installCommand(), "the guard differs from the rendered one in %s", doctor.List(different, 3)).With(different...)
	}
	var actions []string
	for _, a := range chosen {
		actions = append(actions, string(a))
	}
	return doctor.OKf("as rendered; actions for public images: %s", strings.Join(actions, ", "))
}

func (k *checker) policy(ctx context.Context) doctor.Finding {
	api := k.Client.AdmissionregistrationV1()
	name := k.Policy.Name
	p, err := api.MutatingAdmissionPolicies().Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return doctor.Failf(k.installCommand(), "there is no MutatingAdmissionPolicy %s", name)
	} else if err != nil {
		return k.requestFailed("reading the MutatingAdmissionPolicy", err)
	}
	w, g := k.Policy.Spec, p.Spec
	fields := append(compareMatch(w.MatchConstraints, g.MatchConstraints),
		field{"spec.variables", w.Variables, g.Variables}, field{"spec.mutations", w.Mutations, g.Mutations}, field{"spec.matchConditions", w.MatchConditions, g.MatchConditions},
		field{"spec.reinvocationPolicy", w.ReinvocationPolicy, g.ReinvocationPolicy})
	for _, want := range k.PolicyBindings {
		b, err := api.MutatingAdmissionPolicyBindings().Get(ctx, want.Name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return doctor.Failf(k.installCommand(), "there is no MutatingAdmissionPolicyBinding %s: pods in its namespaces are not rewritten", want.Name)
		} else if err != nil {
			return k.requestFailed("reading the MutatingAdmissionPolicyBinding", err)
		}
		fields = append(fields, compareBinding(binding{want.Name, want.Spec.PolicyName, want.Spec.MatchResources, want.Spec.ParamRef}, binding{b.Name, b.Spec.PolicyName, b.Spec.MatchResources, b.Spec.ParamRef})...)
	}
	different := differingFields(fields)
	if len(different) > 0 {
		return doctor.Failf(k.installCommand(), "the policy differs from the rendered one in %s", doctor.List(different, 3)).With(different...)
	}
	return doctor.OKf("%s, as rendered", name)
}
