// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"

	"golang.org/x/net/http/httpproxy"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/castai/privatelink-webhook/internal/doctor"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

const (
	// operatorAPI is the API of CAST AI's operator. Its object Cluster has the address of the
	// chart repository.
	// https://github.com/castai/castware-operator/blob/19052ac/api/v1alpha1/cluster_types.go
	operatorAPI = "castware.cast.ai/v1alpha1"
	// operatorImage is the last element of the image's name, also in a private registry.
	operatorImage = "castware-operator"
	// publicCharts is the host of CAST AI's public chart repository, the operator's default.
	publicCharts = "castai.github.io"
)

// ChartRepository is where an operator of CAST AI fetches charts.
type ChartRepository struct {
	Namespace, Name string // of the object Cluster
	URL             string // as the object has it
	// Proxy is that of the operator's environment for URL, or nil.
	Proxy *url.URL
	// Releases are the Helm releases in the namespace that have a Deployment, with their
	// charts. Helm does not store the repository of a release.
	Releases []string
}

// ChartRepositories returns the chart repositories of CAST AI's operator. There are none
// without its Deployment, because its objects alone have no effect.
func ChartRepositories(ctx context.Context, client kubernetes.Interface) (all []ChartRepository, err error) {
	// All users may read this list, so that without the operator no permission is missing.
	if _, err := client.Discovery().ServerResourcesForGroupVersion(operatorAPI); apierrors.IsNotFound(err) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	result := client.Discovery().RESTClient().Get().AbsPath("/apis", operatorAPI, "clusters").Do(ctx)
	if err := result.Error(); err != nil { // that of Raw has no message
		return nil, err
	}
	text, err := result.Raw()
	if err != nil {
		return nil, err
	}
	var list struct {
		Items []struct {
			Metadata metav1.ObjectMeta
			Spec     struct{ HelmRepoURL string }
		}
	}
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, fmt.Errorf("clusters.%s: %w", operatorAPI, err)
	}
	for _, c := range list.Items {
		deployments, err := client.AppsV1().Deployments(c.Metadata.Namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return nil, err
		}
		if env, isInstalled := operatorEnv(deployments.Items); isInstalled {
			r := ChartRepository{Namespace: c.Metadata.Namespace, Name: c.Metadata.Name, URL: c.Spec.HelmRepoURL, Releases: releases(deployments.Items)}
			r.Proxy = proxyFor(r.URL, env)
			all = append(all, r)
		}
	}
	return all, nil
}

// operatorEnv returns the environment of the operator, and false without it.
func operatorEnv(deployments []appsv1.Deployment) (env []corev1.EnvVar, isInstalled bool) {
	for _, d := range deployments {
		for _, c := range d.Spec.Template.Spec.Containers {
			if path.Base(rewrite.SplitReference(c.Image).Repository) == operatorImage {
				return c.Env, true
			}
		}
	}
	return nil, false
}

// releases returns the Helm releases of Deployments, with their charts.
func releases(deployments []appsv1.Deployment) (all []string) {
	for _, d := range deployments {
		if r := ReleaseOf(&d); r.Name != "" {
			all = append(all, fmt.Sprintf("%s (%s)", r.Name, cmp.Or(d.Labels["helm.sh/chart"], "chart not known")))
		}
	}
	return doctor.Distinct(all)
}

// proxyFor returns the proxy that a Go program with the environment uses for an address.
func proxyFor(address string, env []corev1.EnvVar) *url.URL {
	value := func(name string) (value string) {
		for _, e := range env {
			if e.Value != "" && (e.Name == name || e.Name == strings.ToLower(name) && value == "") {
				value = e.Value
			}
		}
		return value
	}
	u, err := url.Parse(address)
	if err != nil {
		return nil
	}
	proxy, err := (&httpproxy.Config{HTTPProxy: value("HTTP_PROXY"), HTTPSProxy: value("HTTPS_PROXY"), NoProxy: value("NO_PROXY")}).ProxyFunc()(u)
	if err != nil {
		return nil
	}
	return proxy
}

// Server returns the address that the operator connects to: that of the proxy or of the
// repository. It is nil if the operator cannot use the address.
func (r ChartRepository) Server() *url.URL {
	u, err := url.Parse(r.URL)
	switch {
	case err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "":
		return nil
	case r.Proxy != nil:
		return r.Proxy
	}
	return u
}

// IsPublic reports whether the operator connects to CAST AI's public repository itself.
func (r ChartRepository) IsPublic() bool {
	u := r.Server()
	return u != nil && strings.EqualFold(u.Hostname(), publicCharts)
}

// Remedy has the commands that write a chart repository and name it to the operator.
func (r ChartRepository) Remedy() string {
	return fmt.Sprintf(`write a chart repository, serve it where pods reach it, and name it to the operator, with its address instead of https://charts.example.com:
privatelink chart-repository --config privatelink.yaml --url https://charts.example.com charts
kubectl -n %s patch clusters.castware.cast.ai %s --type=merge -p '{"spec":{"helmRepoURL":"https://charts.example.com"}}'`, r.Namespace, r.Name)
}

// describe says where charts are fetched, for a detail.
func (r ChartRepository) describe() string {
	text := fmt.Sprintf("%s: helmRepoURL %q", objectName("Cluster", r.Namespace, r.Name), r.shownURL())
	if r.Proxy != nil {
		text += ", through the proxy " + (&url.URL{Scheme: r.Proxy.Scheme, Host: r.Proxy.Host}).String()
	}
	return text
}

// shownURL is URL without a password.
func (r ChartRepository) shownURL() string {
	u, err := url.Parse(r.URL)
	if err != nil {
		return r.URL[strings.LastIndexByte(r.URL, '@')+1:]
	}
	return u.Redacted()
}

// chartRepository fails if the operator cannot use its repository. That pods do not reach a
// public one is likely, and only a probe tells.
func (k *checker) chartRepository(ctx context.Context) doctor.Finding {
	all, err := ChartRepositories(ctx, k.Client)
	if err != nil {
		return k.requestFailed("reading the chart repository of CAST AI's operator", err)
	}
	if len(all) == 0 {
		return doctor.OKf("CAST AI's operator is not installed")
	}
	var addresses, details []string
	for _, r := range all {
		addresses, details = append(addresses, r.shownURL()), append(details, r.describe())
		for _, release := range r.Releases {
			details = append(details, "Helm release in "+r.Namespace+": "+release+": Helm does not store its repository")
		}
	}
	for _, r := range all {
		switch {
		case r.Server() == nil:
			return doctor.Failf(r.Remedy(), "the operator cannot fetch charts from %q: it needs a repository with https or http, and knows no OCI registry", r.shownURL()).With(details...)
		case r.IsPublic() && !k.IsProbed:
			return doctor.Warnf(r.Remedy()+"\nIf your firewall allows pods to connect to it, --probe shows that",
				"the operator fetches charts from %s, which nodes without a route to the internet do not reach", publicCharts).With(details...)
		}
	}
	return doctor.OKf("%s", doctor.List(slices.Compact(addresses), 2)).With(details...)
}
