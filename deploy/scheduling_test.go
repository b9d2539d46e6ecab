// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"os"
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

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

// The images are for Linux, and nodes of Windows may have no taint.
func TestPodsSelectLinuxNodes(t *testing.T) {
	text, err := os.ReadFile("mirror/cronjob.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var mirror batchv1.CronJob
	if err := yaml.UnmarshalStrict(text, &mirror); err != nil {
		t.Fatal(err)
	}
	for name, pod := range map[string]corev1.PodSpec{"the webhook": deployment(t).Spec.Template.Spec, "the mirror": mirror.Spec.JobTemplate.Spec.Template.Spec} {
		if pod.NodeSelector[corev1.LabelOSStable] != string(corev1.Linux) {
			t.Errorf("%s: nodeSelector %v", name, pod.NodeSelector)
		}
	}
}

// The limit of the garbage collector follows that of the container, which overlays and
// values of the chart change.
func TestTheServerKnowsItsMemoryLimit(t *testing.T) {
	for _, e := range deployment(t).Spec.Template.Spec.Containers[0].Env {
		if e.Name == "GOMEMLIMIT" {
			t.Errorf("GOMEMLIMIT=%s stays when the limit is changed", e.Value)
		}
		if e.Name == "PRIVATELINK_MEMORY_LIMIT" && e.ValueFrom != nil && e.ValueFrom.ResourceFieldRef != nil && e.ValueFrom.ResourceFieldRef.Resource == "limits.memory" {
			return
		}
	}
	t.Error("no variable has the memory limit of the container")
}
