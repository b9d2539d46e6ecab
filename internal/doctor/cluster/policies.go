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

// field is one that is compared with what is rendered. Whether a failure, or a
// public image, refuses the pod is a choice of the user and never among them.
type field struct {
	name      string
	want, got any
}

func unequal(fields []field) (names []string) {
	for _, f := range fields {
		if !equality.Semantic.DeepEqual(f.want, f.got) {
			names = append(names, f.name)
		}
	}
	return names
}

// matching are the fields that say for which pods a policy is evaluated.
func matching(want, got *admissionv1.MatchResources) []field {
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

// bound are the fields of a binding that would narrow the policy.
func bound(policy, to string, resources *admissionv1.MatchResources, param *admissionv1.ParamRef) []field {
	return []field{
		{"spec.policyName of the binding", policy, to},
		{"spec.matchResources of the binding", true, resources == nil || len(resources.ResourceRules)+len(resources.ExcludeResourceRules) == 0 && selectsAll(resources.NamespaceSelector) && selectsAll(resources.ObjectSelector)},
		{"spec.paramRef of the binding", true, param == nil},
	}
}

func (k *cluster) guard(ctx context.Context) doctor.Finding {
	api := k.Client.AdmissionregistrationV1()
	name := k.Guard.Name
	p, err := api.ValidatingAdmissionPolicies().Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return doctor.Warnf(k.installs(), "there is no ValidatingAdmissionPolicy %s: of a public image that is left nobody tells", name)
	} else if err != nil {
		return unseen("reading the ValidatingAdmissionPolicy", err)
	}
	b, err := api.ValidatingAdmissionPolicyBindings().Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return doctor.Warnf(k.installs(), "the ValidatingAdmissionPolicy %s has no binding, and so does nothing", name)
	} else if err != nil {
		return unseen("reading the ValidatingAdmissionPolicyBinding", err)
	}
	w, g := k.Guard.Spec, p.Spec
	different := unequal(append(append(matching(w.MatchConstraints, g.MatchConstraints), bound(name, b.Spec.PolicyName, b.Spec.MatchResources, b.Spec.ParamRef)...),
		field{"spec.variables", w.Variables, g.Variables}, field{"spec.validations", w.Validations, g.Validations}, field{"spec.matchConditions", w.MatchConditions, g.MatchConditions}))
	if len(different) > 0 {
		return doctor.Warnf(k.installs(), "the guard differs from what is rendered in %s", doctor.List(different, 3)).With(different...)
	}
	var actions []string
	for _, a := range b.Spec.ValidationActions {
		actions = append(actions, string(a))
	}
	return doctor.OKf("as rendered; of a public image it does: %s", strings.Join(actions, ", "))
}

func (k *cluster) policy(ctx context.Context) doctor.Finding {
	api := k.Client.AdmissionregistrationV1()
	name := k.Policy.Name
	p, err := api.MutatingAdmissionPolicies().Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return doctor.Failf(k.installs(), "there is no MutatingAdmissionPolicy %s", name)
	} else if err != nil {
		return unseen("reading the MutatingAdmissionPolicy", err)
	}
	b, err := api.MutatingAdmissionPolicyBindings().Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return doctor.Failf(k.installs(), "the MutatingAdmissionPolicy %s has no binding, and so does nothing", name)
	} else if err != nil {
		return unseen("reading the MutatingAdmissionPolicyBinding", err)
	}
	w, g := k.Policy.Spec, p.Spec
	different := unequal(append(append(matching(w.MatchConstraints, g.MatchConstraints), bound(name, b.Spec.PolicyName, b.Spec.MatchResources, b.Spec.ParamRef)...),
		field{"spec.variables", w.Variables, g.Variables}, field{"spec.mutations", w.Mutations, g.Mutations}, field{"spec.matchConditions", w.MatchConditions, g.MatchConditions},
		field{"spec.reinvocationPolicy", w.ReinvocationPolicy, g.ReinvocationPolicy}))
	if len(different) > 0 {
		return doctor.Failf(k.installs(), "the policy differs from what is rendered in %s", doctor.List(different, 3)).With(different...)
	}
	return doctor.OKf("%s, as rendered", name)
}

// installs is how the bundle of the engine is installed again, with what the
// user has now.
func (k *cluster) installs() string {
	engine := ""
	if k.Engine == Policy {
		engine = " --engine policy"
	}
	return fmt.Sprintf("privatelink install --config privatelink.yaml%s | kubectl apply -f -", engine)
}
