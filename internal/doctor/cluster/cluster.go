// SPDX-License-Identifier: Apache-2.0

// Package cluster checks a Kubernetes cluster: the installed webhook or policy,
// the served certificates, the rewriting of a pod that is sent as a dry run, and
// the existing pods.
//
// It lists and reads objects, creates pods as server-side dry runs, and opens
// port-forwards to the webhook's pods. It never reads the content of a Secret.
// Permissions lists what that needs.
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

// Config is the input of the checks. All fields but ConfigErr are required.
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
	// Version of the bundle that Expected belongs to, such as v0.2.0.
	Version string
	// ConfigErr is the reason why there is no configuration in the cluster that can be
	// used. The checks that need the rules do not run then. It is an InvalidConfigError
	// if the configuration was read.
	ConfigErr error
	// Release has installed the bundle; zero if it was not Helm.
	Release Release
	// IsProbed is set if package inside tests whether pods reach the chart repository.
	IsProbed bool
}

// InvalidConfigError is a fault of the configuration in the cluster.
type InvalidConfigError struct{ Err error }

func (e *InvalidConfigError) Error() string { return e.Err.Error() }

// Unwrap returns the fault.
func (e *InvalidConfigError) Unwrap() error { return e.Err }

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
	checks := slices.Concat(k.commonChecks(), k.webhookChecks(), k.podChecks("webhook-configuration", "config", "service", "network-policy", "certificate", "ca-bundle"))
	if c.Engine == Policy {
		checks = slices.Concat(k.commonChecks(), k.policyChecks(), k.podChecks("policy"))
	}
	if c.ConfigErr != nil {
		checks = k.withoutConfig(checks)
	}
	return doctor.WithSilence(checks, "the API server does not answer, or slowly: kubectl get --raw /readyz; if packets are dropped, connect the VPN, and allow port 443 in the cluster's security group; otherwise increase --timeout")
}

// withoutConfig makes the checks that use the rules depend on the check config.
func (k *checker) withoutConfig(checks []doctor.Check) []doctor.Check {
	useRules := []string{"webhook-configuration", "injectors", "policy", "rewrite", "guard", "creation", "pods", "other-namespaces", "pulls"}
	for i, c := range checks {
		switch {
		case slices.Contains(useRules, c.Name):
			checks[i].Needs = append(slices.Clone(c.Needs), Group+"/config")
		case c.Name == "config":
			checks[i].Access = true
		}
	}
	config := slices.IndexFunc(checks, func(c doctor.Check) bool { return c.Name == "config" })
	if config < 0 { // under the policy engine, which has no ConfigMap
		return slices.Insert(checks, 1, k.configCheck(true))
	}
	return checks
}

func (k *checker) configCheck(access bool) doctor.Check {
	return doctor.Check{Group: Group, Name: "config", Elements: []doctor.Element{doctor.Webhook}, Needs: needs(), Access: access, Run: k.config,
		What: "the webhook's configuration is the same as the local one",
		Why:  "otherwise the webhook rewrites images to repositories that the mirror does not fill"}
}

// commonChecks returns the first checks of both engines.
func (k *checker) commonChecks() []doctor.Check {
	return []doctor.Check{
		{Group: Group, Name: "api", Elements: []doctor.Element{doctor.ControlPlane}, Access: true, Run: k.api,
			What: "the API server answers, and is Kubernetes " + oldest + " or newer",
			Why:  "all other checks need it; older versions do not have the CEL functions of the match conditions"},
		{Group: Group, Name: "namespaces", Elements: []doctor.Element{doctor.Webhook, doctor.Pods}, Needs: needs(), Run: k.existing,
			What: "the namespaces of the webhook and of CAST AI are not being deleted",
			Why:  "a namespace that is being deleted takes no pods, and can stay so for ever"},
	}
}

