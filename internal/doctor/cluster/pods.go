// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/castai/privatelink-webhook/internal/doctor"
	"github.com/castai/privatelink-webhook/internal/podspec"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

func (k *checker) pods(ctx context.Context) doctor.Finding {
	pods, err := k.castaiPods(ctx)
	if err != nil {
		return k.requestFailed("listing pods", err)
	}
	var details []string
	remedy := ""
	for _, p := range pods {
		public, unmapped, err := k.publicImages(p)
		if err != nil {
			return k.requestFailed("reading pod "+p.Name, err)
		}
		if len(public)+len(unmapped) == 0 {
			continue
		}
		details = append(details, fmt.Sprintf("%s: %s", objectName("Pod", p.Namespace, p.Name), doctor.List(append(public, describe(unmapped)...), 3)))
		switch {
		case remedy != "":
		case len(public) > 0:
			remedy = "recreate the pod: " + recreateCommand(p)
		default:
			remedy = "the image has no name in ECR: correct it in the manifest of the workload, for instance: " + setImageCommand(p, unmapped[0])
		}
	}
	if len(details) > 0 {
		return doctor.Failf(remedy, "%d of %d pods have public images", len(details), len(pods)).With(details...)
	}
	return doctor.OKf("%d pods, none with a public image", len(pods))
}

// unmappedImage is a public image that cannot be mapped.
type unmappedImage struct {
	podspec.ImageField
	reason rewrite.Reason
}

func describe(images []unmappedImage) (texts []string) {
	for _, i := range images {
		texts = append(texts, fmt.Sprintf("%s %s (%s)", i.Location(), i.Value, i.reason.Text()))
	}
	return texts
}

// setImageCommand returns the command that corrects an image of a pod's owner. Hosts are
// the same in lower case.
func setImageCommand(p corev1.Pod, i unmappedImage) string {
	_, container, _ := strings.Cut(i.Location(), "/")
	image := "IMAGE"
	if host, path, ok := strings.Cut(i.Value, "/"); ok && i.reason == rewrite.UppercaseHost {
		image = strings.ToLower(host) + "/" + path
	}
	kind, name := "pod", p.Name
	if owner := metav1.GetControllerOf(&p); owner != nil {
		kind, name = strings.ToLower(owner.Kind), owner.Name
		if hash := p.Labels["pod-template-hash"]; kind == "replicaset" && strings.HasSuffix(name, "-"+hash) {
			kind, name = "deployment", strings.TrimSuffix(name, "-"+hash)
		}
	}
	return fmt.Sprintf("kubectl -n %s set image %s/%s %s=%s", p.Namespace, kind, name, container, image)
}

// recreateCommand returns the command that recreates a pod.
func recreateCommand(p corev1.Pod) string {
	owner := metav1.GetControllerOf(&p)
	switch {
	case owner == nil:
		return fmt.Sprintf("kubectl -n %s get pod %s -o yaml | kubectl replace --force -f -", p.Namespace, p.Name)
	case owner.Kind == "DaemonSet", owner.Kind == "StatefulSet":
		return fmt.Sprintf("kubectl -n %s rollout restart %s/%s", p.Namespace, strings.ToLower(owner.Kind), owner.Name)
	}
	return fmt.Sprintf("kubectl -n %s delete pod %s", p.Namespace, p.Name)
}

// publicImages returns the references of a pod that the rules map to others, and those
// that are public and cannot be mapped.
func (k *checker) publicImages(p corev1.Pod) (public []string, unmapped []unmappedImage, err error) {
	object, err := json.Marshal(p)
	if err != nil {
		return nil, nil, err
	}
	scanned, err := k.scanner.Scan(object)
	if err != nil {
		return nil, nil, err
	}
	if _, static := scanned.Annotations[podspec.MirrorPodAnnotation]; static {
		return nil, nil, nil // the kubelet runs the pod from a file on the node, not from the API object
	}
	for _, i := range scanned.Images {
		result := k.Rules.Image(i.Value)
		if i.EnvIndex >= 0 {
			result = k.Rules.EnvValue(i.Value)
		}
		switch {
		case result.Changed():
			public = append(public, i.Location()+" "+i.Value)
		case result.Outcome == rewrite.Unmapped && i.EnvIndex < 0: // a variable may hold something else
			unmapped = append(unmapped, unmappedImage{i, result.Reason})
		}
	}
	return public, unmapped, nil
}

// isPullFailure reports whether a container with this waiting reason waits for
// its image.
// https://github.com/kubernetes/kubernetes/blob/v1.37.2/pkg/kubelet/images/types.go
func isPullFailure(reason string) bool {
	return slices.Contains([]string{"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError", "RegistryUnavailable", "SignatureValidationFailed"}, reason)
}

func (k *checker) pulls(ctx context.Context) doctor.Finding {
	pods, err := k.castaiPods(ctx)
	if err != nil {
		return k.requestFailed("listing pods", err)
	}
	var stuck []string
	remedy := ""
	for _, p := range pods {
		if public, unmapped, err := k.publicImages(p); err != nil {
			return k.requestFailed("reading pod "+p.Name, err)
		} else if len(public)+len(unmapped) > 0 {
			continue // reported by the check pods
		}
		for _, s := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses, p.Status.EphemeralContainerStatuses) {
			w := s.State.Waiting
			if w == nil || !isPullFailure(w.Reason) {
				continue
			}
			stuck = append(stuck, fmt.Sprintf("%s, container %s, %s: %s %s", objectName("Pod", p.Namespace, p.Name), s.Name, s.Image, w.Reason, w.Message))
			if remedy == "" {
				remedy = remedyForPull(w.Message)
			}
		}
	}
	if len(stuck) > 0 {
		return doctor.Failf(remedy, "%d containers wait for their images", len(stuck)).With(stuck...)
	}
	return doctor.OKf("no container waits")
}

// reference matches references of images and URLs: a word with a host and a path.
var reference = regexp.MustCompile(`\S*[.]\S*/\S*`)

// remedyForPull selects a remedy by the container runtime's error message. The words may
// also be in the names of its images, which do not count.
func remedyForPull(message string) string {
	message = reference.ReplaceAllString(message, "")
	contains := func(words ...string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(message, w) })
	}
	switch {
	case contains("no match for platform"): // this message also contains "not found"
		return "the image is missing for the node's architecture: privatelink doctor --only registry/platforms"
	case contains("not found", "NAME_UNKNOWN", "MANIFEST_UNKNOWN"):
		return "copy it: privatelink mirror --config privatelink.yaml --missing"
	case contains("401 Unauthorized", "403 Forbidden", "no basic auth", "unauthorized", "not authorized", "denied"):
		return "the node has no permission to pull: privatelink doctor --only registry/node-role; repositories in another account need a policy that allows this account to pull"
	case contains("timeout", "no such host", "refused", "unreachable", "deadline exceeded", "no route"):
		return "the node does not reach ECR: privatelink doctor --only network,inside"
	}
	return "kubectl describe pod"
}
