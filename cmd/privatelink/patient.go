// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/castai/privatelink-webhook/deploy"
	"github.com/castai/privatelink-webhook/doctor"
	"github.com/castai/privatelink-webhook/doctor/cluster"
	"github.com/castai/privatelink-webhook/doctor/inside"
	"github.com/castai/privatelink-webhook/rewrite"
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
	return slices.Concat(theCluster, inAWS, ofImages, nodeRole, fromInside), nil
}

// clusterChecks are those of the cluster.
func (p *patient) clusterChecks() []doctor.Check {
	checks := cluster.Checks(cluster.Config{
		Client: p.client, REST: p.rest, Rules: p.rules, Expected: p.bundle.configuration,
		Names: cluster.Names{
			Namespace: deploy.Namespace, Deployment: deploy.Name, Service: deploy.Name, ConfigMap: deploy.Name, ConfigKey: deploy.ConfigKey, CASecret: deploy.CASecret,
		},
	})
	if p.away != nil {
		return doctor.Blind(checks, p.noCluster())
	}
	return checks
}

// installs is how the bundle is installed.
const installs = "privatelink install --config privatelink.yaml | kubectl apply -f -"

func (p *patient) noCluster() doctor.Finding {
	return doctor.NotSeen("aws eks update-kubeconfig --name CLUSTER, or leave it out with --skip "+cluster.Group, "%v", p.away)
}

// bundle is what the doctor compares of the install bundle.
type bundle struct {
	configuration *admissionv1.MutatingWebhookConfiguration
	image         string // of the Deployment
}

// rendered is the bundle for these rules.
func rendered(rules *rewrite.Rules, text []byte) (b bundle, err error) {
	out, err := deploy.Render(deploy.Options{Rules: rules, Config: text})
	if err != nil {
		return b, err
	}
	for documents := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(out), 4096); b.configuration == nil || b.image == ""; {
		var raw runtime.RawExtension
		var kind metav1.TypeMeta
		if err := documents.Decode(&raw); err != nil {
			return b, fmt.Errorf("the bundle lacks a Deployment or a webhook configuration: %w", err)
		}
		if err := json.Unmarshal(raw.Raw, &kind); err != nil {
			return b, err
		}
		switch kind.Kind {
		case "MutatingWebhookConfiguration":
			err = json.Unmarshal(raw.Raw, &b.configuration)
		case "Deployment":
			var d appsv1.Deployment
			err = json.Unmarshal(raw.Raw, &d)
			b.image = d.Spec.Template.Spec.Containers[0].Image
		}
		if err != nil {
			return b, err
		}
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