// podChecks returns the checks of CAST AI's pods. ready are the checks of the engine.
func (k *checker) podChecks(ready ...string) []doctor.Check {
	return []doctor.Check{
		{Group: Group, Name: "rewrite", Elements: []doctor.Element{doctor.Admission}, Needs: needs(append(ready, "namespaces")...), Run: k.rewrite,
			What: "a pod with a public image, sent as a dry run, gets the private image",
			Why:  "otherwise nodes without a route to the internet cannot pull the image"},
		{Group: Group, Name: "guard", Elements: []doctor.Element{doctor.ControlPlane}, Needs: needs(), Run: k.guard,
			What: "the guard policy exists, as rendered",
			Why:  "public images that are added after the rewriting, or while it is not installed, are not reported otherwise"},
		{Group: Group, Name: "creation", Elements: []doctor.Element{doctor.Pods}, Needs: needs("rewrite"), Run: k.creation,
			What: "no workload in CAST AI's namespaces has its pods refused",
			Why:  "a refused pod does not exist: only the status and the events of its owner show it"},
		{Group: Group, Name: "pods", Elements: []doctor.Element{doctor.Pods}, Needs: needs(), Run: k.pods,
			What: "no pod in CAST AI's namespaces has a public image",
			Why:  "nodes without a route to the internet cannot pull it, now or after the next restart"},
		{Group: Group, Name: "other-namespaces", Elements: []doctor.Element{doctor.Pods}, Needs: needs(), Run: k.otherNamespaces,
			What: "no pod in another namespace has a public image of CAST AI",
			Why:  "only the namespaces of the configuration are rewritten"},
		{Group: Group, Name: "pulls", Elements: []doctor.Element{doctor.Pods}, Needs: needs(), Run: k.pulls,
			What: "no pod in CAST AI's namespaces waits for an image",
			Why:  "the kubelet repeats the pull, but the cause remains"},
		{Group: Group, Name: "chart-repository", Elements: []doctor.Element{doctor.Pods}, Needs: needs(), Run: k.chartRepository,
			What: "CAST AI's operator, if it is installed, fetches charts from a repository that isolated nodes can reach",
			Why:  "an upgrade that CAST AI starts fails at the chart, before an image is pulled"},
	}
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
func (k *checker) webhookChecks() []doctor.Check {
	return []doctor.Check{
		k.configCheck(false),
		{Group: Group, Name: "webhook-configuration", Elements: []doctor.Element{doctor.ControlPlane}, Needs: needs(), Run: k.configuration,
			What: "the webhook configuration exists, as rendered from the configuration",
			Why:  "without it no pod is rewritten; after a manual change, some pods are not"},
		{Group: Group, Name: "pod-security", Elements: []doctor.Element{doctor.Webhook}, Needs: needs("namespaces"), Run: k.podSecurity,
			What: "the Pod Security level of " + k.Names.Namespace + " admits the webhook's own pods",
			Why:  "otherwise a replica that is lost cannot be replaced"},
		{Group: Group, Name: "admission", Elements: []doctor.Element{doctor.Webhook}, Needs: needs("pod-security"), Run: k.admission,
			What: "no quota, limit range or other admission control refuses the webhook's own pods",
			Why:  "otherwise a replica that is lost cannot be replaced"},
		{Group: Group, Name: "replicas", Elements: []doctor.Element{doctor.Webhook}, Needs: needs(), Run: k.replicas,
			What: "two or more replicas of the webhook are ready, on different nodes",
			Why:  "while none is ready, pods with public images are refused"},
		{Group: Group, Name: "rollout", Elements: []doctor.Element{doctor.Webhook}, Needs: needs("admission", "replicas"), Run: k.rollout,
			What: "all replicas run the newest revision of the Deployment",
			Why:  "the replicas of the old revision are not replaced when their nodes are, and then none is left"},
		{Group: Group, Name: "version", Elements: []doctor.Element{doctor.Webhook}, Needs: needs("webhook-configuration", "replicas"), Run: k.version,
			What: "the image and the match conditions are of the same version",
			Why:  "conditions of another version may leave out pods that the webhook would rewrite"},
		{Group: Group, Name: "service", Elements: []doctor.Element{doctor.Admission}, Needs: needs("replicas"), Run: k.service,
			What: "the Service targets the port on which the replicas serve",
			Why:  "the API server calls the webhook through it"},
		{Group: Group, Name: "network-policy", Elements: []doctor.Element{doctor.Admission}, Needs: needs("replicas"), Run: k.networkPolicy,
			What: "no NetworkPolicy blocks the API server from the webhook's port, or the webhook from the API server",
			Why:  "the EKS control plane has no label and no fixed address, so only a rule for the port, or for the subnets of the cluster, admits it; the webhook needs the API server for its certificate"},
		{Group: Group, Name: "rbac", Elements: []doctor.Element{doctor.Webhook}, Needs: needs("replicas"), Run: k.rbac,
			What: "the webhook has permission to store its CA and to publish it",
			Why:  "otherwise the next renewal of the certificate fails"},
		{Group: Group, Name: "account-policy", Elements: []doctor.Element{doctor.ControlPlane}, Needs: needs("replicas"), Run: k.accountPolicy,
			What: "a policy limits the webhook's service account to caBundle",
			Why:  "otherwise its token suffices to read and change all objects that clients send to the API server"},
		{Group: Group, Name: "ca-secret", Elements: []doctor.Element{doctor.Webhook}, Needs: needs("replicas"), Run: k.caSecret,
			What: "the Secret for the webhook's CA exists",
			Why:  "the webhook has no permission to create it; without it the next replica gets no certificate"},
		{Group: Group, Name: "certificate", Elements: []doctor.Element{doctor.Webhook}, Needs: needs("replicas"), Run: k.certificate,
			What: "the certificates that the replicas serve, and their CAs, are valid and do not expire soon",
			Why:  "with an expired certificate every pod with a public image is refused"},
		{Group: Group, Name: "ca-bundle", Elements: []doctor.Element{doctor.Admission}, Needs: needs("webhook-configuration", "replicas"), Run: k.caBundle,
			What: "the caBundle of each webhook trusts the certificates that the replicas serve",
			Why:  "the API server does not call a webhook that it does not trust"},
		{Group: Group, Name: "injectors", Elements: []doctor.Element{doctor.ControlPlane}, Needs: needs("webhook-configuration"), Run: k.injectors,
			What: "no other webhook is called for pods in CAST AI's namespaces after the rewriting",
			Why:  "containers that it adds may keep public images"},
	}
}

// policyChecks returns the check of the policy engine, which has no pods.
func (k *checker) policyChecks() []doctor.Check {
	return []doctor.Check{
		{Group: Group, Name: "policy", Elements: []doctor.Element{doctor.ControlPlane}, Needs: needs(), Run: k.policy,
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
	refusalOnce     doctor.Once[error]
	castaiPodsOnce  doctor.Once[[]corev1.Pod]
	selectedOnce    doctor.Once[[]string]
	namespacesOnce  doctor.Once[[]labels.Set]
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
	return issuesItself(d), nil
}

func issuesItself(d *appsv1.Deployment) bool { return !hasFlag(d, "tls-cert-file") }

// selfManaged returns the Deployment of a webhook that issues its own certificate. If it
// does not, or cannot be read, d is nil, and done is the finding of the check.
func (k *checker) selfManaged(ctx context.Context, notNeeded string) (d *appsv1.Deployment, done doctor.Finding) {
	d, err := k.getDeployment(ctx)
	if err != nil {
		return nil, k.requestFailed("reading the Deployment", err)
	}
	if !issuesItself(d) {
		return nil, doctor.OKf("%s", notNeeded)
	}
	return d, done
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
