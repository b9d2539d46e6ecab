// SPDX-License-Identifier: Apache-2.0

// Package inside checks the network as pods of the cluster see it: names
// resolve to the VPC endpoints, port 443 accepts connections, and the TLS
// certificates are those of AWS and CAST AI. The endpoints as the AWS API
// describes them are checked by package network.
package inside

import (
	"context"
	"crypto/x509"
	"fmt"
	"slices"
	"sync"

	"github.com/castai/privatelink-webhook/internal/doctor"
	"github.com/castai/privatelink-webhook/internal/doctor/probe"
)

// Group is the name of the group.
const Group = "inside"

// Prober probes targets from a place in the VPC: Local, or the method Run of a
// Job. It returns an error, usually a *doctor.Error, if it could not probe at all.
type Prober func(context.Context, []probe.Target) ([]probe.Result, error)

// Config is the input of the checks.
type Config struct {
	// ECR are the API and registry hosts of ECR, CASTAI those of CAST AI. Both are
	// behind interface endpoints with private DNS, so their addresses are private.
	ECR, CASTAI []probe.Target
	// S3 are the hosts of ECR's layers. They are behind a gateway endpoint, which
	// is a route, and keep their public addresses.
	// https://docs.aws.amazon.com/AmazonECR/latest/userguide/vpc-endpoints.html
	S3 []probe.Target
	// Charts is where CAST AI's operator fetches charts.
	Charts Charts
	// Probe probes the hosts. Without it, all checks are skipped.
	Probe Prober
	// Roots are the trusted certificates. Default: those of this machine.
	Roots *x509.CertPool
}

// Charts are the hosts from which CAST AI's operator fetches charts. They are anywhere.
type Charts struct {
	Hosts  []probe.Target // none without the operator
	Remedy string         // if pods do not reach one
	Err    error          // why the hosts are not known
	// IsUnusable is set for an operator with an address that it cannot use, which the
	// check cluster/chart-repository reports.
	IsUnusable bool
}

// Local probes from this machine, which is in the VPC.
func Local(ctx context.Context, targets []probe.Target) ([]probe.Result, error) {
	return probe.Run(ctx, targets), nil
}

