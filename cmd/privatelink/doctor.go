// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/castai/privatelink-webhook/deploy"
	"github.com/castai/privatelink-webhook/doctor"
	"github.com/castai/privatelink-webhook/doctor/cluster"
	"github.com/castai/privatelink-webhook/rewrite"
)

// findings is the answer of a doctor that found faults: exit code 3.
type findings struct{ count int }

func (f findings) Error() string { return fmt.Sprintf("%d checks failed", f.count) }

// reports are the forms in which the doctor tells.
var reports = map[string]func(io.Writer, []doctor.Result) error{"": doctor.Text, "json": doctor.JSON, "junit": doctor.JUnit}

func newDoctor() *cobra.Command {
	var (
		rules  ruleFlags
		of     clusterFlags
		o      doctor.Options
		output string
	)
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Say what is wrong with the cluster, its images and its network",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			report, ok := reports[output]
			if !ok {
				return usageError{fmt.Errorf("--output %q: use json or junit", output)}
			}
			r, text, err := rules.rules()
			if rules == (ruleFlags{}) {
				r, text, err = installed(c, &of)
			}
			if err != nil {
				return err
			}
			checks, err := clusterChecks(&of, r, text)
			if err != nil {
				return err
			}
			results, err := doctor.Run(c.Context(), checks, o)
			if err != nil {
				return usageError{err}
			}
			if err := report(c.OutOrStdout(), results); err != nil {
				return err
			}
			return verdict(results)
		},
	}
	rules.add(c.Flags())
	of.add(c.Flags())
	c.Flags().StringSliceVar(&o.Only, "only", nil, "run only these `CHECKS` or groups: cluster, registry, network, identity, inside")
	c.Flags().StringSliceVar(&o.Skip, "skip", nil, "leave these `CHECKS` or groups out")
	c.Flags().DurationVar(&o.Timeout, "timeout", 8*time.Second, "`TIME` that one check may take")
	c.Flags().StringVarP(&output, "output", "o", "", "`FORMAT`: json or junit (default: a table)")
	return c
}

// verdict is the exit code: what is wrong comes before what is not known.
func verdict(results []doctor.Result) error {
	if n := doctor.Count(results, doctor.Failed); n > 0 {
		return findings{n}
	}
	if n := doctor.Count(results, doctor.Unknown); n > 0 {
		return reported{fmt.Errorf("%d checks could not look", n)}
	}
	return nil
}

// clusterChecks are those of the cluster.
func clusterChecks(of *clusterFlags, rules *rewrite.Rules, text []byte) ([]doctor.Check, error) {
	expected, err := configuration(rules, text)
	if err != nil {
		return nil, err
	}
	config := cluster.Config{
		Rules: rules, Expected: expected,
		Names: cluster.Names{
			Namespace: deploy.Namespace, Deployment: deploy.Name, Service: deploy.Name, ConfigMap: deploy.Name, ConfigKey: deploy.ConfigKey, CASecret: deploy.CASecret,
		},
	}
	if config.Client, config.REST, err = of.connect(); err != nil {
		return doctor.Blind(cluster.Checks(config), doctor.NotSeen("aws eks update-kubeconfig --name CLUSTER, or leave the group out with --skip cluster", "%v", err)), nil
	}
	return cluster.Checks(config), nil
}

// configuration is the webhook configuration of the bundle for these rules.
func configuration(rules *rewrite.Rules, text []byte) (*admissionv1.MutatingWebhookConfiguration, error) {
	bundle, err := deploy.Render(deploy.Options{Rules: rules, Config: text})
	if err != nil {
		return nil, err
	}
	for documents := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(bundle), 4096); ; {
		var c admissionv1.MutatingWebhookConfiguration
		if err := documents.Decode(&c); err != nil {
			return nil, fmt.Errorf("the bundle has no webhook configuration: %w", err)
		}
		if c.Kind == "MutatingWebhookConfiguration" {
			return &c, nil
		}
	}
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
