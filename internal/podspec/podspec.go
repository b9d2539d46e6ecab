// SPDX-License-Identifier: Apache-2.0

// Package podspec knows the fields of a pod that hold image references.
//
// The webhook scans pods with it, the manifest rewriter walks YAML with it, and
// the admission conditions are generated from it, so that a field that is added
// here is patched, rewritten offline and matched by the API server.
package podspec

// List is one list of a pod spec whose items may carry an image reference.
type List struct {
	// Name is the field of the pod spec, such as "containers".
	Name string
	// Image is the path, inside an item, of the field that holds the reference.
	Image []string
	// Env says that the items have environment variables whose values may be
	// references too (only those that the configuration lists).
	Env bool
	// Subresource is where the list can be changed after the pod was created,
	// empty for the lists that only a creation sets. A pod cannot be created
	// with the lists of a subresource.
	Subresource string
}

// EphemeralContainers is the subresource of pods that `kubectl debug` updates.
const EphemeralContainers = "ephemeralcontainers"

// Lists returns every list of a pod spec that can name images
// (core/v1 PodSpec of Kubernetes 1.37).
func Lists() []List {
	return []List{
		{Name: "initContainers", Image: []string{"image"}, Env: true},
		{Name: "containers", Image: []string{"image"}, Env: true},
		{Name: "ephemeralContainers", Image: []string{"image"}, Subresource: EphemeralContainers},
		{Name: "volumes", Image: []string{"image", "reference"}},
	}
}

// MirrorPodAnnotation marks the API object that a kubelet makes of a static
// pod. It mirrors a file on the node, so changing it changes nothing.
const MirrorPodAnnotation = "kubernetes.io/config.mirror"

// OriginalImages is the annotation in which the webhook records the original image
// references of a pod: a JSON object that maps a location to a reference.
const OriginalImages = "privatelink.cast.ai/original-images"

// Template returns the path from an object of the kind to its pod spec, nil for
// a kind that has none. Kinds of other API groups that embed a pod template
// do so at spec.template.spec by convention; the caller recognizes them by their
// containers.
func Template(kind string) []string {
	switch kind {
	case "Pod":
		return []string{"spec"}
	case "PodTemplate":
		return []string{"template", "spec"}
	case "CronJob":
		return []string{"spec", "jobTemplate", "spec", "template", "spec"}
	case "ConfigMap", "Secret", "Service", "Namespace", "":
		return nil
	}
	return []string{"spec", "template", "spec"}
}
