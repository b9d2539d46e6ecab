// SPDX-License-Identifier: Apache-2.0

package live

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// Release is a Helm release. Its values may be secrets: they render a chart, and are
// neither kept nor printed.
type Release struct {
	Namespace, Name string
	Chart, Version  string
	Values          map[string]any // of the user, without the chart's defaults
}

// Releases returns the Helm releases in the namespaces of the rules, in the revision that
// is deployed, or in the last one.
func Releases(ctx context.Context, client kubernetes.Interface, rules *rewrite.Rules) (all []Release, err error) {
	err = readAll(ctx, client, rules, func(namespace string) []source {
		var kept releases
		s := kept.source(client, namespace)
		s.done = func() error {
			for _, name := range kept.names() {
				i, err := installed(kept.current(name))
				if err != nil {
					return err
				}
				all = append(all, i)
			}
			return nil
		}
		return []source{s}
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

func installed(s corev1.Secret) (Release, error) {
	stored, err := decode(s.Data["release"])
	if err == nil && (stored.Chart.Metadata.Name == "" || stored.Chart.Metadata.Version == "") {
		err = errors.New("it names no chart")
	}
	if err != nil {
		return Release{}, fmt.Errorf("secret %s/%s is not a release as Helm stores it: %w", s.Namespace, s.Name, err)
	}
	return Release{s.Namespace, s.Labels["name"], stored.Chart.Metadata.Name, stored.Chart.Metadata.Version, stored.Config}, nil
}
