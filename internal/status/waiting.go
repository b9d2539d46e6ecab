// SPDX-License-Identifier: Apache-2.0

package status

import (
	"context"
	"errors"
	"fmt"

	"k8s.io/client-go/kubernetes"

	"github.com/castai/privatelink-webhook/internal/catalog"
	"github.com/castai/privatelink-webhook/internal/catalog/live"
	"github.com/castai/privatelink-webhook/internal/doctor"
	"github.com/castai/privatelink-webhook/internal/registry"
)

// Waiting are the pods that wait for their images.
type Waiting struct {
	// NotListed is the reason why the pods are not known.
	NotListed string `json:"notListed,omitempty"`
	Pods      int    `json:"pods"`
	// Images are the private names of the images that they wait for.
	Images []string `json:"images"`
	// Missing are those of them that the registry lacks. It is empty if the registry
	// was not asked.
	Missing []string `json:"missing"`
	Failed  []string `json:"failed,omitempty"` // errors of requests to the registry
}

// gatherWaiting lists the pods in the namespaces of the installed rules that wait for
// images, and looks these up in the registry.
func (s *Status) gatherWaiting(ctx context.Context, client kubernetes.Interface, o Options, private *resolver) error {
	s.Waiting = Waiting{Images: []string{}, Missing: []string{}}
	if s.installed == nil {
		s.Waiting.NotListed = "the installed configuration cannot be read"
		return nil
	}
	list := catalog.New(s.installed)
	pods, err := live.Waiting(ctx, client, list)
	if err != nil {
		s.Waiting.NotListed = err.Error()
		return nil
	}
	s.Waiting.Pods = pods
	for _, e := range list.Images() {
		if !e.Derived { // a pod waits for each of the others
			s.Waiting.Images = append(s.Waiting.Images, e.Target)
		}
	}
	if len(s.Waiting.Images) == 0 || o.SkipRegistry {
		return nil
	}
	lookups, err := private.resolve(ctx, s.Waiting.Images)
	for n, found := range lookups {
		switch {
		case errors.Is(found.err, registry.ErrNotFound):
			s.Waiting.Missing = append(s.Waiting.Missing, s.Waiting.Images[n])
		case found.err != nil:
			s.Waiting.Failed = append(s.Waiting.Failed, found.err.Error())
		}
	}
	return err
}

// String returns one line.
func (w Waiting) String() string {
	switch {
	case w.NotListed != "":
		return "unknown: " + w.NotListed
	case w.Pods == 0:
		return "no pod waits for an image"
	}
	return fmt.Sprintf("%d for %s", w.Pods, doctor.List(w.Images, 3))
}

// evaluate returns the error of pods that wait, with the command that helps.
func (w Waiting) evaluate() (errs []string) {
	switch {
	case len(w.Missing) > 0:
		return []string{fmt.Sprintf("pods wait for images that the registry lacks (%s): copy them: privatelink mirror --config privatelink.yaml --missing", doctor.List(w.Missing, 3))}
	case w.Pods > 0:
		return []string{fmt.Sprintf("%d pods wait for images: see why: privatelink doctor", w.Pods)}
	}
	return nil
}
