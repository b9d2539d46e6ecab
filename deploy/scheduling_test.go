// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"

	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// deployment returns the Deployment of the bundle.
func deployment(t *testing.T) *appsv1.Deployment {
	t.Helper()
	objects, err := Objects(Options{Rules: rules(t, rewrite.Config{})})
	if err != nil {
		t.Fatal(err)
	}
	for _, object := range objects {
		if d, ok := object.(*appsv1.Deployment); ok {
			return d
		}
	}
	t.Fatal("the bundle has no Deployment")
	return nil
}

// The pods of a rolling update are spread over zones and nodes without regard to those
// that they replace.
func TestTheReplicasOfOneVersionAreSpread(t *testing.T) {
	constraints := deployment(t).Spec.Template.Spec.TopologySpreadConstraints
	for _, c := range constraints {
		if !slices.Contains(c.MatchLabelKeys, appsv1.DefaultDeploymentUniqueLabelKey) {
			t.Errorf("%s: pods of other versions count", c.TopologyKey)
		}
	}
	if len(constraints) != 2 {
		t.Errorf("%d constraints", len(constraints))
	}
}
