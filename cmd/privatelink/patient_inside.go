// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/pflag"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/castai/privatelink-webhook/deploy"
	"github.com/castai/privatelink-webhook/internal/doctor"
	"github.com/castai/privatelink-webhook/internal/doctor/cluster"
	"github.com/castai/privatelink-webhook/internal/doctor/inside"
	"github.com/castai/privatelink-webhook/internal/doctor/probe"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// insideFlags say how to look from inside.
type insideFlags struct {
	job, here bool
	hosts     []string
}

func (f *insideFlags) add(flags *pflag.FlagSet) {
	flags.BoolVar(&f.job, "probe", false, "look at DNS, TCP and TLS from a pod, by a short Job in "+deploy.Namespace)
	flags.BoolVar(&f.here, "inside", false, "look at DNS, TCP and TLS from this machine, which is in the VPC")
	flags.StringSliceVar(&f.hosts, "castai-host", nil, "`HOST:PORT` of CAST AI to look at from inside (default: those of the US, where the region is one that they serve); may be repeated")
}

// insideChecks look from a pod, or from here.
func (p *patient) insideChecks(ctx context.Context) ([]doctor.Check, error) {
	var c inside.Config
	registry, err := p.registry()
	if err != nil {
		return nil, err
	}
	if p.rules.OnECR() {
		c.ECR, c.S3 = ecrHosts(registry)
	} else {
		host, _, _ := strings.Cut(p.rules.Registry(), "/")
		c.ECR = []probe.Target{{Host: host, Port: 443}}
	}
	if c.CASTAI, err = p.castaiHosts(cmp.Or(p.aws.region, registry.Region)); err != nil {
		return nil, err
	}
	switch {
	case p.inside.job && p.inside.here:
		return nil, usageError{errors.New("--probe and --inside: from a pod or from this machine? Give one of them")}
	case p.inside.here:
		c.Look = inside.Here()
	case p.inside.job:
		image, err := p.webhookImage(ctx)
		if err != nil {
			c.Look = inside.Here() // to be blind, not unwanted
			return doctor.Unavailable(inside.Checks(c), doctor.Unknownf("the probe runs the image of the installed webhook: "+installs, "%v", err)), nil
		}
		p.job = inside.ByJob(p.client, image, p.namespace())
		c.Look = p.job.Look
	}
	return inside.Checks(c), nil
}

// namespace is where the probe runs: beside the webhook, or else with CAST AI.
func (p *patient) namespace() string {
	if p.engine == cluster.Policy {
		return p.rules.Namespaces()[0]
	}
	return deploy.Namespace
}

// webhookImage is what the Deployment runs; without one, under the other engine,
// what it would.
func (p *patient) webhookImage(ctx context.Context) (string, error) {
	switch {
	case p.away != nil:
		return "", p.away
	case p.engine == cluster.Policy:
		return p.bundle.image, nil
	}
	ctx, cancel := context.WithTimeout(ctx, p.options.Timeout)
	defer cancel()
	d, err := p.client.AppsV1().Deployments(deploy.Namespace).Get(ctx, deploy.Name, metav1.GetOptions{})
	if err != nil {
		return "", err
	}
	return d.Spec.Template.Spec.Containers[0].Image, nil
}

// ecrHosts are where pulls go: for a token, for manifests, and for layers.
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/vpc-endpoints.html
func ecrHosts(h rewrite.ECRHost) (ecr, s3 []probe.Target) {
	return []probe.Target{{Host: "api.ecr." + h.Region + "." + h.Domain, Port: 443}, {Host: h.Name, Port: 443}},
		[]probe.Target{{Host: "prod-" + h.Region + "-starport-layer-bucket.s3." + h.Region + "." + h.Domain, Port: 443}}
}

// castaiHosts are the hosts of CAST AI in the US, unless others are named: those
// of other places are not known here.
func (p *patient) castaiHosts(region string) (targets []probe.Target, err error) {
	for _, h := range p.inside.hosts {
		t, err := probe.Parse(h)
		if err != nil {
			return nil, usageError{fmt.Errorf("--castai-host: %w", err)}
		}
		targets = append(targets, t)
	}
	needed, err := deploy.NeededEndpoints()
	if _, known := needed.Regions[region]; len(targets) > 0 || !known {
		return targets, err
	}
	for _, s := range needed.CASTAI {
		if s.Host != "" {
			targets = append(targets, probe.Target{Host: s.Host, Port: 443})
		}
	}
	return targets, err
}
