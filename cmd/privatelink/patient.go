// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
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
	registrychecks "github.com/castai/privatelink-webhook/internal/doctor/registry"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// patient is what the checks are about, and what there is to look with.
type patient struct {
	*doctorFlags
	rules  *rewrite.Rules
	text   []byte // of the configuration, if there is a file
	client kubernetes.Interface
	rest   *rest.Config
	away   error // why there is no client
	bundle bundle
	engine cluster.Engine
	job    *inside.Job
}

// close waits for what has to be cleaned up.
func (p *patient) close() {
	if p.job != nil {
		p.job.Close()
	}
}

// checks are all there are, in the order in which a person reads them.
func (p *patient) checks(c *cobra.Command) ([]doctor.Check, error) {
	ctx := c.Context()
	theCluster := p.clusterChecks()
	ofImages, err := p.imageChecks(c)
	if err != nil {
		return nil, err
	}
	inAWS, nodeRole, err := p.awsChecks(ctx)
	if err != nil {
		return nil, err
	}
	fromInside, err := p.insideChecks(ctx)
	if err != nil {
		return nil, err
	}
	all := slices.Concat(theCluster, inAWS, ofImages, nodeRole, fromInside)
	if p.engine == cluster.Policy { // which has no pods
		all = slices.DeleteFunc(all, func(c doctor.Check) bool {
			return c.ID() == registrychecks.Group+"/webhook-image" || c.ID() == network.Group+"/control-plane-port"
		})
	}
	return all, nil
}

// engineOf is the engine that was named, or else that of the cluster: the policy
// only where it is there and the webhook is not.
func (p *patient) engineOf(ctx context.Context) (cluster.Engine, error) {
	switch e := cluster.Engine(p.named); {
	case e == cluster.Webhook || e == cluster.Policy:
		return e, nil
	case e != "":
		return "", usageError{fmt.Errorf("--engine %q: use webhook or policy", e)}
	case p.away != nil:
		return cluster.Webhook, nil
	}
	ctx, cancel := context.WithTimeout(ctx, p.options.Timeout)
	defer cancel()
	api := p.client.AdmissionregistrationV1()
	_, policy := api.MutatingAdmissionPolicies().Get(ctx, deploy.PolicyName, metav1.GetOptions{})
	_, webhook := api.MutatingWebhookConfigurations().Get(ctx, deploy.ConfigurationName, metav1.GetOptions{})
	if policy == nil && apierrors.IsNotFound(webhook) {
		return cluster.Policy, nil
	}
	return cluster.Webhook, nil
}

// clusterChecks are those of the cluster.
func (p *patient) clusterChecks() []doctor.Check {
	checks := cluster.Checks(cluster.Config{
		Client: p.client, REST: p.rest, Rules: p.rules, Expected: p.bundle.configuration, Policy: p.bundle.policy, Guard: p.bundle.guard, Engine: p.engine,
		Names: cluster.Names{
			Namespace: deploy.Namespace, Deployment: deploy.Name, Service: deploy.Name, ConfigMap: deploy.Name, ConfigKey: deploy.ConfigKey, CASecret: deploy.CASecret,
		},
	})
	if p.away != nil {
		return doctor.Unavailable(checks, p.noCluster())
	}
	return checks
}

// installs is how the bundle is installed.
const installs = "privatelink install --config privatelink.yaml | kubectl apply -f -"

func (p *patient) noCluster() doctor.Finding {
	return doctor.Unknownf("aws eks update-kubeconfig --name CLUSTER, or leave it out with --skip "+cluster.Group, "%v", p.away)
}

// bundle is what the doctor compares of the install bundle, of both engines.
type bundle struct {
	configuration *admissionv1.MutatingWebhookConfiguration
	policy        *admissionv1.MutatingAdmissionPolicy
	guard         *admissionv1.ValidatingAdmissionPolicy
	image         string // of the Deployment
}

// rendered is the bundle for these rules.
func rendered(rules *rewrite.Rules, text []byte) (b bundle, err error) {
	for _, engine := range deploy.Engines() {
		objects, err := deploy.Objects(deploy.Options{Rules: rules, Config: text, Engine: engine})
		if err != nil {
			return b, err
		}
		for _, o := range objects {
			switch o := o.(type) {
			case *admissionv1.MutatingWebhookConfiguration:
				b.configuration = o
			case *admissionv1.MutatingAdmissionPolicy:
				b.policy = o
			case *admissionv1.ValidatingAdmissionPolicy:
				b.guard = o
			case *appsv1.Deployment:
				b.image = o.Spec.Template.Spec.Containers[0].Image
			}
		}
	}
	if b.configuration == nil || b.policy == nil || b.guard == nil || b.image == "" {
		return b, errors.New("the install bundle lacks an object that the doctor compares")
	}
	return b, nil
}

// installed reads the configuration that the cluster has: who asks what is wrong
// need not know where the file is.
func installed(c *cobra.Command, of *clusterFlags) (*rewrite.Rules, []byte, error) {
	client, err := of.client()
	if err != nil {
		return nil, nil, errors.Join(errors.New("give --registry PREFIX, or --config FILE"), err)
	}
	m, err := client.CoreV1().ConfigMaps(deploy.Namespace).Get(c.Context(), deploy.Name, metav1.GetOptions{})
	if err != nil {
		return nil, nil, usageError{fmt.Errorf("the cluster has no configuration to go by: give --registry PREFIX, or --config FILE: %w", err)}
	}
	text := []byte(m.Data[deploy.ConfigKey])
	rules, err := rewrite.Load(fmt.Sprintf("ConfigMap %s/%s", deploy.Namespace, deploy.Name), text)
	if err != nil {
		return nil, nil, usageError{err}
	}
	return rules, text, nil
}
