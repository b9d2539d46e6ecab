// SPDX-License-Identifier: Apache-2.0

package prune

import (
	"cmp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// usage is a set of images in use: repository:tag, repository@digest, or a
// repository in which everything is in use.
type usage map[string]bool

func (u usage) protect(repository string) { u[repository] = true }

func (u usage) contains(repository string, c candidate) bool {
	return u[repository] || u[repository+"@"+c.Digest.String()] ||
		slices.ContainsFunc(c.Tags, func(tag string) bool { return u[repository+":"+tag] })
}

// isBelow reports whether an image of the registry is in use.
func (u usage) isBelow(registry string) bool {
	for image := range u {
		if strings.HasPrefix(image, registry+"/") {
			return true
		}
	}
	return false
}

// eachImage calls add with the images that a pod or a pod template names.
func eachImage(s corev1.PodSpec, add func(image string)) {
	for _, c := range slices.Concat(s.InitContainers, s.Containers) {
		add(c.Image)
	}
	for _, c := range s.EphemeralContainers {
		add(c.Image)
	}
	for _, v := range s.Volumes {
		if v.Image != nil {
			add(v.Image.Reference)
		}
	}
}

// addPodStatus adds the digests that the kubelet resolved the images of a pod to.
func (u usage) addPodStatus(s corev1.PodStatus) {
	for _, c := range slices.Concat(s.InitContainerStatuses, s.ContainerStatuses, s.EphemeralContainerStatuses) {
		u.add(c.ImageID)
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
