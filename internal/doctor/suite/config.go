// SPDX-License-Identifier: Apache-2.0

package suite

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/castai/privatelink-webhook/deploy"
	"github.com/castai/privatelink-webhook/internal/doctor/cluster"
	"github.com/castai/privatelink-webhook/internal/exitcode"
	"github.com/castai/privatelink-webhook/internal/kubeconfig"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// readConfig reads the rules from what is installed: the ConfigMap of the webhook, or
// the policy. It is a usage error if nothing is installed. If it cannot be read or used,
// configErr has the reason, and checks report it.
func (s *Suite) readConfig(ctx context.Context) error {
	const remedy = "set --registry or --config"
	if _, isAccess := errors.AsType[*kubeconfig.AccessError](s.clusterErr); s.clusterErr != nil && !isAccess {
		return exitcode.Usagef("no configuration: %s, or select a cluster: %w", remedy, s.clusterErr)
	}
	err := s.clusterErr
	if err == nil {
		err = s.installedConfig(ctx)
	}
	if apierrors.IsNotFound(err) {
		return exitcode.Usagef("nothing is installed in %s, so there is no configuration: %s: %w", s.Cluster.Target(), remedy, err)
	}
	s.configErr = err
	if err != nil {
		s.Config = nil
		s.Rules, err = placeholderRules()
	}
	return err
}

// installedConfig sets Rules and Config to what is installed.
func (s *Suite) installedConfig(ctx context.Context) error {
	read := s.configMap
	if s.engine == cluster.Policy {
		read = s.policyConfig
	}
	name, config, err := read(ctx)
	if err != nil {
		return err
	}
	s.Config = config
	if s.Rules, err = rewrite.Load(name, config); err != nil {
		return &cluster.InvalidConfigError{Err: err}
	}
	return nil
}

// configMap returns the configuration of the webhook.
func (s *Suite) configMap(ctx context.Context) (name string, config []byte, err error) {
	m, err := s.client.CoreV1().ConfigMaps(s.namespace).Get(ctx, deploy.Name, metav1.GetOptions{})
	if err != nil {
		return "", nil, err
	}
	return fmt.Sprintf("ConfigMap %s/%s", s.namespace, deploy.Name), []byte(m.Data[deploy.ConfigKey]), nil
}

// policyConfig returns the configuration of the installed policy.
func (s *Suite) policyConfig(ctx context.Context) (name string, config []byte, err error) {
	api := s.client.AdmissionregistrationV1()
	policy, err := api.MutatingAdmissionPolicies().Get(ctx, deploy.PolicyName, metav1.GetOptions{})
	if err != nil {
		return "", nil, err
	}
	bindings, err := api.MutatingAdmissionPolicyBindings().List(ctx, metav1.ListOptions{})
	if err != nil {
		return "", nil, err
	}
	if config, err = deploy.PolicyConfig(policy, bindings.Items); err != nil {
		return "", nil, &cluster.InvalidConfigError{Err: err}
	}
	return "MutatingAdmissionPolicy " + policy.Name, config, nil
}

// placeholderRules are those of a registry that does not exist.
func placeholderRules() (*rewrite.Rules, error) {
	return rewrite.New(rewrite.Config{Registry: "registry.invalid/castai"})
}
