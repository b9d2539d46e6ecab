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

// samples are references of which some rule maps at least one.
var samples = [...]string{"us-docker.pkg.dev/castai-hub/library/agent:doctor", "ghcr.io/castai/images/agent:doctor", "registry.k8s.io/pause:doctor", "busybox:doctor"}

func (k *cluster) rewrite(ctx context.Context) doctor.Finding {
	var sample, want string
	for _, s := range samples {
		if r := k.Rules.Image(s); r.Changed() {
			sample, want = s, r.Target
			break
		}
	}
	if sample == "" {
		return doctor.Unknownf("look at keep in privatelink.yaml", "the configuration keeps every image that was tried, such as %s", samples[0])
	}
	var absent []string
	for _, namespace := range k.Rules.Namespaces() {
		pod, err := k.Client.CoreV1().Pods(namespace).Create(ctx, harmless(namespace, sample), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		switch {
		case apierrors.IsNotFound(err):
			absent = append(absent, namespace)
		case err != nil && notAllowed(err):
			return unseen("sending a pod as a dry run", err)
		case err != nil:
			return doctor.Failf(k.remedyFor(err), "a pod in %s is refused: %v", namespace, err)
		case pod.Spec.Containers[0].Image != want:
			return doctor.Failf("kubectl -n "+k.Names.Namespace+" logs deployment/"+k.Names.Deployment+"\nand compare: privatelink rewrite --config privatelink.yaml "+sample,
				"in %s, %s stays %s; it should become %s", namespace, sample, pod.Spec.Containers[0].Image, want)
		}
	}
	switch {
	case len(absent) == len(k.Rules.Namespaces()):
		return doctor.Finding{Status: doctor.Skipped, Found: "there is no namespace " + strings.Join(absent, ", ") + " yet; to look before onboarding: kubectl create namespace " + absent[0]}
	case len(absent) > 0:
		return doctor.OKf("%s becomes %s; namespaces that do not exist yet: %s", sample, want, strings.Join(absent, ", "))
	}
	return doctor.OKf("%s becomes %s", sample, want)
}

// harmless is a pod that no Pod Security level refuses.
func harmless(namespace, image string) *corev1.Pod {
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

// remedyFor reads what the API server says of a call that failed.
func (k *cluster) remedyFor(err error) string {
	text := err.Error()
	logs := fmt.Sprintf("kubectl -n %s logs deployment/%s", k.Names.Namespace, k.Names.Deployment)
	switch {
	case !strings.Contains(text, "failed calling webhook"):
		return "ask whoever refuses it; what is refused here is a small pod with a restricted security context"
	case strings.Contains(text, "deadline exceeded"), strings.Contains(text, "Timeout"), strings.Contains(text, "timed out"), strings.Contains(text, "no route to host"):
		return "let the control plane reach the webhook: the security group of nodes (and of pods, where they have one) must let the cluster's security group in on the webhook's port, 9443 (host-network: 19443):\n" +
			"aws ec2 authorize-security-group-ingress --group-id NODES --source-group CLUSTER --protocol tcp --port 9443\nWith an overlay CNI: privatelink install --overlay host-network"
	case strings.Contains(text, "Address is not allowed"):
		return "the control plane cannot reach addresses of pods: privatelink install --overlay host-network"
	case strings.Contains(text, "refused"), strings.Contains(text, "no endpoints"):
		return "the replicas do not serve, or the Service leads elsewhere: " + logs
	case strings.Contains(text, "x509"):
		return k.restarts()
	}
	return logs
}
