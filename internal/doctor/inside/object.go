// SPDX-License-Identifier: Apache-2.0

package inside

import (
	"math"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/castai/privatelink-webhook/internal/doctor/probe"
)

const (
	container = "probe"
	// label has the name of the Job. The Job controller's own label was renamed
	// in Kubernetes 1.27.
	label = "privatelink.cast.ai/probe"
)

// job returns the manifest of the Job. Its pod complies with Pod Security
// restricted, has no credentials, and tolerates the same taints as the webhook.
// Its labels are not selected by the webhook's Service and NetworkPolicy. The
// deadline, in which Kubernetes counts whole seconds, and the TTL remove the Job if this
// program cannot.
// https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted
func job(name, namespace, image string, targets []probe.Target, deadline time.Duration) *batchv1.Job {
	labels := map[string]string{
		"app.kubernetes.io/name":    "privatelink-probe",
		"app.kubernetes.io/part-of": "castai-privatelink",
		label:                       name,
	}
	args := []string{"probe"}
	for _, t := range targets {
		args = append(args, t.String())
	}
	return &batchv1.Job{
		TypeMeta:   metav1.TypeMeta{APIVersion: "batch/v1", Kind: "Job"},
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace, Labels: labels},
		Spec: batchv1.JobSpec{
			BackoffLimit:            new(int32(0)),
			ActiveDeadlineSeconds:   new(int64(math.Ceil(deadline.Seconds()))),
			TTLSecondsAfterFinished: new(int32(60)),
			Template:                corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: pod(image, args)},
		},
	}
}

func pod(image string, args []string) corev1.PodSpec {
	return corev1.PodSpec{
		RestartPolicy:                 corev1.RestartPolicyNever,
		NodeSelector:                  map[string]string{corev1.LabelOSStable: "linux"},
		AutomountServiceAccountToken:  new(false),
		EnableServiceLinks:            new(false),
		TerminationGracePeriodSeconds: new(int64(0)),
		SecurityContext: &corev1.PodSecurityContext{
			RunAsNonRoot: new(true), RunAsUser: new(int64(65532)), RunAsGroup: new(int64(65532)),
			SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
		Containers: []corev1.Container{{
			Name: container, Image: image, Args: args, ImagePullPolicy: corev1.PullIfNotPresent,
			Resources: corev1.ResourceRequirements{
				Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("10m"), corev1.ResourceMemory: resource.MustParse("32Mi")},
				Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("64Mi")},
			},
			SecurityContext: &corev1.SecurityContext{
				AllowPrivilegeEscalation: new(false), ReadOnlyRootFilesystem: new(true),
				Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
			},
		}},
		Tolerations: []corev1.Toleration{
			{Key: "scheduling.cast.ai/paused-cluster", Operator: corev1.TolerationOpExists},
			{Key: "CriticalAddonsOnly", Operator: corev1.TolerationOpExists},
		},
	}
}
