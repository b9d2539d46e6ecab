// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/castai/privatelink-webhook/internal/doctor"
)

// accountPolicy compares the policy that confines the webhook's account with the
// rendered one, and tries it: it sends, as the account, a change that must be refused.
func (k *checker) accountPolicy(ctx context.Context) doctor.Finding {
	d, done := k.selfManaged(ctx, "not needed: the certificate is read from files, and the account has no permissions")
	if d == nil {
		return done
	}
	if f := k.compareAccountPolicy(ctx); f.Status != doctor.OK {
		return f
	}
	user := fmt.Sprintf("system:serviceaccount:%s:%s", d.Namespace, d.Spec.Template.Spec.ServiceAccountName)
	err := k.patchAs(ctx, user, d.Namespace)
	name := k.AccountPolicy.Name
	switch {
	case err == nil:
		return doctor.Failf(k.installCommand()+"\nand look for a second binding or an exemption of the policy", "%s may change more than caBundle", user)
	case strings.Contains(err.Error(), name):
		return doctor.OKf("%s is confined to caBundle", user)
	case apierrors.IsForbidden(err) && strings.Contains(err.Error(), "impersonate"):
		return doctor.OKf("%s, as rendered; not tried, since this user may not impersonate %s", name, user)
	case isUserForbidden(err) || apierrors.IsNotFound(err):
		return doctor.OKf("%s, as rendered; %s cannot change a webhook configuration now", name, user)
	}
	return k.requestFailed("sending a change as "+user, err)
}

func (k *checker) compareAccountPolicy(ctx context.Context) doctor.Finding {
	api, name := k.Client.AdmissionregistrationV1(), k.AccountPolicy.Name
	p, err := api.ValidatingAdmissionPolicies().Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return doctor.Failf(k.installCommand(), "there is no ValidatingAdmissionPolicy %s: a stolen token of the webhook is enough to take over the cluster", name)
	} else if err != nil {
		return k.requestFailed("reading the ValidatingAdmissionPolicy", err)
	}
	b, err := api.ValidatingAdmissionPolicyBindings().Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return doctor.Failf(k.installCommand(), "there is no ValidatingAdmissionPolicyBinding %s: the account is not confined", name)
	} else if err != nil {
		return k.requestFailed("reading the ValidatingAdmissionPolicyBinding", err)
	}
	w, g := k.AccountPolicy.Spec, p.Spec
	different := differingFields(append(append(compareMatch(w.MatchConstraints, g.MatchConstraints), compareBinding(binding{name: name, policy: name}, binding{name: name, policy: b.Spec.PolicyName, resources: b.Spec.MatchResources, param: b.Spec.ParamRef})...),
		field{"spec.validations", w.Validations, g.Validations}, field{"spec.variables", w.Variables, g.Variables}, field{"spec.matchConditions", w.MatchConditions, g.MatchConditions},
		field{"spec.failurePolicy", w.FailurePolicy, g.FailurePolicy},
		field{"spec.validationActions of the binding", true, slices.Contains(b.Spec.ValidationActions, admissionv1.Deny)}))
	if len(different) > 0 {
		return doctor.Failf(k.installCommand(), "the policy differs from the rendered one in %s", doctor.List(different, 3)).With(different...)
	}
	return doctor.OKf("as rendered")
}

// patchAs sends a label for the webhook configuration as a dry run by another user.
func (k *checker) patchAs(ctx context.Context, user, namespace string) error {
	config := rest.CopyConfig(k.REST)
	config.Impersonate = rest.ImpersonationConfig{UserName: user, Groups: []string{"system:serviceaccounts", "system:serviceaccounts:" + namespace, "system:authenticated"}}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	_, err = client.AdmissionregistrationV1().MutatingWebhookConfigurations().Patch(ctx, k.Expected.Name, types.MergePatchType,
		[]byte(`{"metadata":{"labels":{"privatelink.cast.ai/doctor":"true"}}}`), metav1.PatchOptions{DryRun: []string{metav1.DryRunAll}})
	return err
}
