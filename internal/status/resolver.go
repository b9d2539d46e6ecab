// SPDX-License-Identifier: Apache-2.0

package status

import (
	"context"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/castai/privatelink-webhook/internal/exitcode"
	"github.com/castai/privatelink-webhook/internal/registry"
	"github.com/castai/privatelink-webhook/internal/registry/awsecr"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// resolver looks images up in the private registry. It is safe for concurrent use.
type resolver struct {
	// connect connects when the client is first needed, and only once.
	connect func() (*registry.Client, error)
	// keep is how long a result is used again; 0 is not at all.
	keep time.Duration

	mu    sync.Mutex
	known map[string]lookup
}

// lookup is the result of looking up an image.
type lookup struct {
	digest digest.Digest
	err    error
	at     time.Time
}

func newResolver(ctx context.Context, o Options, keep time.Duration) *resolver {
	return &resolver{keep: keep, known: map[string]lookup{}, connect: sync.OnceValues(func() (*registry.Client, error) {
		client, _, err := awsecr.Connect(ctx, awsecr.ConnectOptions{Profile: o.Profile, UserAgent: o.UserAgent})
		if err != nil {
			return nil, exitcode.AsUsage(err)
		}
		return client, nil
	})}
}

// resolve returns a result for each reference.
func (r *resolver) resolve(ctx context.Context, references []string) ([]lookup, error) {
	client, err := r.connect()
	if err != nil {
		return nil, err
	}
	lookups := make([]lookup, len(references))
	var group errgroup.Group
	group.SetLimit(16)
	for n, reference := range references {
		group.Go(func() error {
			lookups[n] = r.lookUp(ctx, client, reference)
			return nil
		})
	}
	return lookups, group.Wait()
}

func (r *resolver) lookUp(ctx context.Context, client *registry.Client, reference string) lookup {
	r.mu.Lock()
	known, ok := r.known[reference]
	r.mu.Unlock()
	if ok && time.Since(known.at) < r.keep {
		return known
	}
	ref := rewrite.SplitReference(reference)
	found, err := client.Resolve(ctx, ref.Repository, ref.Identifier())
	result := lookup{digest: found.Digest, err: err, at: time.Now()}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.known[reference] = result
	return result
}
