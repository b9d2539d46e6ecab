// SPDX-License-Identifier: Apache-2.0

package inside

import (
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/castai/privatelink-webhook/internal/doctor"
)

// A pod that will not run ends the wait at once, with what to do. One that may still run
// is waited for.
func TestAProbeThatWillNotRun(t *testing.T) {
	for reason, remedy := range map[string]string{
		"CrashLoopBackOff":           "kubectl -n castai-privatelink logs --previous probe-1; use the same release of this command and of the webhook's image, r/webhook:v1",
		"ImagePullBackOff":           "make r/webhook:v1 available to the nodes",
		"ErrImageNeverPull":          "make r/webhook:v1 available to the nodes",
		"CreateContainerConfigError": "kubectl -n castai-privatelink describe pod probe-1",
		"RunContainerError":          "kubectl -n castai-privatelink describe pod probe-1",
		"ContainerCreating":          "",
		"PodInitializing":            "",
	} {
		t.Run(reason, func(t *testing.T) {
			w := watcher{namespace: "castai-privatelink", image: "r/webhook:v1"}
			err := w.updateState(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "probe-1"}, Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{
				{Name: "sidecar", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}}},
				{Name: container, State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: "the kubelet's words"}}},
			}}})
			if remedy == "" {
				if err != nil || !strings.Contains(w.state, reason) {
					t.Errorf("error %v, state %q", err, w.state)
				}
				return
			}
			var told *doctor.Error
			if !errors.As(err, &told) || !strings.Contains(told.Error(), reason+": the kubelet's words") || !strings.Contains(told.Remedy, remedy) {
				t.Errorf("%+v, want the remedy %q", err, remedy)
			}
		})
	}
}
