// SPDX-License-Identifier: Apache-2.0

// Package cluster looks at what runs in a Kubernetes cluster: the webhook as it
// was installed, the certificates it serves, whether a pod really gets
// rewritten, and the pods that were not.
//
// It lists, reads, sends pods as server-side dry runs, and opens a port-forward
// to the webhook's own pods. It never asks for the content of a Secret.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/castai/privatelink-webhook/internal/doctor"
	"github.com/castai/privatelink-webhook/internal/podspec"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// Group is the name of the group.
const Group = "cluster"

// Engine is what rewrites the pods of a cluster.
type Engine string

// The engines.
const (
	Webhook Engine = "webhook"
	Policy  Engine = "policy" // a MutatingAdmissionPolicy
)

// Config is what the checks need; all of it is required.
type Config struct {
	Client kubernetes.Interface
	// REST is where Client came from, for what is no plain request.
	REST *rest.Config
	// Rules are those that the cluster should have.
	Rules *rewrite.Rules
	// Engine decides what there is to look at.
	Engine Engine
	// Expected is the webhook configuration as it is rendered from Rules, Policy
	// the policy of the other engine, Guard that of either.
	Expected *admissionv1.MutatingWebhookConfiguration
	Policy   *admissionv1.MutatingAdmissionPolicy
	Guard    *admissionv1.ValidatingAdmissionPolicy
	// Names of the bundle's objects.
	Names Names
}

// Names are those of the bundle's objects.
type Names struct {
	Namespace  string
	Deployment string
	Service    string
	ConfigMap  string
	ConfigKey  string // of the configuration file in the ConfigMap
	CASecret   string
}

// Checks returns the checks of the group, for the engine that the cluster has.
func Checks(c Config) []doctor.Check {
	k := &cluster{Config: c, scanner: podspec.NewScanner(c.Rules.EnvVars(), []string{podspec.MirrorPodAnnotation})}
	api := []string{Group + "/api"}
	engine, ready := k.theWebhook(api), []string{"webhook-configuration", "config", "service", "network-policy", "certificate", "ca-bundle"}
	if c.Engine == Policy {
		engine, ready = k.thePolicy(api), []string{"policy"}
	}
	before := []doctor.Check{
		{Group: Group, Name: "api", Run: k.api,
			What: "the API server answers, and is Kubernetes " + oldest + " or newer",
			Why:  "everything else is asked there; older versions lack the CEL that the webhook's conditions need"},
	}
	after := []doctor.Check{
		{Group: Group, Name: "rewrite", Needs: need(ready...), Run: k.rewrite,
			What: "a pod with a public image, sent as a dry run, comes back with the private one",
			Why:  "this is what all of it is for"},
		{Group: Group, Name: "guard", Needs: api, Run: k.guard,
			What: "the guard over the final pods is there, as rendered",
			Why:  "what is added behind the rewriting, or while it is not there, is seen by nobody else"},
		{Group: Group, Name: "creation", Needs: need("rewrite"), Run: k.creation,
			What: "no workload of CAST AI's namespaces has its pods refused",
			Why:  "a pod that is not created is missing in silence: only its owner's status tells"},
		{Group: Group, Name: "pods", Needs: api, Run: k.pods,
			What: "no pod of CAST AI's namespaces has a public image",
			Why:  "nodes without a route to the Internet cannot pull it, now or after the next restart"},
		{Group: Group, Name: "pulls", Needs: api, Run: k.pulls,
			What: "no pod of CAST AI's namespaces waits for an image",
			Why:  "the pull fails again and again until somebody acts"},
	}
	return slices.Concat(before, engine, after)
}

// need are the IDs of checks of this group.
func need(names ...string) []string {
	ids := []string{Group + "/api"}
	for _, n := range names {
		ids = append(ids, Group+"/"+n)
	}
	return ids
}

// theWebhook are the checks of its installation.
func (k *cluster) theWebhook(api []string) []doctor.Check {
	return []doctor.Check{
		{Group: Group, Name: "webhook-configuration", Needs: api, Run: k.configuration,
			What: "the webhook configuration is there, as rendered from the configuration given",
			Why:  "without it no pod is rewritten; changed by hand, some are not"},
		{Group: Group, Name: "config", Needs: api, Run: k.config,
			What: "the webhook's configuration says the same as the one given",
			Why:  "webhook and mirror must agree about where an image lives, or pods ask for images that nobody copied"},
		{Group: Group, Name: "pod-security", Needs: api, Run: k.podSecurity,
			What: "the namespace " + k.Names.Namespace + " admits the webhook's own pods",
			Why:  "a replica that is lost could not be replaced"},
		{Group: Group, Name: "replicas", Needs: need("pod-security"), Run: k.replicas,
			What: "two or more replicas of the webhook are ready, on different nodes",
			Why:  "while none is ready, pods with public images are refused"},
		{Group: Group, Name: "service", Needs: need("replicas"), Run: k.service,
			What: "the Service leads to the port on which the replicas serve",
			Why:  "the API server finds the webhook through it"},
		{Group: Group, Name: "network-policy", Needs: need("replicas"), Run: k.networkPolicy,
			What: "no NetworkPolicy keeps the API server from the webhook's port",
			Why:  "the EKS control plane has no label and no fixed address, so only a rule by port lets it in"},
		{Group: Group, Name: "rbac", Needs: need("replicas"), Run: k.rbac,
			What: "the webhook may keep its CA and publish it",
			Why:  "otherwise the next renewal of the certificate fails, days from now"},
		{Group: Group, Name: "ca-secret", Needs: need("replicas"), Run: k.caSecret,
			What: "the Secret for the webhook's CA exists",
			Why:  "the webhook may not create it; without it the next replica gets no certificate"},
		{Group: Group, Name: "certificate", Needs: need("replicas"), Run: k.certificate,
			What: "the certificates that the replicas serve, and their CAs, are valid and far from their end",
			Why:  "with an expired certificate every pod with a public image is refused"},
		{Group: Group, Name: "ca-bundle", Needs: need("webhook-configuration", "replicas"), Run: k.caBundle,
			What: "the caBundle of each webhook entry trusts what the replicas serve",
			Why:  "the API server refuses to talk to a webhook that it does not trust"},
		{Group: Group, Name: "injectors", Needs: need("webhook-configuration"), Run: k.injectors,
			What: "no other webhook adds to pods of CAST AI's namespaces after ours",
			Why:  "what is added after the last look keeps its public image"},
	}
}

