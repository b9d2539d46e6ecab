// SPDX-License-Identifier: Apache-2.0

// Package suite assembles the checks of all groups for one cluster, its
// registry and its network, as `privatelink doctor` runs them.
package suite

import (
	"context"
	"errors"
	"slices"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/castai/privatelink-webhook/deploy"
	"github.com/castai/privatelink-webhook/internal/doctor"
	"github.com/castai/privatelink-webhook/internal/doctor/cluster"
	"github.com/castai/privatelink-webhook/internal/doctor/inside"
	"github.com/castai/privatelink-webhook/internal/doctor/network"
	"github.com/castai/privatelink-webhook/internal/doctor/registry"
	"github.com/castai/privatelink-webhook/internal/doctor/topology"
	"github.com/castai/privatelink-webhook/internal/exitcode"
	"github.com/castai/privatelink-webhook/internal/kubeconfig"
	"github.com/castai/privatelink-webhook/internal/rewrite"
	"github.com/castai/privatelink-webhook/internal/target"
)

// Options select the cluster, the registry and the network to diagnose.
type Options struct {
	// Rules are the expected rewrite rules, and Config the text of the file that
	// they come from, if any. Without Rules, the configuration in the cluster is
	// used.
	Rules  *rewrite.Rules
	Config []byte
	// Cluster selects the Kubernetes cluster. Checks that need one are unknown
	// without it.
	Cluster kubeconfig.Options
	// Engine is webhook or policy. Default: the one that is installed.
	Engine string
	// LockFile lists the required images, as lockstore.Open names it. Without it, they
	// are those of the default file or, if that does not exist, those that the cluster
	// uses.
	LockFile string
	AWS      AWS
	// PlainHTTP are registry hosts without TLS. Loopback hosts are implied.
	PlainHTTP []string
	// Probe and Inside choose where the checks of group "inside" run: in a pod,
	// or on this machine.
	Probe, Inside bool
	// CASTAIHosts are HOST:PORT of CAST AI for the same checks. Default: the hosts
	// that serve the region, if they are known.
	CASTAIHosts []string
	// Run selects checks. Its Timeout is 8 seconds by default, and 30 with Probe,
	// for a node that has to pull the image.
	Run doctor.Options
	// Wait is the time during which all checks are repeated while one of them fails or
	// is unknown.
	Wait time.Duration
	// Redact replaces accounts, names and addresses in the report by placeholders.
	Redact bool
	// UserAgent identifies the client to registries, and Warn receives its
	// warnings.
	UserAgent string
	Warn      func(string)
	// Program is the command with its version, for the header of the report.
	Program string
}

// Suite is the set of all checks.
type Suite struct {
	Options
	client     kubernetes.Interface
	rest       *rest.Config
	clusterErr error           // why there is no client, or nothing in the cluster can be read
	configErr  error           // why the configuration in the cluster cannot be used; Rules are placeholders then
	namespace  string          // of the webhook
	registry   rewrite.ECRHost // without a name unless the registry is ECR
	bundle     bundle
	engine     cluster.Engine
	release    cluster.Release // that has installed the engine
	port       int32           // on which the webhook serves; 0 if it is not known
	job        *inside.Job
	describe   func(context.Context, []doctor.Result) topology.Network // the network, with the facts of its checks
}

// New prepares a suite. Close releases it. Invalid options are usage errors.
func New(ctx context.Context, o Options) (*Suite, error) {
	if o.Probe && o.Inside {
		return nil, exitcode.Usagef("--probe and --inside exclude each other: set one of them")
	}
	if o.Run.Timeout == 0 {
		o.Run.Timeout = 8 * time.Second
		if o.Probe {
			o.Run.Timeout = 30 * time.Second
		}
	}
	s := &Suite{Options: o, registry: rewrite.ECRHost{Partition: "aws", Domain: "amazonaws.com"}}
	if _, err := s.openLock(); err != nil {
		return nil, exitcode.AsUsage(err)
	}
	if err := s.connect(ctx); err != nil {
		return nil, err
	}
	var err error
	if s.Rules.OnECR() {
		if s.registry, err = rewrite.ParseECRHost(s.Rules.Registry()); err != nil {
			return nil, err
		}
	}
	if s.bundle, err = render(s.Rules, s.Config, s.namespace); err != nil {
		return nil, err
	}
	return s, nil
}