// Checks returns the checks of the group. They share one run of the prober over
// all hosts.
func Checks(c Config) []doctor.Check {
	k := &checker{Config: c}
	const (
		noPulls   = "nodes cannot pull, and pods stay in ImagePullBackOff"
		noReports = "CAST AI's agents cannot report, and the cluster is shown as disconnected"
	)
	checks := []doctor.Check{
		{Name: "probe", Elements: []doctor.Element{doctor.NoElement}, What: "the network can be probed from inside",
			Why: "the other checks of this group depend on it", Run: k.probe},
		{Name: "dns", Elements: []doctor.Element{doctor.PrivateDNS}, What: "DNS answers", Needs: []string{"probe"},
			Why: "without DNS no pod can connect to a host", Run: k.evaluate(slices.Concat(c.ECR, c.CASTAI, c.S3), evaluateDNS)},
		{Name: "dns-ecr", Elements: []doctor.Element{doctor.PrivateDNS, doctor.Endpoint("ecr.api"), doctor.Endpoint("ecr.dkr")}, What: "the hosts of ECR resolve to private addresses", Needs: []string{"probe", "dns"},
			Why: noPulls, Run: k.evaluate(c.ECR, evaluatePrivateDNS)},
		{Name: "dns-castai", Elements: []doctor.Element{doctor.PrivateDNS, doctor.CASTAIEndpoints}, What: "the hosts of CAST AI resolve to private addresses", Needs: []string{"probe", "dns"},
			Why: noReports, Run: k.evaluate(c.CASTAI, evaluatePrivateDNS)},
		{Name: "connect-ecr", Elements: []doctor.Element{doctor.Endpoint("ecr.api"), doctor.Endpoint("ecr.dkr")}, What: "the endpoints of ECR accept TCP connections", Needs: []string{"probe", "dns", "dns-ecr"},
			Why: noPulls, Run: k.evaluate(c.ECR, evaluateInterface)},
		{Name: "connect-castai", Elements: []doctor.Element{doctor.CASTAIEndpoints}, What: "the endpoints of CAST AI accept TCP connections", Needs: []string{"probe", "dns", "dns-castai"},
			Why: noReports, Run: k.evaluate(c.CASTAI, evaluateInterface)},
		{Name: "connect-s3", Elements: []doctor.Element{doctor.Endpoint("s3")}, What: "S3, where ECR stores layers, accepts TCP connections", Needs: []string{"probe", "dns"},
			Why: "manifests are pulled but layers are not: pods stay in ImagePullBackOff", Run: k.evaluate(c.S3, evaluateGateway)},
		{Name: "tls-ecr", Elements: []doctor.Element{doctor.Endpoint("ecr.api"), doctor.Endpoint("ecr.dkr")}, What: "the certificates of ECR are trusted", Needs: []string{"probe", "dns", "dns-ecr", "connect-ecr"},
			Why: "containerd refuses the registry, and pods stay in ImagePullBackOff", Run: k.evaluate(c.ECR, evaluateTLS(c.Roots))},
		{Name: "tls-castai", Elements: []doctor.Element{doctor.CASTAIEndpoints}, What: "the certificates of CAST AI are trusted", Needs: []string{"probe", "dns", "dns-castai", "connect-castai"},
			Why: noReports, Run: k.evaluate(c.CASTAI, evaluateTLS(c.Roots))},
		{Name: "charts", Elements: []doctor.Element{doctor.Pods}, What: "pods reach the hosts from which CAST AI's operator, if it is installed, fetches charts", Needs: []string{"probe", "dns"},
			Why: "an upgrade that CAST AI starts fails at the chart, before an image is pulled", Run: k.charts},
	}
	for i := range checks {
		checks[i].Group = Group
		for j, need := range checks[i].Needs {
			checks[i].Needs[j] = Group + "/" + need
		}
	}
	if c.Probe == nil {
		return doctor.Unavailable(checks, doctor.Skippedf("add --probe to check from a pod, with a short Job; or --inside if this machine is in the VPC"))
	}
	return checks
}

// checker holds the results, which the first check gathers.
type checker struct {
	Config
	once    sync.Once
	results []probe.Result
	err     error
}

func (k *checker) gather(ctx context.Context) error {
	k.once.Do(func() {
		targets := slices.Concat(k.ECR, k.CASTAI, k.S3, k.Charts.Hosts)
		k.results, k.err = k.Probe(ctx, targets)
		if k.err == nil && len(k.results) != len(targets) {
			k.err = fmt.Errorf("the probe reports %d hosts instead of %d", len(k.results), len(targets))
		}
	})
	return k.err
}

func (k *checker) probe(ctx context.Context) doctor.Finding {
	if err := k.gather(ctx); err != nil {
		return probeFailed(err)
	}
	return doctor.OKf("%d hosts were probed", len(k.results))
}

// evaluate returns a check that evaluates the results of some targets.
func (k *checker) evaluate(targets []probe.Target, evaluate func([]probe.Result) doctor.Finding) func(context.Context) doctor.Finding {
	return func(ctx context.Context) doctor.Finding {
		if err := k.gather(ctx); err != nil {
			return probeFailed(err)
		}
		var results []probe.Result
		for _, r := range k.results {
			if slices.Contains(targets, r.Target) {
				results = append(results, r)
			}
		}
		if len(results) == 0 {
			return doctor.Skippedf("no such host is known")
		}
		return evaluate(results)
	}
}

func probeFailed(err error) doctor.Finding {
	return doctor.Unknownf(doctor.RemedyFor(err, "probe from elsewhere: --probe from a pod, --inside if this machine is in the VPC"), "%v", err)
}
