// SPDX-License-Identifier: Apache-2.0

package mirror_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/castai/privatelink-webhook/internal/mirror"
	"github.com/castai/privatelink-webhook/internal/registry"
	"github.com/castai/privatelink-webhook/internal/testutil/fakeregistry"
)

// pair is a source registry with images, and an empty target registry.
type pair struct {
	source, target *fakeregistry.Server
	jobs           []mirror.Job
	mirror         *mirror.Mirror
	events         []mirror.Event
}

// newPair makes count images. Two of the four layers of each platform are the same
// in all images.
func newPair(t *testing.T, count, size int) *pair {
	t.Helper()
	p := &pair{source: fakeregistry.Start(t), target: fakeregistry.Start(t)}
	for i := range count {
		source := fmt.Sprintf("%s/library/image-%d:v1", p.source.Host, i)
		fakeregistry.Push(t, source, fakeregistry.MultiArch(t, size, 1, 2, uint64(10+2*i), uint64(11+2*i)))
		p.jobs = append(p.jobs, mirror.Job{Source: source, Target: fmt.Sprintf("%s/castai/image-%d:v1", p.target.Host, i)})
	}
	p.source.ResetLog()
	client := registry.New(registry.Options{})
	var mu sync.Mutex
	p.mirror = &mirror.Mirror{Source: client, Target: client, Referrers: true, Events: func(e mirror.Event) {
		mu.Lock()
		defer mu.Unlock()
		p.events = append(p.events, e)
	}}
	return p
}

// run plans and runs.
func (p *pair) run(ctx context.Context, progress *mirror.Progress) (*mirror.Plan, error) {
	plan, err := p.mirror.Plan(ctx, p.jobs)
	if err != nil {
		return nil, err
	}
	return plan, p.mirror.Run(ctx, plan, progress)
}

// checkCopied fails the test unless all images of a plan were copied.
func checkCopied(t *testing.T, plan *mirror.Plan) {
	t.Helper()
	for _, i := range plan.Items {
		if i.State != mirror.StateCopied {
			t.Errorf("%s: %s %v", i.Source, i.State, i.Err)
		}
	}
}

// checkEqual fails the test unless source and target have the same images, and those
// of the target are complete.
func (p *pair) checkEqual(t *testing.T) {
	t.Helper()
	for _, j := range p.jobs {
		if source, target := fakeregistry.Digest(t, j.Source), fakeregistry.Digest(t, j.Target); source != target {
			t.Errorf("%s is %s, and %s is %s", j.Source, source, j.Target, target)
			continue
		}
		fakeregistry.Verify(t, j.Target)
	}
}