// connect finds what is installed in the cluster, and its configuration unless there is
// one already. The time-out of a check limits all of its requests, so that a cluster
// that does not answer is waited for once.
func (s *Suite) connect(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, s.Run.Timeout)
	defer cancel()
	s.namespace, s.engine = deploy.Namespace, cluster.Webhook
	if s.client, s.rest, s.clusterErr = s.Cluster.Connect(); s.clusterErr == nil {
		s.clusterErr = s.reach(ctx)
	}
	if s.clusterErr == nil {
		s.namespace = cluster.FindNamespace(ctx, s.client, deploy.ConfigurationName, deploy.Namespace)
	}
	if err := s.findInstalled(ctx); err != nil {
		return err
	}
	if s.Rules == nil {
		return s.readConfig(ctx)
	}
	return nil
}

// reach returns why nothing in the cluster can be read, if that is so. All users may
// read the version.
func (s *Suite) reach(ctx context.Context) error {
	err := s.client.Discovery().RESTClient().Get().AbsPath("/version").Do(ctx).Error()
	if access, ok := errors.AsType[*kubeconfig.AccessError](s.Cluster.Explain(err)); ok {
		return access
	}
	return nil // other errors are those of the checks
}

// Close waits for the deletion of the probe's Job.
func (s *Suite) Close() {
	if s.job != nil {
		s.job.Close()
	}
}

// Checks returns all checks in the order of the report.
func (s *Suite) Checks(ctx context.Context) ([]doctor.Check, error) {
	registryChecks, err := s.registryChecks(ctx)
	if err != nil {
		return nil, err
	}
	awsChecks, nodeRole, err := s.awsChecks(ctx)
	if err != nil {
		return nil, err
	}
	insideChecks, err := s.insideChecks(ctx)
	if err != nil {
		return nil, err
	}
	others := [][]doctor.Check{
		doctor.WithSilence(awsChecks, awsSilence), doctor.WithSilence(registryChecks, registrySilence), doctor.WithSilence(nodeRole, awsSilence), doctor.WithSilence(insideChecks, probeSilence),
	}
	if s.configErr != nil {
		for i := range others {
			others[i] = s.withoutConfig(others[i])
		}
	}
	return arrange(s.engine, append([][]doctor.Check{s.clusterChecks()}, others...)...), nil
}

// withoutConfig returns checks that cannot run without the configuration in the cluster,
// because of the check that reports its fault.
func (s *Suite) withoutConfig(checks []doctor.Check) []doctor.Check {
	cause, unknown := cluster.Group+"/config", doctor.Unknownf("correct it, or set --registry or --config", "the configuration in the cluster cannot be used: %v", s.configErr)
	if access, ok := errors.AsType[*kubeconfig.AccessError](s.configErr); ok {
		cause, unknown = cluster.Group+"/api", doctor.Unknownf(access.Remedy+"; or set --registry or --config", "the configuration is in the cluster: %s", access.Problem)
	}
	checks = doctor.Unavailable(checks, unknown)
	for i := range checks {
		checks[i].Needs = []string{cause}
	}
	return checks
}

// awsSilence and the others are the remedies if the other side does not answer.
const (
	awsSilence      = "without credentials, the SDK waits for those of an EC2 instance: set AWS_PROFILE or --profile, and log in (aws sso login); otherwise the endpoint or the proxy (HTTPS_PROXY) does not answer: aws sts get-caller-identity"
	registrySilence = "packets to the registry are dropped: check HTTPS_PROXY and, inside a VPC without internet access, the endpoints ecr.api, ecr.dkr and s3 with their security groups; without credentials, log in first (aws sso login)"
	probeSilence    = "see why the pod does not report: kubectl get events --all-namespaces --field-selector reason=Failed; then increase --timeout"
)

// arrange returns the checks that an engine has, in the order of the report.
func arrange(engine cluster.Engine, checks ...[]doctor.Check) []doctor.Check {
	all := slices.Concat(checks...)
	if engine == cluster.Policy { // it has no pods
		all = slices.DeleteFunc(all, func(c doctor.Check) bool {
			return c.ID() == registry.Group+"/webhook-image" || c.ID() == network.Group+"/control-plane-port"
		})
	}
	return all
}

// findInstalled sets the engine, the Helm release that has installed it, and the port of
// the webhook. Without a selection, the engine is the policy if it is installed and the
// webhook is not. An object that cannot be read tells nothing.
func (s *Suite) findInstalled(ctx context.Context) (err error) {
	s.engine = cluster.Webhook
	if s.Engine != "" {
		if s.engine, err = parseEngine(s.Engine); err != nil {
			return err
		}
	}
	if s.clusterErr != nil {
		return nil
	}
	api := s.client.AdmissionregistrationV1()
	policy, policyErr := api.MutatingAdmissionPolicies().Get(ctx, deploy.PolicyName, metav1.GetOptions{})
	webhook, webhookErr := api.MutatingWebhookConfigurations().Get(ctx, deploy.ConfigurationName, metav1.GetOptions{})
	if s.Engine == "" && policyErr == nil && apierrors.IsNotFound(webhookErr) {
		s.engine = cluster.Policy
	}
	if s.engine == cluster.Policy {
		if policyErr == nil {
			s.release = cluster.ReleaseOf(policy)
		}
		return nil
	}
	if pods, err := s.client.AppsV1().Deployments(s.namespace).Get(ctx, deploy.Name, metav1.GetOptions{}); err == nil {
		s.release, s.port = cluster.ReleaseOf(pods), cluster.ServingPort(pods)
	}
	if webhookErr == nil {
		s.release = cluster.ReleaseOf(webhook)
	}
	return nil
}

