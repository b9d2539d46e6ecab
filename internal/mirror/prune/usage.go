// SPDX-License-Identifier: Apache-2.0

package prune

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// podsPerPage bounds the memory for a cluster of any size.
const podsPerPage = 500

// usage is a set of images in use: repository:tag, repository@digest, or a
// repository in which everything is in use.
type usage map[string]bool

func (u usage) protect(repository string) { u[repository] = true }

func (u usage) contains(repository string, c Candidate) bool {
	return u[repository] || u[repository+"@"+c.Digest.String()] ||
		slices.ContainsFunc(c.Tags, func(tag string) bool { return u[repository+":"+tag] })
}

// addPods adds the images of all pods of the cluster.
func (u usage) addPods(ctx context.Context, client kubernetes.Interface) error {
	options := metav1.ListOptions{Limit: podsPerPage}
	for {
		pods, err := client.CoreV1().Pods("").List(ctx, options)
		if err != nil {
			return fmt.Errorf("listing the pods of the cluster: %w", err)
		}
		for _, p := range pods.Items {
			u.addPod(p)
		}
		if options.Continue = pods.Continue; options.Continue == "" {
			return nil
		}
	}
}

// addPod adds the images that the pod names, and the digests that the kubelet
// resolved them to.
func (u usage) addPod(p corev1.Pod) {
	for _, c := range slices.Concat(p.Spec.InitContainers, p.Spec.Containers) {
		u.add(c.Image)
	}
	for _, c := range p.Spec.EphemeralContainers {
		u.add(c.Image)
	}
	for _, v := range p.Spec.Volumes {
		if v.Image != nil {
			u.add(v.Image.Reference)
		}
	}
	for _, s := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses, p.Status.EphemeralContainerStatuses) {
		u.add(s.ImageID)
	}
}

// add adds a reference, with both tag and digest if it has both.
func (u usage) add(text string) {
	ref := rewrite.SplitReference(text)
	if ref.Digest != "" {
		u[ref.Repository+"@"+ref.Digest] = true
	}
	if ref.Digest == "" || ref.Tag != "" {
		u[ref.Repository+":"+cmp.Or(ref.Tag, "latest")] = true
	}
}
