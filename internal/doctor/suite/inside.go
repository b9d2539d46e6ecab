// SPDX-License-Identifier: Apache-2.0

package suite

import (
	"context"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/castai/privatelink-webhook/deploy"
	"github.com/castai/privatelink-webhook/internal/doctor"
	"github.com/castai/privatelink-webhook/internal/doctor/cluster"
	"github.com/castai/privatelink-webhook/internal/doctor/inside"
	"github.com/castai/privatelink-webhook/internal/doctor/probe"
	"github.com/castai/privatelink-webhook/internal/exitcode"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

func (s *Suite) insideChecks(ctx context.Context) ([]doctor.Check, error) {
	var c inside.Config
	var err error
	if s.Rules.OnECR() {
		c.ECR, c.S3 = ecrHosts(s.registry)
	} else {
		host, _, _ := strings.Cut(s.Rules.Registry(), "/")
		c.ECR = []probe.Target{{Host: host, Port: 443}}
	}
	if c.CASTAI, err = s.castaiHosts(); err != nil {
		return nil, err
	}
	if s.Inside || s.Probe {
		c.Charts = s.chartHosts(ctx)
	}
	switch {
	case s.Inside:
		c.Probe = inside.Local
	case s.Probe:
		image, err := s.webhookImage(ctx)
		if err != nil {
			c.Probe = inside.Local // without a probe, the checks would be skipped instead of unknown
			return doctor.Unavailable(inside.Checks(c), doctor.Unknownf(doctor.RemedyFor(err, "the probe runs the image of the installed webhook:\n"+cluster.InstallCommand(s.engine, s.release)), "%v", err)), nil
		}
		s.job = inside.NewJob(s.client, image, s.probeNamespace())
		c.Probe = s.job.Run
	}
	return inside.Checks(c), nil
}

// probeNamespace returns the webhook's namespace or, under the policy engine,
// which has none, one of CAST AI.
func (s *Suite) probeNamespace() string {
	if s.engine == cluster.Policy {
		return s.Rules.Namespaces()[0]
	}
	return s.namespace
}

// webhookImage returns the image of the Deployment. The policy engine has none,
// and the probe then runs the image of the bundle.
func (s *Suite) webhookImage(ctx context.Context) (string, error) {
	switch {
	case s.clusterErr != nil:
		return "", s.clusterErr
	case s.engine == cluster.Policy:
		return s.bundle.image, nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.Run.Timeout)
	defer cancel()
	d, err := s.client.AppsV1().Deployments(s.namespace).Get(ctx, deploy.Name, metav1.GetOptions{})
	if err != nil {
		return "", cluster.WithRemedy(err)
	}
	return d.Spec.Template.Spec.Containers[0].Image, nil
}

// ecrHosts returns the hosts of a pull: for tokens and manifests, and for layers.
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/vpc-endpoints.html
func ecrHosts(h rewrite.ECRHost) (ecr, s3 []probe.Target) {
	return []probe.Target{{Host: "api.ecr." + h.Region + "." + h.Domain, Port: 443}, {Host: h.Name, Port: 443}},
		[]probe.Target{{Host: "prod-" + h.Region + "-starport-layer-bucket.s3." + h.Region + "." + h.Domain, Port: 443}}
}

// castaiHosts returns the hosts of the options or, if CAST AI serves the region
// over PrivateLink, its known hosts.
func (s *Suite) castaiHosts() (targets []probe.Target, err error) {
	for _, h := range s.CASTAIHosts {
		t, err := probe.Parse(h)
		if err != nil {
			return nil, exitcode.Usagef("--castai-host: %w", err)
		}
		targets = append(targets, t)
	}
	needed, err := deploy.NeededEndpoints()
	if _, known := needed.Regions[s.region()]; len(targets) > 0 || !known {
		return targets, err
	}
	for _, n := range needed.CASTAI {
		if n.Host != "" {
			targets = append(targets, probe.Target{Host: n.Host, Port: 443})
		}
	}
	return targets, err
}
