// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/castai/privatelink-webhook/internal/doctor"
)

// Two replicas on one node are a fault only if another node can run one of them.
func TestReplicasOnOneNode(t *testing.T) {
	node := func(name string, change func(*corev1.Node)) *corev1.Node {
		n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{corev1.LabelOSStable: "linux", "pool": "system"}}}
		n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
		change(n)
		return n
	}
	tainted := func(key string, effect corev1.TaintEffect) func(*corev1.Node) {
		return func(n *corev1.Node) { n.Spec.Taints = []corev1.Taint{{Key: key, Value: "true", Effect: effect}} }
	}
	unchanged := func(*corev1.Node) {}
	labels := map[string]string{"app": "webhook"}
	d := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: "castai-privatelink", Name: "privatelink-webhook"},
		Spec: appsv1.DeploymentSpec{Replicas: new(int32(2)), Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{
			NodeSelector: map[string]string{"pool": "system"}, Tolerations: []corev1.Toleration{{Key: "CriticalAddonsOnly", Operator: corev1.TolerationOpExists}},
		}}},
	}
	replica := func(name string) *corev1.Pod {
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: d.Namespace, Name: name, Labels: labels}, Spec: corev1.PodSpec{NodeName: "a"},
			Status: corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}}}
	}
	for name, tc := range map[string]struct {
		first, second func(*corev1.Node)
		want          doctor.Status
	}{
		"another node":                           {unchanged, unchanged, doctor.Warning},
		"a node with a taint that is tolerated":  {unchanged, tainted("CriticalAddonsOnly", corev1.TaintEffectNoSchedule), doctor.Warning},
		"a node with a taint that is a wish":     {unchanged, tainted("gpu", corev1.TaintEffectPreferNoSchedule), doctor.Warning},
		"another node, and the first is drained": {func(n *corev1.Node) { n.Spec.Unschedulable = true }, unchanged, doctor.Warning},
		"a node with a taint":                    {unchanged, tainted("gpu", corev1.TaintEffectNoSchedule), doctor.OK},
		"a node with a taint that evicts":        {unchanged, tainted("gpu", corev1.TaintEffectNoExecute), doctor.OK},
		"a Windows node":                         {unchanged, func(n *corev1.Node) { n.Labels[corev1.LabelOSStable] = "windows" }, doctor.OK},
		"a node that is not selected":            {unchanged, func(n *corev1.Node) { n.Labels["pool"] = "apps" }, doctor.OK},
		"a node that is drained":                 {unchanged, func(n *corev1.Node) { n.Spec.Unschedulable = true }, doctor.OK},
		"a node that is not ready":               {unchanged, func(n *corev1.Node) { n.Status.Conditions = nil }, doctor.OK},
	} {
		t.Run(name, func(t *testing.T) {
			k := newChecker(t, "https://127.0.0.1:1")
			k.Client = fake.NewClientset(d, replica("one"), replica("two"), node("a", tc.first), node("b", tc.second))
			if f := k.replicas(t.Context()); f.Status != tc.want || !strings.Contains(f.Found, "one node") && !strings.Contains(f.Found, "only node") {
				t.Errorf("%+v", f)
			}
		})
	}
}
