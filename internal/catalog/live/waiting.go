// SPDX-License-Identifier: Apache-2.0

package live

import (
	"context"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/castai/privatelink-webhook/internal/catalog"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// Waiting adds to the list the images that containers in the namespaces of the list's
// rules wait for, and returns the number of their pods.
func Waiting(ctx context.Context, client kubernetes.Interface, into *catalog.List) (pods int, err error) {
	r := newReader(client, into)
	r.aliases = true
	err = readAll(ctx, client, r.rules, func(namespace string) []source {
		return []source{{resource: "pods", namespace: namespace, page: page(client.CoreV1().Pods(namespace).List, func(l *corev1.PodList) []corev1.Pod { return l.Items }, r.waiting)}}
	})
	return r.seen, err
}

// waiting adds the images of the containers of a pod that wait for them.
func (r *reader) waiting(p corev1.Pod) error {
	var waits corev1.PodSpec
	for _, c := range p.Spec.InitContainers {
		if waitsForImage(c.Name, p.Status.InitContainerStatuses) {
			waits.InitContainers = append(waits.InitContainers, corev1.Container{Name: c.Name, Image: c.Image})
		}
	}
	for _, c := range p.Spec.Containers {
		if waitsForImage(c.Name, p.Status.ContainerStatuses) {
			waits.Containers = append(waits.Containers, corev1.Container{Name: c.Name, Image: c.Image})
		}
	}
	for _, c := range p.Spec.EphemeralContainers {
		if waitsForImage(c.Name, p.Status.EphemeralContainerStatuses) {
			waits.EphemeralContainers = append(waits.EphemeralContainers, corev1.EphemeralContainer{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: c.Name, Image: c.Image}})
		}
	}
	if len(waits.InitContainers)+len(waits.Containers)+len(waits.EphemeralContainers) == 0 {
		return nil
	}
	return r.pod(catalog.Pod, "Pod", p.ObjectMeta, corev1.Pod{ObjectMeta: p.ObjectMeta, Spec: waits})
}

// waitsForImage reports whether the kubelet could not pull the image of a container.
// https://github.com/kubernetes/kubernetes/blob/master/pkg/kubelet/images/types.go
func waitsForImage(name string, statuses []corev1.ContainerStatus) bool {
	return slices.ContainsFunc(statuses, func(s corev1.ContainerStatus) bool {
		return s.Name == name && s.State.Waiting != nil && slices.Contains([]string{"ImagePullBackOff", "ErrImagePull", "RegistryUnavailable"}, s.State.Waiting.Reason)
	})
}

// aliasOf returns the public name of a private image that an alias maps to it, for a pod
// without the annotation, or the private image itself.
func aliasOf(rules *rewrite.Rules, image string) string {
	rest, ok := strings.CutPrefix(image, rules.Registry()+"/")
	if !ok {
		return image
	}
	for _, alias := range rewrite.Aliases() {
		if public := alias + "/" + rest; rules.Image(public).Target == image {
			return public
		}
	}
	return image
}
