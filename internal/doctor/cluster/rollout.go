// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"fmt"
	"regexp"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/castai/privatelink-webhook/internal/doctor"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// rollout finds a new revision whose pods do not become ready. The replicas of the old
// one serve meanwhile.
func (k *checker) rollout(ctx context.Context) doctor.Finding {
	d, err := k.getDeployment(ctx)
	if err != nil {
		return k.requestFailed("reading the Deployment", err)
	}
	pods, err := k.webhookPods(ctx)
	if err != nil {
		return k.requestFailed("listing the webhook's pods", err)
	}
	name := fmt.Sprintf("kubectl -n %s rollout %%s deployment/%s", d.Namespace, d.Name)
	s, want := d.Status, *d.Spec.Replicas
	isSeen := s.ObservedGeneration >= d.Generation
	if isSeen && s.UpdatedReplicas >= want && s.Replicas <= s.UpdatedReplicas {
		return doctor.OKf("%d of %d replicas are of the newest revision", s.UpdatedReplicas, want)
	}
	found := fmt.Sprintf("%d of %d replicas are of the newest revision", s.UpdatedReplicas, want)
	if d.Spec.Paused { // which nothing but the user does
		return doctor.OKf("%s: the rollout is paused", found)
	}
	if refused := refusedReplicas(d); isSeen && refused != "" && !slices.ContainsFunc(pods, func(p corev1.Pod) bool { return !IsReady(p) }) {
		return doctor.Failf(k.restartCommand(), "%s: pods were refused, and are not now, but Kubernetes waits before it tries again", found).With(refused)
	}
	if stuck := stuckReasons(d, pods); isSeen && len(stuck) > 0 {
		return doctor.Failf(fmt.Sprintf(name, "undo")+"\nthen correct the cause, and install again", "%s: the new pods do not become ready", found).With(stuck...)
	}
	return doctor.Warnf(fmt.Sprintf(name, "status"), "%s: the rollout is in progress", found)
}

// refusedReplicas returns why pods of the newest revision were refused, if there is no
// other revision; else "". The controller tries again after up to 1,000 seconds.
// https://pkg.go.dev/k8s.io/client-go/util/workqueue#DefaultTypedControllerRateLimiter
func refusedReplicas(d *appsv1.Deployment) string {
	for _, c := range d.Status.Conditions {
		if c.Type == appsv1.DeploymentReplicaFailure && c.Status == corev1.ConditionTrue && d.Status.Replicas == d.Status.UpdatedReplicas {
			return c.Message
		}
	}
	return ""
}

// stuckReasons returns why the pods of a new revision will not become ready.
func stuckReasons(d *appsv1.Deployment, pods []corev1.Pod) (reasons []string) {
	for _, c := range d.Status.Conditions {
		if c.Type == appsv1.DeploymentProgressing && c.Status == corev1.ConditionFalse || c.Type == appsv1.DeploymentReplicaFailure && c.Status == corev1.ConditionTrue {
			reasons = append(reasons, c.Message)
		}
	}
	for _, p := range pods {
		if !IsReady(p) && p.DeletionTimestamp == nil && isStuck(p) {
			reasons = append(reasons, p.Name+": "+waitReason(p))
		}
	}
	return reasons
}

// isStuck reports whether a pod that is not ready is more than slow.
func isStuck(p corev1.Pod) bool {
	for _, s := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
		if w := s.State.Waiting; s.RestartCount > 0 || w != nil && !slices.Contains([]string{"", "ContainerCreating", "PodInitializing"}, w.Reason) {
			return true
		}
	}
	return slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodScheduled && c.Reason == corev1.PodReasonUnschedulable
	})
}

// versionTag is a tag that tells the version of a release.
var versionTag = regexp.MustCompile(`^v?[0-9]+\.[0-9]+\.[0-9]+`)

// version compares the image with the match conditions, which the check
// webhook-configuration found to be those of this command.
func (k *checker) version(ctx context.Context) doctor.Finding {
	d, err := k.getDeployment(ctx)
	if err != nil {
		return k.requestFailed("reading the Deployment", err)
	}
	image := d.Spec.Template.Spec.Containers[0].Image
	tag := rewrite.SplitReference(image).Tag
	switch {
	case tag == k.Version:
		return doctor.OKf("%s", tag)
	case !versionTag.MatchString(tag):
		return doctor.OKf("the tag of %s does not tell its version", image)
	}
	return doctor.Warnf("install the bundle of one version: "+k.installCommand()+"\nor use the release "+tag+" of this command", "the image is %s, and the match conditions are those of %s", tag, k.Version)
}
