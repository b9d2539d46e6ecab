// SPDX-License-Identifier: Apache-2.0

// Package cluster checks a Kubernetes cluster: the installed webhook or policy,
// the served certificates, the rewriting of a pod that is sent as a dry run, and
// the existing pods.
//
// It lists and reads objects, creates pods as server-side dry runs, and opens
// port-forwards to the webhook's pods. It never reads the content of a Secret.
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

	"github.com/castai/privatelink-webhook/internal/catalog/live"
	"github.com/castai/privatelink-webhook/internal/doctor"
	"github.com/castai/privatelink-webhook/internal/podspec"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// Group is the name of the group.
const Group = "cluster"

// Engine is the kind of admission that rewrites pods.
type Engine string

// The engines.
const (
	Webhook Engine = "webhook"
	Policy  Engine = "policy" // a MutatingAdmissionPolicy
)

// Config is the input of the checks. All fields are required.
type Config struct {
	Client kubernetes.Interface
	// REST is the configuration of Client, for port-forwards and response headers.
	REST *rest.Config
	// Rules are the expected rewrite rules.
	Rules *rewrite.Rules
	// Engine selects the checks.
	Engine Engine
	// Expected, Policy and Guard are the objects rendered from Rules: of the
	// webhook engine, of the policy engine, and of both.
	Expected *admissionv1.MutatingWebhookConfiguration
	Policy   *admissionv1.MutatingAdmissionPolicy
	Guard    *admissionv1.ValidatingAdmissionPolicy
	// PolicyBindings and GuardBindings are the bindings of the two policies.
	PolicyBindings []*admissionv1.MutatingAdmissionPolicyBinding
	GuardBindings  []*admissionv1.ValidatingAdmissionPolicyBinding
	// AccountPolicy confines the webhook's service account.
	AccountPolicy *admissionv1.ValidatingAdmissionPolicy
	Names         Names
}

// Names are the names of the installed objects.
type Names struct {
	Namespace  string
	Deployment string
	Service    string
	ConfigMap  string
	ConfigKey  string // of the configuration file in the ConfigMap
	CASecret   string
}

// Checks returns the checks of the group for the selected engine.
func Checks(c Config) []doctor.Check {
	k := &checker{Config: c, scanner: podspec.NewScanner(c.Rules.EnvVars(), []string{podspec.MirrorPodAnnotation})}
	api := []string{Group + "/api"}
	engine, ready := k.webhookChecks(api), []string{"webhook-configuration", "config", "service", "network-policy", "certificate", "ca-bundle"}
	if c.Engine == Policy {
		engine, ready = k.policyChecks(api), []string{"policy"}
	}
	before := []doctor.Check{
		{Group: Group, Name: "api", Run: k.api,
			What: "the API server answers, and is Kubernetes " + oldest + " or newer",
			Why:  "all other checks need it; older versions do not have the CEL functions of the match conditions"},
	}
	after := []doctor.Check{
		{Group: Group, Name: "rewrite", Needs: needs(ready...), Run: k.rewrite,
			What: "a pod with a public image, sent as a dry run, gets the private image",
			Why:  "otherwise nodes without a route to the internet cannot pull the image"},
		{Group: Group, Name: "guard", Needs: api, Run: k.guard,
			What: "the guard policy exists, as rendered",
			Why:  "public images that are added after the rewriting, or while it is not installed, are not reported otherwise"},
		{Group: Group, Name: "creation", Needs: needs("rewrite"), Run: k.creation,
			What: "no workload in CAST AI's namespaces has its pods refused",
			Why:  "a refused pod does not exist: only the status and the events of its owner show it"},
		{Group: Group, Name: "pods", Needs: api, Run: k.pods,
			What: "no pod in CAST AI's namespaces has a public image",
			Why:  "nodes without a route to the internet cannot pull it, now or after the next restart"},
		{Group: Group, Name: "pulls", Needs: api, Run: k.pulls,
			What: "no pod in CAST AI's namespaces waits for an image",
			Why:  "the kubelet repeats the pull, but the cause remains"},
	}
	return slices.Concat(before, engine, after)
}

// needs returns the IDs of checks of this group, after that of api.
func needs(names ...string) []string {
	ids := []string{Group + "/api"}
	for _, n := range names {
		ids = append(ids, Group+"/"+n)
	}
	return ids
}

