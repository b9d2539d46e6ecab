// SPDX-License-Identifier: Apache-2.0

// Package inside looks at the network as a pod of the cluster sees it: names
// resolve to the VPC endpoints, port 443 answers, and TLS is spoken by whom it
// should be. What AWS's API says of an endpoint is another matter, and checked
// elsewhere: this is the proof.
package inside

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/castai/privatelink-webhook/internal/doctor"
	"github.com/castai/privatelink-webhook/internal/doctor/probe"
)

// Group is that of the checks.
const Group = "inside"

// Look looks at targets from somewhere inside. An error means that it could not
// look at all; a Trouble says what to do about that.
type Look func(context.Context, []probe.Target) ([]probe.Result, error)

// Config says what to look at, and from where.
type Config struct {
	// ECR are the registry's API and data hosts, CASTAI those of CAST AI. Both are
	// behind interface endpoints with private DNS, so that their addresses are
	// private.
	ECR, CASTAI []probe.Target
	// S3 are the hosts of ECR's layers. They are behind a gateway endpoint, which
	// is a route, and keep their public addresses.
	// https://docs.aws.amazon.com/AmazonECR/latest/userguide/vpc-endpoints.html
	S3 []probe.Target
	// Look is Here or the method of a Job. Without it every check is skipped.
	Look Look
	// Roots are the certificates to trust. Default: those of this machine.
	Roots *x509.CertPool
}

// Here looks from this machine, which is in the VPC.
func Here() Look {
	return func(ctx context.Context, targets []probe.Target) ([]probe.Result, error) {
		return probe.Look(ctx, targets), nil
	}
}

// Trouble is why it was not possible to look, and what to do.
type Trouble struct {
	Err    error
	Remedy string
}

func (t *Trouble) Error() string { return t.Err.Error() }

// Unwrap returns the cause.
func (t *Trouble) Unwrap() error { return t.Err }

// Checks returns the group. All look once, together, whichever is asked for.
func Checks(c Config) []doctor.Check {
	s := &sight{Config: c}
	const (
		unpulled = "nodes cannot pull, and pods stay in ImagePullBackOff"
		mute     = "agents of CAST AI cannot report, and the cluster shows as disconnected"
	)
	checks := []doctor.Check{
		{Name: "probe", What: "the network can be looked at from inside",
			Why: "without it nothing is known of what pods see", Run: s.run},
		{Name: "dns", What: "DNS answers", Needs: []string{"probe"},
			Why: "without DNS no pod finds anything", Run: s.on(slices.Concat(c.ECR, c.CASTAI, c.S3), answers)},
		{Name: "dns-ecr", What: "the hosts of ECR resolve to private addresses", Needs: []string{"probe", "dns"},
			Why: unpulled, Run: s.on(c.ECR, private)},
		{Name: "dns-castai", What: "the hosts of CAST AI resolve to private addresses", Needs: []string{"probe", "dns"},
			Why: mute, Run: s.on(c.CASTAI, private)},
		{Name: "connect-ecr", What: "the endpoints of ECR answer on TCP", Needs: []string{"probe", "dns", "dns-ecr"},
			Why: unpulled, Run: s.on(c.ECR, connects)},
		{Name: "connect-castai", What: "the endpoints of CAST AI answer on TCP", Needs: []string{"probe", "dns", "dns-castai"},
			Why: mute, Run: s.on(c.CASTAI, connects)},
		{Name: "connect-s3", What: "S3, where ECR keeps layers, answers on TCP", Needs: []string{"probe", "dns"},
			Why: "manifests are pulled and layers are not: pods stay in ImagePullBackOff", Run: s.on(c.S3, routed)},
		{Name: "tls-ecr", What: "the certificates of ECR are trusted", Needs: []string{"probe", "dns", "dns-ecr", "connect-ecr"},
			Why: "containerd refuses the registry, and pods stay in ImagePullBackOff", Run: s.on(c.ECR, trusted(c.Roots))},
		{Name: "tls-castai", What: "the certificates of CAST AI are trusted", Needs: []string{"probe", "dns", "dns-castai", "connect-castai"},
			Why: mute, Run: s.on(c.CASTAI, trusted(c.Roots))},
	}
	for i := range checks {
		checks[i].Group = Group
		for j, need := range checks[i].Needs {
			checks[i].Needs[j] = Group + "/" + need
		}
	}
	if c.Look == nil {
		return doctor.Unavailable(checks, doctor.Finding{Status: doctor.Skipped,
			Found: "add --probe to look from a pod, by a short Job; or --inside when this machine is in the VPC"})
	}
	return checks
}

// sight is what was seen. It is filled once, by the first check that asks.
type sight struct {
	Config
	once    sync.Once
	results []probe.Result
	err     error
}

// look looks, or waits for the check that does.
func (s *sight) look(ctx context.Context) error {
	s.once.Do(func() {
		targets := slices.Concat(s.ECR, s.CASTAI, s.S3)
		s.results, s.err = s.Look(ctx, targets)
		if s.err == nil && len(s.results) != len(targets) {
			s.err = fmt.Errorf("asked for %d hosts, got a report of %d", len(targets), len(s.results))
		}
	})
	return s.err
}

func (s *sight) run(ctx context.Context) doctor.Finding {
	if err := s.look(ctx); err != nil {
		return blind(err)
	}
	return doctor.OKf("%d hosts looked at", len(s.results))
}

// on is a check of some of the hosts.
func (s *sight) on(targets []probe.Target, judge func([]probe.Result) doctor.Finding) func(context.Context) doctor.Finding {
	return func(ctx context.Context) doctor.Finding {
		if err := s.look(ctx); err != nil {
			return blind(err)
		}
		var chosen []probe.Result
		for _, r := range s.results {
			if slices.Contains(targets, r.Target) {
				chosen = append(chosen, r)
			}
		}
		if len(chosen) == 0 {
			return doctor.Finding{Status: doctor.Skipped, Found: "no host of these is known"}
		}
		return judge(chosen)
	}
}

func blind(err error) doctor.Finding {
	remedy := "look from elsewhere: --probe from a pod, --inside when this machine is in the VPC"
	if t, ok := errors.AsType[*Trouble](err); ok {
		remedy = t.Remedy
	}
	return doctor.Unknownf(remedy, "%v", err)
}
