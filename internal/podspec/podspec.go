// SPDX-License-Identifier: Apache-2.0

// Package podspec knows the fields of a pod that hold image references.
//
// The webhook scans pods with it, the manifest rewriter walks YAML with it, and
// the admission conditions are generated from it, so that a field that is added
// here is patched, rewritten offline and matched by the API server.
package podspec

import (
	"slices"
	"strings"
)

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
// references of a pod: a JSON object that maps a location, as of ImageField.Location,
// to a reference. A pod in which nothing was rewritten does not have it.
const OriginalImages = "privatelink.cast.ai/original-images"

// Template returns the path from an object of the kind to its pod spec, nil for a
// kind that has none. isCustom reports a custom resource, whose fields are not
// known here. The group counts as well as the kind: a Service of
// serving.knative.dev has a pod template.
func Template(apiVersion, kind string) (path []string, isCustom bool) {
	switch {
	case apiVersion != "" && !isBuiltIn(group(apiVersion)):
		return nil, !hasPatterns(group(apiVersion))
	case kind == "Pod":
		return []string{"spec"}, false
	case kind == "PodTemplate":
		return []string{"template", "spec"}, false
	case kind == "CronJob":
		return []string{"spec", "jobTemplate", "spec", "template", "spec"}, false
	case slices.Contains([]string{"Deployment", "DaemonSet", "StatefulSet", "ReplicaSet", "ReplicationController", "Job"}, kind):
		return []string{"spec", "template", "spec"}, false
	}
	// Without apiVersion only the kind can tell.
	return nil, apiVersion == "" && !slices.Contains([]string{"ConfigMap", "Secret", "CustomResourceDefinition", ""}, kind)
}

// isBuiltIn reports whether kube-apiserver itself serves the group. The kinds of these
// groups are known, so that nothing in them is taken for a container that is none:
// the schema in a CustomResourceDefinition, the data of a ConfigMap.
func isBuiltIn(group string) bool {
	return slices.Contains([]string{
		"", "admission.k8s.io", "admissionregistration.k8s.io", "apiextensions.k8s.io", "apiregistration.k8s.io", "apps", "authentication.k8s.io",
		"authorization.k8s.io", "autoscaling", "batch", "certificates.k8s.io", "coordination.k8s.io", "discovery.k8s.io", "events.k8s.io", "extensions",
		"flowcontrol.apiserver.k8s.io", "imagepolicy.k8s.io", "internal.apiserver.k8s.io", "lifecycle.k8s.io", "networking.k8s.io", "node.k8s.io", "policy",
		"rbac.authorization.k8s.io", "resource.k8s.io", "scheduling.k8s.io", "storage.k8s.io", "storagemigration.k8s.io",
	}, group)
}

// hasPatterns reports whether the containers in resources of the group are patterns
// of containers, such as image: "!*:latest".
// https://kyverno.io/docs/policy-types/cluster-policy/validate/
func hasPatterns(group string) bool {
	return group == "kyverno.io" || strings.HasSuffix(group, ".kyverno.io")
}
