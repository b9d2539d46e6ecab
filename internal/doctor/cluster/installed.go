// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/version"

	"github.com/castai/privatelink-webhook/internal/doctor"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// oldest is the first version that the bundle is for.
const oldest = "1.32"

func (k *cluster) api(context.Context) doctor.Finding {
	info, err := k.Client.Discovery().ServerVersion()
	switch {
	case apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err):
		return doctor.Unknownf("log in to the cluster: aws eks update-kubeconfig --name CLUSTER", "%s refuses you: %v", k.REST.Host, err)
	case err != nil:
		return doctor.Failf("reach the API server from here, by VPN or bastion where its endpoint is private; then: kubectl version", "%s does not answer: %v", k.REST.Host, err)
	}
	v, err := version.ParseGeneric(info.GitVersion)
	if err != nil {
		return doctor.Unknownf("kubectl version", "it says that its version is %q", info.GitVersion)
	}
	if v.LessThan(version.MustParseGeneric(oldest)) {
		return doctor.Failf("upgrade the cluster: aws eks update-cluster-version", "Kubernetes %s", info.GitVersion)
	}
	return doctor.OKf("Kubernetes %s at %s", info.GitVersion, k.REST.Host)
}

func (k *cluster) theConfiguration(ctx context.Context) (*admissionv1.MutatingWebhookConfiguration, error) {
	return k.live.Get(ctx, func(ctx context.Context) (*admissionv1.MutatingWebhookConfiguration, error) {
		return k.Client.AdmissionregistrationV1().MutatingWebhookConfigurations().Get(ctx, k.Expected.Name, metav1.GetOptions{})
	})
}

func (k *cluster) configuration(ctx context.Context) doctor.Finding {
	live, err := k.theConfiguration(ctx)
	switch {
	case apierrors.IsNotFound(err):
		return doctor.Failf(k.installs(), "there is no MutatingWebhookConfiguration %s", k.Expected.Name)
	case err != nil:
		return unseen("reading the MutatingWebhookConfiguration", err)
	}
	different, added := differences(k.Expected.Webhooks, live.Webhooks)
	switch where := fmt.Sprintf("%s differs in %d places from what is rendered", live.Name, len(different)+len(added)); {
	case len(added) > 0: // kubectl apply leaves what it did not write
		var remove []string
		for _, a := range slices.Backward(added) { // from the end, for the numbers to hold
			remove = append(remove, fmt.Sprintf("{%q:%q,%q:%q}", "op", "remove", "path", a.path))
			different = append(different, a.what)
		}
		return doctor.Failf(fmt.Sprintf("kubectl patch mutatingwebhookconfiguration %s --type=json -p '[%s]'\n%s", live.Name, strings.Join(remove, ","), k.installs()), "%s", where).With(different...)
	case len(different) > 0:
		return doctor.Failf(k.installs()+"\n(kubectl diff -f - instead of kubectl apply -f - shows what changes)", "%s", where).With(different...)
	}
	policies := ""
	if p := live.Webhooks[0].FailurePolicy; p != nil && *p == admissionv1.Ignore {
		policies = "; failurePolicy Ignore: while the webhook is away, pods start with public images"
	}
	return doctor.OKf("%s, %d entries, as rendered%s", live.Name, len(live.Webhooks), policies)
}

// addition is something in the cluster that nobody rendered.
type addition struct{ what, path string }

// differences names the fields in which entries differ, and what was added. The
// failure policy is a choice of the user, and the caBundle another check's.
func differences(want, got []admissionv1.MutatingWebhook) (different []string, added []addition) {
	for _, w := range want {
		i := slices.IndexFunc(got, func(g admissionv1.MutatingWebhook) bool { return g.Name == w.Name })
		if i < 0 {
			different = append(different, w.Name+" is missing")
			continue
		}
		g := got[i]
		for _, field := range []struct {
			name      string
			want, got any
		}{
			{"clientConfig.service", w.ClientConfig.Service, g.ClientConfig.Service},
			{"clientConfig.url", w.ClientConfig.URL, g.ClientConfig.URL},
			{"rules", w.Rules, g.Rules},
			{"namespaceSelector", w.NamespaceSelector, g.NamespaceSelector},
			{"matchPolicy", w.MatchPolicy, g.MatchPolicy},
			{"reinvocationPolicy", w.ReinvocationPolicy, g.ReinvocationPolicy},
			{"sideEffects", w.SideEffects, g.SideEffects},
			{"timeoutSeconds", w.TimeoutSeconds, g.TimeoutSeconds},
			{"admissionReviewVersions", w.AdmissionReviewVersions, g.AdmissionReviewVersions},
			{"matchConditions", w.MatchConditions, g.MatchConditions},
		} {
			if !equality.Semantic.DeepEqual(field.want, field.got) {
				different = append(different, w.Name+": "+field.name)
			}
		}
	}
	for i, g := range got {
		at := fmt.Sprintf("/webhooks/%d", i)
		if !slices.ContainsFunc(want, func(w admissionv1.MutatingWebhook) bool { return g.Name == w.Name }) {
			added = append(added, addition{g.Name + " is not ours", at})
		} else if o := g.ObjectSelector; o != nil && (len(o.MatchLabels) > 0 || len(o.MatchExpressions) > 0) {
			added = append(added, addition{g.Name + ": objectSelector: " + metav1.FormatLabelSelector(o), at + "/objectSelector"})
		}
	}
	return different, added
}

func (k *cluster) config(ctx context.Context) doctor.Finding {
	m, err := k.Client.CoreV1().ConfigMaps(k.Names.Namespace).Get(ctx, k.Names.ConfigMap, metav1.GetOptions{})
	where := named("ConfigMap", k.Names.Namespace, k.Names.ConfigMap)
	switch {
	case apierrors.IsNotFound(err):
		return doctor.Failf(k.installs(), "there is no %s", where)
	case err != nil:
		return unseen("reading the "+where, err)
	}
	theirs, err := rewrite.Load(where, []byte(m.Data[k.Names.ConfigKey]))
	if err != nil {
		return doctor.Failf(k.installs(), "its configuration has a fault: %v", err)
	}
	want, got := k.Rules.Config(), theirs.Config()
	// How repositories are made is nothing that the webhook looks at.
	want.Repositories, got.Repositories = rewrite.Repositories{}, rewrite.Repositories{}
	var different []string
	for _, field := range []struct {
		name      string
		want, got any
	}{
		{"registry", want.Registry, got.Registry}, {"namespaces", want.Namespaces, got.Namespaces}, {"rules", want.Rules, got.Rules},
		{"keep", want.Keep, got.Keep}, {"envVars", want.EnvVars, got.EnvVars},
	} {
		if !equality.Semantic.DeepEqual(field.want, field.got) {
			different = append(different, fmt.Sprintf("%s: the cluster has %v, you gave %v", field.name, field.got, field.want))
		}
	}
	if len(different) > 0 {
		return doctor.Failf("give the configuration that is meant with --config, or install it:\n"+k.installs(), "it differs in %d settings", len(different)).With(different...)
	}
	return doctor.OKf("registry %s, namespaces %s", got.Registry, strings.Join(theirs.Namespaces(), ", "))
}
