// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
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
		return k.requestFailed("listing namespaces", err)
	}
	for _, namespace := range namespaces {
		got, err := k.trySample(ctx, namespace, sample)
		switch {
		case apierrors.IsNotFound(err):
			absent = append(absent, namespace)
		case err != nil && isNoRefusal(err):
			return k.requestFailed("sending a pod as a dry run", err)
		case err != nil:
			return doctor.Failf(k.refusalRemedy(ctx, namespace, err.Error()), "a pod in %s is refused: %v", namespace, err)
		case got == sample:
			return doctor.Failf("kubectl -n "+k.Names.Namespace+" logs deployment/"+k.Names.Deployment+"\nand compare with: privatelink explain --namespace "+namespace+" "+sample,
				"in %s, %s is not rewritten", namespace, sample)
		case got != want:
			return k.rewrittenByOther(ctx, namespace, got, want)
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

// trySample sends a pod as a dry run, and returns its image after admission. The pod has
// limits, which quotas may demand, unless a LimitRange refuses these.
func (k *checker) trySample(ctx context.Context, namespace, image string) (string, error) {
	dryRun := metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}
	sample := samplePod(namespace, image)
	pod, err := k.Client.CoreV1().Pods(namespace).Create(ctx, sample, dryRun)
	if err != nil && apierrors.IsForbidden(err) && isLimitRange(err.Error()) {
		sample.Spec.Containers[0].Resources = corev1.ResourceRequirements{}
		pod, err = k.Client.CoreV1().Pods(namespace).Create(ctx, sample, dryRun)
	}
	if err != nil {
		return "", err
	}
	return pod.Spec.Containers[0].Image, nil
}

// rewrittenByOther is the finding for an image that is neither the public one nor that
// of the rules: it names what changed it.
func (k *checker) rewrittenByOther(ctx context.Context, namespace, got, want string) doctor.Finding {
	found := fmt.Sprintf("in %s, the image becomes %s instead of %s", namespace, got, want)
	mutators, err := k.otherMutators(ctx, namespace)
	if err != nil {
		return doctor.Failf("find the policy or webhook that sets it: kubectl get mutatingadmissionpolicies,mutatingwebhookconfigurations", "%s; what else changes pods cannot be read: %v", found, err)
	}
	switch by := changedBy(mutators, got); len(by) {
	case 0:
		return doctor.Failf("the replicas have another configuration than this command: see the check cluster/config, and privatelink status", "%s", found)
	case 1:
		return doctor.Failf(by[0].remedy, "%s, by %s", found, by[0].name)
	default:
		f := doctor.Failf("the first of them that is wrong: "+by[0].remedy, "%s, by one of %d policies and webhooks", found, len(by))
		for _, m := range by {
			f = f.With(m.name)
		}
		return f
	}
}

// isLimitRange reports whether a LimitRange refuses the resources of a pod.
func isLimitRange(message string) bool {
	return outsideRange.MatchString(message) || strings.Contains(message, "max limit to request ratio per")
}

// samplePod returns a pod that complies with every Pod Security level.
func samplePod(namespace, image string) *corev1.Pod {
	resources := corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse("10m"), corev1.ResourceMemory: resource.MustParse("32Mi"), corev1.ResourceEphemeralStorage: resource.MustParse("16Mi"),
	}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "privatelink-doctor-", Namespace: namespace},
		Spec: corev1.PodSpec{
			AutomountServiceAccountToken: new(false),
			SecurityContext:              &corev1.PodSecurityContext{RunAsNonRoot: new(true), RunAsUser: new(int64(65532)), SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}},
			Containers: []corev1.Container{{Name: "doctor", Image: image, Resources: corev1.ResourceRequirements{Requests: resources, Limits: resources}, SecurityContext: &corev1.SecurityContext{
				AllowPrivilegeEscalation: new(false), ReadOnlyRootFilesystem: new(true), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
			}}},
		},
	}
}

// remedyFor selects a remedy by the message with which the API server reports that it
// cannot call the webhook.
func (k *checker) remedyFor(ctx context.Context, message string) string {
	logs := fmt.Sprintf("kubectl -n %s logs deployment/%s", k.Names.Namespace, k.Names.Deployment)
	contains := func(words ...string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(message, w) })
	}
	switch {
	case contains("deadline exceeded", "Timeout", "timed out", "no route to host"):
		port := defaultPort
		if d, err := k.getDeployment(ctx); err == nil {
			port = ServingPort(d)
		}
		return fmt.Sprintf("allow the control plane to reach the webhook: the security group of the nodes (and of pods that have one) must allow the webhook's port, %d, from the cluster's security group:\n"+
			"aws ec2 authorize-security-group-ingress --group-id NODES --source-group CLUSTER --protocol tcp --port %[1]d\nWith an overlay CNI: privatelink install --overlay host-network, or with Helm hostNetwork=true", port)
	case contains("Address is not allowed"):
		return "the control plane cannot reach pod addresses: privatelink install --overlay host-network, or with Helm hostNetwork=true"
	case contains("refused", "no endpoints"):
		return "the replicas do not serve, or the Service selects others: " + logs
	case contains("not found"):
		return k.installCommand()
	case contains("x509"):
		return k.restartCommand()
	}
	return logs
}