// thePolicy are the checks of the engine that is nothing but objects.
func (k *cluster) thePolicy(api []string) []doctor.Check {
	return []doctor.Check{
		{Group: Group, Name: "policy", Needs: api, Run: k.policy,
			What: "the MutatingAdmissionPolicy and its binding are there, as rendered from the configuration given",
			Why:  "without them no pod is rewritten; changed by hand, some are not"},
	}
}

// cluster keeps what several checks ask.
type cluster struct {
	Config
	scanner    *podspec.Scanner
	deployment doctor.Once[*appsv1.Deployment]
	replicaSet doctor.Once[[]corev1.Pod]
	live       doctor.Once[*admissionv1.MutatingWebhookConfiguration]
	served     doctor.Once[[]served]
	theirs     doctor.Once[[]corev1.Pod]
	ours       doctor.Once[[]labels.Set] // of the namespaces of the configuration
}

// unseen is the finding for a request that failed.
func unseen(doing string, err error) doctor.Finding {
	remedy := "kubectl get --raw /readyz"
	if apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) {
		remedy = "use a kubeconfig whose user may do it: see kubectl auth can-i"
	}
	return doctor.Unknownf(remedy, "%s: %v", doing, err)
}

func (k *cluster) theDeployment(ctx context.Context) (*appsv1.Deployment, error) {
	return k.deployment.Get(ctx, func(ctx context.Context) (*appsv1.Deployment, error) {
		return k.Client.AppsV1().Deployments(k.Names.Namespace).Get(ctx, k.Names.Deployment, metav1.GetOptions{})
	})
}

// ownPods are the webhook's.
func (k *cluster) ownPods(ctx context.Context) ([]corev1.Pod, error) {
	d, err := k.theDeployment(ctx)
	if err != nil {
		return nil, err
	}
	return k.replicaSet.Get(ctx, func(ctx context.Context) ([]corev1.Pod, error) {
		list, err := k.Client.CoreV1().Pods(k.Names.Namespace).List(ctx, metav1.ListOptions{LabelSelector: metav1.FormatLabelSelector(d.Spec.Selector)})
		if err != nil {
			return nil, err
		}
		return list.Items, nil
	})
}

// theirPods are CAST AI's, in all namespaces of the configuration.
func (k *cluster) theirPods(ctx context.Context) ([]corev1.Pod, error) {
	return k.theirs.Get(ctx, func(ctx context.Context) (all []corev1.Pod, err error) {
		for _, namespace := range k.Rules.Namespaces() {
			list, err := k.Client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
			if err != nil {
				return nil, err
			}
			all = append(all, list.Items...)
		}
		return all, nil
	})
}

// selfManaged tells whether the webhook makes its certificates itself: unless
// it is given files.
func (k *cluster) selfManaged(ctx context.Context) (bool, error) {
	d, err := k.theDeployment(ctx)
	if err != nil {
		return false, err
	}
	return !given(d, "tls-cert-file"), nil
}

// serverTime is the clock of the API server.
func (k *cluster) serverTime(ctx context.Context) (time.Time, error) {
	client, err := rest.HTTPClientFor(k.REST)
	if err != nil {
		return time.Time{}, err
	}
	base, _, err := rest.DefaultServerUrlFor(k.REST)
	if err != nil {
		return time.Time{}, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, base.JoinPath("version").String(), nil)
	if err != nil {
		return time.Time{}, err
	}
	response, err := client.Do(request)
	if err != nil {
		return time.Time{}, err
	}
	now, err := http.ParseTime(response.Header.Get("Date"))
	return now, errors.Join(err, response.Body.Close())
}

// named is how kubectl names an object.
func named(kind, namespace, name string) string {
	if namespace == "" {
		return kind + "/" + name
	}
	return fmt.Sprintf("%s/%s in %s", kind, name, namespace)
}