// webhookChecks returns the checks of the webhook's installation.
func (k *checker) webhookChecks(api []string) []doctor.Check {
	return []doctor.Check{
		{Group: Group, Name: "webhook-configuration", Needs: api, Run: k.configuration,
			What: "the webhook configuration exists, as rendered from the configuration",
			Why:  "without it no pod is rewritten; after a manual change, some pods are not"},
		{Group: Group, Name: "config", Needs: api, Run: k.config,
			What: "the webhook's configuration is the same as the local one",
			Why:  "otherwise the webhook rewrites images to repositories that the mirror does not fill"},
		{Group: Group, Name: "pod-security", Needs: api, Run: k.podSecurity,
			What: "the namespace " + k.Names.Namespace + " admits the webhook's own pods",
			Why:  "otherwise a replica that is lost cannot be replaced"},
		{Group: Group, Name: "replicas", Needs: needs("pod-security"), Run: k.replicas,
			What: "two or more replicas of the webhook are ready, on different nodes",
			Why:  "while none is ready, pods with public images are refused"},
		{Group: Group, Name: "service", Needs: needs("replicas"), Run: k.service,
			What: "the Service targets the port on which the replicas serve",
			Why:  "the API server calls the webhook through it"},
		{Group: Group, Name: "network-policy", Needs: needs("replicas"), Run: k.networkPolicy,
			What: "no NetworkPolicy blocks the API server from the webhook's port",
			Why:  "the EKS control plane has no label and no fixed address, so only a rule for the port admits it"},
		{Group: Group, Name: "rbac", Needs: needs("replicas"), Run: k.rbac,
			What: "the webhook has permission to store its CA and to publish it",
			Why:  "otherwise the next renewal of the certificate fails"},
		{Group: Group, Name: "account-policy", Needs: needs("replicas"), Run: k.accountPolicy,
			What: "a policy limits the webhook's service account to caBundle",
			Why:  "otherwise its token suffices to read and change all objects that clients send to the API server"},
		{Group: Group, Name: "ca-secret", Needs: needs("replicas"), Run: k.caSecret,
			What: "the Secret for the webhook's CA exists",
			Why:  "the webhook has no permission to create it; without it the next replica gets no certificate"},
		{Group: Group, Name: "certificate", Needs: needs("replicas"), Run: k.certificate,
			What: "the certificates that the replicas serve, and their CAs, are valid and do not expire soon",
			Why:  "with an expired certificate every pod with a public image is refused"},
		{Group: Group, Name: "ca-bundle", Needs: needs("webhook-configuration", "replicas"), Run: k.caBundle,
			What: "the caBundle of each webhook trusts the certificates that the replicas serve",
			Why:  "the API server does not call a webhook that it does not trust"},
		{Group: Group, Name: "injectors", Needs: needs("webhook-configuration"), Run: k.injectors,
			What: "no other webhook is called for pods in CAST AI's namespaces after the rewriting",
			Why:  "containers that it adds may keep public images"},
	}
}

// policyChecks returns the check of the policy engine, which has no pods.
func (k *checker) policyChecks(api []string) []doctor.Check {
	return []doctor.Check{
		{Group: Group, Name: "policy", Needs: api, Run: k.policy,
			What: "the MutatingAdmissionPolicy and its binding exist, as rendered from the configuration",
			Why:  "without them no pod is rewritten; after a manual change, some pods are not"},
	}
}

// checker shares facts between the checks.
type checker struct {
	Config
	scanner         *podspec.Scanner
	deploymentOnce  doctor.Once[*appsv1.Deployment]
	webhookPodsOnce doctor.Once[[]corev1.Pod]
	configOnce      doctor.Once[*admissionv1.MutatingWebhookConfiguration]
	chainsOnce      doctor.Once[[]replicaChain]
	castaiPodsOnce  doctor.Once[[]corev1.Pod]
	selectedOnce    doctor.Once[[]string]
	namespacesOnce  doctor.Once[[]labels.Set]
}

// requestFailed returns the finding for a failed request.
func requestFailed(operation string, err error) doctor.Finding {
	remedy := "kubectl get --raw /readyz"
	if apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) {
		remedy = "use a kubeconfig of a user with this permission: see kubectl auth can-i"
	}
	return doctor.Unknownf(remedy, "%s: %v", operation, err)
}

func (k *checker) getDeployment(ctx context.Context) (*appsv1.Deployment, error) {
	return k.deploymentOnce.Get(ctx, func(ctx context.Context) (*appsv1.Deployment, error) {
		return k.Client.AppsV1().Deployments(k.Names.Namespace).Get(ctx, k.Names.Deployment, metav1.GetOptions{})
	})
}

// webhookPods returns the pods of the webhook's Deployment.
func (k *checker) webhookPods(ctx context.Context) ([]corev1.Pod, error) {
	d, err := k.getDeployment(ctx)
	if err != nil {
		return nil, err
	}
	return k.webhookPodsOnce.Get(ctx, func(ctx context.Context) ([]corev1.Pod, error) {
		list, err := k.Client.CoreV1().Pods(k.Names.Namespace).List(ctx, metav1.ListOptions{LabelSelector: metav1.FormatLabelSelector(d.Spec.Selector)})
		if err != nil {
			return nil, err
		}
		return list.Items, nil
	})
}

// castaiPods returns the pods in all namespaces of the configuration.
func (k *checker) castaiPods(ctx context.Context) ([]corev1.Pod, error) {
	return k.castaiPodsOnce.Get(ctx, func(ctx context.Context) (pods []corev1.Pod, err error) {
		namespaces, err := k.namespaces(ctx)
		if err != nil {
			return nil, err
		}
		for _, namespace := range namespaces {
			list, err := k.Client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
			if err != nil {
				return nil, err
			}
			pods = append(pods, list.Items...)
		}
		return pods, nil
	})
}

// namespaces returns the namespaces of the configuration, and those in the cluster
// that it selects by their labels.
func (k *checker) namespaces(ctx context.Context) ([]string, error) {
	return k.selectedOnce.Get(ctx, func(ctx context.Context) ([]string, error) {
		return live.Namespaces(ctx, k.Client, k.Rules)
	})
}

// isSelfManaged reports whether the webhook issues its own certificate, and does
// not read it from files.
func (k *checker) isSelfManaged(ctx context.Context) (bool, error) {
	d, err := k.getDeployment(ctx)
	if err != nil {
		return false, err
	}
	return !hasFlag(d, "tls-cert-file"), nil
}

// serverTime returns the time of the API server's clock.
func (k *checker) serverTime(ctx context.Context) (time.Time, error) {
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

// objectName returns KIND/NAME in NAMESPACE.
func objectName(kind, namespace, name string) string {
	if namespace == "" {
		return kind + "/" + name
	}
	return fmt.Sprintf("%s/%s in %s", kind, name, namespace)
}
