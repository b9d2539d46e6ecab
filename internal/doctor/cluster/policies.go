// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"fmt"
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

// compareBinding returns the fields of a binding that could narrow the policy.
func compareBinding(policy, to string, resources *admissionv1.MatchResources, param *admissionv1.ParamRef) []field {
	return []field{
		{"spec.policyName of the binding", policy, to},
		{"spec.matchResources of the binding", true, resources == nil || len(resources.ResourceRules)+len(resources.ExcludeResourceRules) == 0 && selectsAll(resources.NamespaceSelector) && selectsAll(resources.ObjectSelector)},
		{"spec.paramRef of the binding", true, param == nil},
	}
}

func (k *checker) guard(ctx context.Context) doctor.Finding {
	api := k.Client.AdmissionregistrationV1()
	name := k.Guard.Name
	p, err := api.ValidatingAdmissionPolicies().Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return doctor.Warnf(k.installCommand(), "there is no ValidatingAdmissionPolicy %s: remaining public images are not reported", name)
	} else if err != nil {
		return requestFailed("reading the ValidatingAdmissionPolicy", err)
	}
	b, err := api.ValidatingAdmissionPolicyBindings().Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return doctor.Warnf(k.installCommand(), "the ValidatingAdmissionPolicy %s has no binding, and has no effect", name)
	} else if err != nil {
		return requestFailed("reading the ValidatingAdmissionPolicyBinding", err)
	}
	w, g := k.Guard.Spec, p.Spec
	different := differingFields(append(append(compareMatch(w.MatchConstraints, g.MatchConstraints), compareBinding(name, b.Spec.PolicyName, b.Spec.MatchResources, b.Spec.ParamRef)...),
		field{"spec.variables", w.Variables, g.Variables}, field{"spec.validations", w.Validations, g.Validations}, field{"spec.matchConditions", w.MatchConditions, g.MatchConditions}))
	if len(different) > 0 {
		return doctor.Warnf(k.installCommand(), "the guard differs from the rendered one in %s", doctor.List(different, 3)).With(different...)
	}
	var actions []string
	for _, a := range b.Spec.ValidationActions {
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
		return requestFailed("reading the MutatingAdmissionPolicy", err)
	}
	b, err := api.MutatingAdmissionPolicyBindings().Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return doctor.Failf(k.installCommand(), "the MutatingAdmissionPolicy %s has no binding, and has no effect", name)
	} else if err != nil {
		return requestFailed("reading the MutatingAdmissionPolicyBinding", err)
	}
	w, g := k.Policy.Spec, p.Spec
	different := differingFields(append(append(compareMatch(w.MatchConstraints, g.MatchConstraints), compareBinding(name, b.Spec.PolicyName, b.Spec.MatchResources, b.Spec.ParamRef)...),
		field{"spec.variables", w.Variables, g.Variables}, field{"spec.mutations", w.Mutations, g.Mutations}, field{"spec.matchConditions", w.MatchConditions, g.MatchConditions},
		field{"spec.reinvocationPolicy", w.ReinvocationPolicy, g.ReinvocationPolicy}))
	if len(different) > 0 {
		return doctor.Failf(k.installCommand(), "the policy differs from the rendered one in %s", doctor.List(different, 3)).With(different...)
	}
	return doctor.OKf("%s, as rendered", name)
}

// installCommand returns the command that installs the bundle of the engine.
func (k *checker) installCommand() string {
	engine := ""
	if k.Engine == Policy {
		engine = " --engine policy"
	}
	return fmt.Sprintf("privatelink install --config privatelink.yaml%s | kubectl apply -f -", engine)
}
