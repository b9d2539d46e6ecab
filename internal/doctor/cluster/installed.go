// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"
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

// oldest is the oldest supported Kubernetes version.
const oldest = "1.32"

func (k *checker) api(context.Context) doctor.Finding {
	info, err := k.Client.Discovery().ServerVersion()
	if err != nil {
		return k.requestFailed("reading the version of "+k.REST.Host, err)
	}
	v, err := version.ParseGeneric(info.GitVersion)
	if err != nil {
		return doctor.Unknownf("kubectl version", "the API server reports the version %q", info.GitVersion)
	}
	if v.LessThan(version.MustParseGeneric(oldest)) {
		return doctor.Failf("upgrade the cluster: aws eks update-cluster-version", "Kubernetes %s", info.GitVersion)
	}
	return doctor.OKf("Kubernetes %s at %s", info.GitVersion, k.REST.Host)
}

func (k *checker) getConfiguration(ctx context.Context) (*admissionv1.MutatingWebhookConfiguration, error) {
	return k.configOnce.Get(ctx, func(ctx context.Context) (*admissionv1.MutatingWebhookConfiguration, error) {
		return k.Client.AdmissionregistrationV1().MutatingWebhookConfigurations().Get(ctx, k.Expected.Name, metav1.GetOptions{})
	})
}

func (k *checker) configuration(ctx context.Context) doctor.Finding {
	live, err := k.getConfiguration(ctx)
	switch {
	case apierrors.IsNotFound(err):
		return doctor.Failf(k.installCommand(), "there is no MutatingWebhookConfiguration %s", k.Expected.Name)
	case err != nil:
		return k.requestFailed("reading the MutatingWebhookConfiguration", err)
	}
	different, added := compareWebhooks(k.Expected.Webhooks, live.Webhooks)
	switch where := fmt.Sprintf("%s differs in %d fields from the rendered one", live.Name, len(different)+len(added)); {
	case len(added) > 0: // kubectl apply does not remove fields of other writers
		var remove []string
		for _, a := range slices.Backward(added) { // from the end, so that the indexes remain valid
			remove = append(remove, fmt.Sprintf("{%q:%q,%q:%q}", "op", "remove", "path", a.path))
			different = append(different, a.name)
		}
		return doctor.Failf(fmt.Sprintf("kubectl patch mutatingwebhookconfiguration %s --type=json -p '[%s]'\n%s", live.Name, strings.Join(remove, ","), k.installCommand()), "%s", where).With(different...)
	case len(different) > 0:
		return doctor.Failf(k.installCommand()+k.diffHint(), "%s", where).With(different...)
	}
	ignored := namesWith(live.Webhooks, admissionv1.Ignore)
	note := ""
	switch {
	case len(ignored) == len(live.Webhooks):
		note = "; failurePolicy Ignore: while the webhook is unavailable, pods start with public images"
	case len(ignored) > 0: // the bundle sets it in all entries
		return doctor.Warnf(k.installCommand(), "failurePolicy is Ignore in %s alone: while the webhook is unavailable, public images get past it", strings.Join(ignored, ", "))
	}
	return doctor.OKf("%s, %d entries, as rendered%s", live.Name, len(live.Webhooks), note)
}

// namesWith returns the names of the entries with a failure policy.
func namesWith(webhooks []admissionv1.MutatingWebhook, policy admissionv1.FailurePolicyType) (names []string) {
	for _, w := range webhooks {
		if w.FailurePolicy != nil && *w.FailurePolicy == policy {
			names = append(names, w.Name)
		}
	}
	return names
}

// addition is a field or webhook in the cluster that was not rendered.
type addition struct{ name, path string }

// compareWebhooks returns the fields that differ, and those that were added. The
// failure policy is the user's choice, and ca-bundle checks the caBundle.
func compareWebhooks(want, got []admissionv1.MutatingWebhook) (different []string, added []addition) {
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
			added = append(added, addition{g.Name + " was not rendered", at})
		} else if o := g.ObjectSelector; o != nil && (len(o.MatchLabels) > 0 || len(o.MatchExpressions) > 0) {
			added = append(added, addition{g.Name + ": objectSelector: " + metav1.FormatLabelSelector(o), at + "/objectSelector"})
		}
	}
	return different, added
}

func (k *checker) config(ctx context.Context) doctor.Finding {
	if invalid, ok := errors.AsType[*InvalidConfigError](k.ConfigErr); ok {
		return doctor.Failf("correct privatelink.yaml, then: "+k.installCommand(), "the configuration in the cluster is invalid: %v", invalid)
	} else if k.ConfigErr != nil {
		return k.requestFailed("reading the configuration in the cluster", k.ConfigErr)
	}
	m, err := k.Client.CoreV1().ConfigMaps(k.Names.Namespace).Get(ctx, k.Names.ConfigMap, metav1.GetOptions{})
	where := objectName("ConfigMap", k.Names.Namespace, k.Names.ConfigMap)
	switch {
	case apierrors.IsNotFound(err):
		return doctor.Failf(k.installCommand(), "there is no %s", where)
	case err != nil:
		return k.requestFailed("reading the "+where, err)
	}
	installed, err := rewrite.Load(where, []byte(m.Data[k.Names.ConfigKey]))
	if err != nil {
		return doctor.Failf(k.installCommand(), "its configuration is invalid: %v", err)
	}
	want, got := k.Rules.Config(), installed.Config()
	// The webhook does not use what concerns the mirror.
	want.Repositories, got.Repositories = rewrite.Repositories{}, rewrite.Repositories{}
	want.Track, got.Track = rewrite.Track{}, rewrite.Track{}
	var different []string
	for _, field := range []struct {
		name      string
		want, got any
	}{
		{"registry", want.Registry, got.Registry}, {"namespaces", want.Namespaces, got.Namespaces}, {"namespaceSelector", want.NamespaceSelector, got.NamespaceSelector}, {"rules", want.Rules, got.Rules},
		{"keep", want.Keep, got.Keep}, {"envVars", want.EnvVars, got.EnvVars},
	} {
		if !equality.Semantic.DeepEqual(field.want, field.got) {
			different = append(different, fmt.Sprintf("%s: the cluster has %v, the local configuration %v", field.name, field.got, field.want))
		}
	}
	if len(different) > 0 {
		return doctor.Failf("select the intended configuration with --config, or install it:\n"+k.installCommand(), "it differs in %d settings", len(different)).With(different...)
	}
	namespaces := strings.Join(installed.Namespaces(), ", ")
	if !got.NamespaceSelector.IsEmpty() {
		namespaces += ", and those with " + got.NamespaceSelector.String()
	}
	return doctor.OKf("registry %s, namespaces %s", got.Registry, namespaces)
}
