// SPDX-License-Identifier: Apache-2.0

package status

import (
	"context"
	"io"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/kubernetes"

	"github.com/castai/privatelink-webhook/internal/exitcode"
	"github.com/castai/privatelink-webhook/internal/kubeconfig"
	"github.com/castai/privatelink-webhook/internal/output"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// Options select the cluster and the images.
type Options struct {
	Cluster kubeconfig.Options
	// LockFile lists the images to look up, as lockstore.Open names it. Without it, the
	// default file is used if it exists.
	LockFile string
	// MirrorMaxAge is Mirror.MaxAge.
	MirrorMaxAge time.Duration
	SkipRegistry bool
	Profile      string        // of AWS
	Timeout      time.Duration // of all requests together
	Interval     time.Duration // between two rounds of Watch
	Warn         func(string)  // receives the messages of Watch with a format for programs
	UserAgent    string        // for registries
	Program      string        // with its version, for the header
}

// Run gathers the status and writes it to w. The error carries the exit code: an error
// takes precedence over an unknown state.
func Run(ctx context.Context, w io.Writer, format output.Format, o Options) error {
	client, err := o.Cluster.Client()
	if err != nil {
		return err
	}
	s, err := o.gather(ctx, client, newResolver(ctx, o, 0))
	if err != nil {
		return err
	}
	now := time.Now()
	switch format {
	case output.Text:
		err = s.Screen(w, o.Program, now)
	case output.HTML:
		err = s.writeHTML(w, o.UserAgent, now)
	default:
		err = output.Write(w, format, s)
	}
	switch f := s.Evaluate(now); {
	case err != nil:
		return err
	case len(f.Errors) > 0:
		return exitcode.ActionNeededf("%d errors", len(f.Errors))
	case len(f.Unknown) > 0:
		return exitcode.AlreadyPrintedf("%d states are unknown", len(f.Unknown))
	}
	return nil
}

// gather returns the status within the timeout.
func (o Options) gather(ctx context.Context, client kubernetes.Interface, private *resolver) (*Status, error) {
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	s := &Status{Target: o.Cluster.Target(), Mirror: Mirror{MaxAge: o.MirrorMaxAge}}
	var group errgroup.Group
	group.Go(func() error {
		if err := s.gatherReplicas(ctx, client); err != nil {
			return o.Cluster.Explain(err)
		}
		s.Mirror.gather(ctx, client)
		return s.gatherWaiting(ctx, client, o, private)
	})
	group.Go(func() error { return s.gatherRegistry(ctx, o, private) })
	if err := group.Wait(); err != nil {
		return nil, err
	}
	s.Sum()
	s.nameRegistry()
	return s, nil
}

// nameRegistry adds the registry of the installed configuration to the target.
func (s *Status) nameRegistry() {
	if s.installed == nil {
		return
	}
	host, _ := rewrite.ParseECRHost(s.installed.Registry()) // of another registry nothing is known
	s.Target = s.Target.WithRegistry(s.installed.Registry(), host.Account, host.Region)
}
