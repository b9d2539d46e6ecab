// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/castai/privatelink-webhook/internal/doctor"
)

// samples are references, at least one of which every configuration is expected
// to map.
var samples = [...]string{"us-docker.pkg.dev/castai-hub/library/agent:doctor", "ghcr.io/castai/images/agent:doctor", "registry.k8s.io/pause:doctor", "busybox:doctor"}

func (k *checker) rewrite(ctx context.Context) doctor.Finding {
	var sample, want string
	for _, s := range samples {
		if r := k.Rules.Image(s); r.Changed() {
			sample, want = s, r.Target
			break
		}
	}
	if sample == "" {
		return doctor.Unknownf("check keep in privatelink.yaml", "the configuration maps none of the sample images, such as %s", samples[0])
	}
	var absent []string
	namespaces, err := k.namespaces(ctx)
	if err != nil {
		return requestFailed("listing namespaces", err)
	}
	for _, namespace := range namespaces {
		pod, err := k.Client.CoreV1().Pods(namespace).Create(ctx, samplePod(namespace, sample), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		switch {
		case apierrors.IsNotFound(err):
			absent = append(absent, namespace)
		case err != nil && isUserForbidden(err):
			return requestFailed("sending a pod as a dry run", err)
		case err != nil:
			return doctor.Failf(k.remedyFor(err), "a pod in %s is refused: %v", namespace, err)
		case pod.Spec.Containers[0].Image != want:
			return doctor.Failf("kubectl -n "+k.Names.Namespace+" logs deployment/"+k.Names.Deployment+"\nand compare with: privatelink rewrite --config privatelink.yaml "+sample,
				"in %s, %s is rewritten to %s instead of %s", namespace, sample, pod.Spec.Containers[0].Image, want)
		}
	}
	switch {
	case len(absent) == len(namespaces):
		return doctor.Skippedf("there is no namespace %s yet; to run the check before onboarding: kubectl create namespace %s", strings.Join(absent, ", "), absent[0])
	case len(absent) > 0:
		return doctor.OKf("%s is rewritten to %s; namespaces that do not exist yet: %s", sample, want, strings.Join(absent, ", "))
	}
	return doctor.OKf("%s is rewritten to %s", sample, want)
}

// samplePod returns a pod that complies with every Pod Security level.
func samplePod(namespace, image string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "privatelink-doctor-", Namespace: namespace},
		Spec: corev1.PodSpec{
			AutomountServiceAccountToken: new(false),
			SecurityContext:              &corev1.PodSecurityContext{RunAsNonRoot: new(true), RunAsUser: new(int64(65532)), SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}},
			Containers: []corev1.Container{{Name: "doctor", Image: image, SecurityContext: &corev1.SecurityContext{
				AllowPrivilegeEscalation: new(false), ReadOnlyRootFilesystem: new(true), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
			}}},
		},
	}
}

// remedyFor selects a remedy by the API server's error message.
func (k *checker) remedyFor(err error) string {
	text := err.Error()
	logs := fmt.Sprintf("kubectl -n %s logs deployment/%s", k.Names.Namespace, k.Names.Deployment)
	switch {
	case !strings.Contains(text, "failed calling webhook"):
		return "correct the webhook or policy in the message: it refuses a small pod with a restricted security context"
	case strings.Contains(text, "deadline exceeded"), strings.Contains(text, "Timeout"), strings.Contains(text, "timed out"), strings.Contains(text, "no route to host"):
		return "allow the control plane to reach the webhook: the security group of the nodes (and of pods that have one) must allow the webhook's port, 9443 (host-network: 19443), from the cluster's security group:\n" +
			"aws ec2 authorize-security-group-ingress --group-id NODES --source-group CLUSTER --protocol tcp --port 9443\nWith an overlay CNI: privatelink install --overlay host-network"
	case strings.Contains(text, "Address is not allowed"):
		return "the control plane cannot reach pod addresses: privatelink install --overlay host-network"
	case strings.Contains(text, "refused"), strings.Contains(text, "no endpoints"):
		return "the replicas do not serve, or the Service selects others: " + logs
	case strings.Contains(text, "x509"):
		return k.restartCommand()
	}
	return logs
}