func parseEngine(name string) (cluster.Engine, error) {
	e := cluster.Engine(name)
	if e != cluster.Webhook && e != cluster.Policy {
		return "", exitcode.Usagef("--engine %q: use webhook or policy", name)
	}
	return e, nil
}

func (s *Suite) clusterChecks() []doctor.Check {
	checks := cluster.Checks(cluster.Config{
		Client: s.client, REST: s.rest, Rules: s.Rules, Expected: s.bundle.configuration, Policy: s.bundle.policy, Guard: s.bundle.guard, AccountPolicy: s.bundle.accountPolicy, Engine: s.engine,
		PolicyBindings: s.bundle.policyBindings, GuardBindings: s.bundle.guardBindings, Version: rewrite.SplitReference(s.bundle.image).Tag, ConfigErr: s.configErr, IsProbed: s.Probe || s.Inside, Release: s.release,
		Names: cluster.Names{
			Namespace: s.namespace, Deployment: deploy.Name, Service: deploy.Name, ConfigMap: deploy.Name, ConfigKey: deploy.ConfigKey, CASecret: deploy.CASecret,
		},
	})
	access, isAccess := errors.AsType[*kubeconfig.AccessError](s.clusterErr)
	switch {
	case isAccess:
		return doctor.Unavailable(checks, doctor.Unknownf(access.Remedy, "%s", access.Problem))
	case s.clusterErr != nil:
		return doctor.Unavailable(checks, doctor.Unknownf("aws eks update-kubeconfig --name CLUSTER, or exclude these checks with --skip "+cluster.Group, "%v", s.clusterErr))
	}
	return checks
}

// Target returns what is checked.
func (s *Suite) Target() target.Target {
	t := s.Cluster.Target()
	if s.AWS.Cluster != "" {
		t.Cluster = s.AWS.Cluster
	}
	if s.AWS.Region != "" || t.Region == "" {
		t.Region = s.region()
	}
	if s.configErr != nil {
		return t
	}
	return t.WithRegistry(s.Rules.Registry(), s.registry.Account, "")
}

// bundle holds the objects of the install bundles that checks compare with the
// cluster.
type bundle struct {
	configuration  *admissionv1.MutatingWebhookConfiguration
	policy         *admissionv1.MutatingAdmissionPolicy
	guard          *admissionv1.ValidatingAdmissionPolicy
	accountPolicy  *admissionv1.ValidatingAdmissionPolicy
	policyBindings []*admissionv1.MutatingAdmissionPolicyBinding
	guardBindings  []*admissionv1.ValidatingAdmissionPolicyBinding
	image          string // of the Deployment
}

// render renders the bundles of both engines.
func render(rules *rewrite.Rules, config []byte, namespace string) (b bundle, err error) {
	for _, engine := range deploy.Engines() {
		o := deploy.Options{Rules: rules, Config: config, Engine: engine}
		if engine == deploy.Webhook {
			o.Namespace = namespace
		}
		objects, err := deploy.Objects(o)
		if err != nil {
			return b, err
		}
		for _, o := range objects {
			switch o := o.(type) {
			case *admissionv1.MutatingWebhookConfiguration:
				b.configuration = o
			case *admissionv1.MutatingAdmissionPolicy:
				b.policy = o
			case *admissionv1.MutatingAdmissionPolicyBinding:
				b.policyBindings = append(b.policyBindings, o)
			case *admissionv1.ValidatingAdmissionPolicy:
				switch o.Name {
				case deploy.GuardName:
					b.guard = o
				case deploy.AccountPolicyName:
					b.accountPolicy = o
				}
			case *admissionv1.ValidatingAdmissionPolicyBinding: // the same in both bundles
				if o.Spec.PolicyName == deploy.GuardName && engine == deploy.Webhook {
					b.guardBindings = append(b.guardBindings, o)
				}
			case *appsv1.Deployment:
				b.image = o.Spec.Template.Spec.Containers[0].Image
			}
		}
	}
	if b.configuration == nil || b.policy == nil || b.guard == nil || b.accountPolicy == nil || b.image == "" {
		return b, errors.New("the install bundle is incomplete")
	}
	return b, nil
}
