// SPDX-License-Identifier: Apache-2.0

package status

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"k8s.io/client-go/kubernetes"

	"github.com/castai/privatelink-webhook/internal/catalog"
	"github.com/castai/privatelink-webhook/internal/catalog/live"
	"github.com/castai/privatelink-webhook/internal/exitcode"
	"github.com/castai/privatelink-webhook/internal/registry"
	"github.com/castai/privatelink-webhook/internal/registry/awsecr"
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
func (s *Status) gatherWaiting(ctx context.Context, client kubernetes.Interface, o Options) error {
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
	ecr, _, err := awsecr.Connect(ctx, awsecr.ConnectOptions{Profile: o.Profile, UserAgent: o.UserAgent})
	if err != nil {
		return exitcode.AsUsage(err)
	}
	s.Waiting.lookUp(ctx, ecr)
	return nil
}

// lookUp looks the images up in the registry.
func (w *Waiting) lookUp(ctx context.Context, client *registry.Client) {
	_, errs := resolve(ctx, client, w.Images)
	for n, err := range errs {
		switch {
		case errors.Is(err, registry.ErrNotFound):
			w.Missing = append(w.Missing, w.Images[n])
		case err != nil:
			w.Failed = append(w.Failed, err.Error())
		}
	}
}

// String returns one line.
func (w Waiting) String() string {
	switch {
	case w.NotListed != "":
		return "unknown: " + w.NotListed
	case w.Pods == 0:
		return "no pod waits for an image"
	}
	return fmt.Sprintf("%d for %s", w.Pods, some(w.Images))
}

// evaluate returns the error of pods that wait, with the command that helps.
func (w Waiting) evaluate() (errs []string) {
	switch {
	case len(w.Missing) > 0:
		return []string{fmt.Sprintf("pods wait for images that the registry lacks (%s); copy them: privatelink mirror --config privatelink.yaml --missing", some(w.Missing))}
	case w.Pods > 0:
		return []string{fmt.Sprintf("%d pods wait for images; see why: privatelink doctor", w.Pods)}
	}
	return nil
}

// some joins the first three names.
func some(names []string) string {
	line := strings.Join(names[:min(3, len(names))], ", ")
	if n := len(names) - 3; n > 0 {
		line += fmt.Sprintf(" and %d more", n)
	}
	return line
}
