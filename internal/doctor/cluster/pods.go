// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/castai/privatelink-webhook/internal/doctor"
	"github.com/castai/privatelink-webhook/internal/podspec"
)

func (k *cluster) pods(ctx context.Context) doctor.Finding {
	pods, err := k.theirPods(ctx)
	if err != nil {
		return unseen("listing pods", err)
	}
	var public []string
	remedy := ""
	for _, p := range pods {
		refs, err := k.public(p)
		if err != nil {
			return unseen("reading pod "+p.Name, err)
		}
		if len(refs) == 0 {
			continue
		}
		public = append(public, fmt.Sprintf("%s: %s", named("Pod", p.Namespace, p.Name), doctor.List(refs, 3)))
		if remedy == "" {
			remedy = "have it made anew: " + again(p)
		}
	}
	if len(public) > 0 {
		return doctor.Failf(remedy, "%d of %d pods have public images", len(public), len(pods)).With(public...)
	}
	return doctor.OKf("%d pods, none with a public image", len(pods))
}

// again is the command that makes a pod anew.
func again(p corev1.Pod) string {
	owner := metav1.GetControllerOf(&p)
	switch {
	case owner == nil:
		return fmt.Sprintf("kubectl -n %s get pod %s -o yaml | kubectl replace --force -f -", p.Namespace, p.Name)
	case owner.Kind == "DaemonSet", owner.Kind == "StatefulSet":
		return fmt.Sprintf("kubectl -n %s rollout restart %s/%s", p.Namespace, strings.ToLower(owner.Kind), owner.Name)
	}
	return fmt.Sprintf("kubectl -n %s delete pod %s", p.Namespace, p.Name)
}

// public lists the references of a pod that the rules map elsewhere.
func (k *cluster) public(p corev1.Pod) (refs []string, err error) {
	object, err := json.Marshal(p)
	if err != nil {
		return nil, err
	}
	seen, err := k.scanner.Scan(object)
	if err != nil {
		return nil, err
	}
	if _, static := seen.Annotations[podspec.MirrorPodAnnotation]; static {
		return nil, nil // the API object only shows a file on the node
	}
	for _, i := range seen.Images {
		result := k.Rules.Image(i.Value)
		if i.EnvIndex >= 0 {
			result = k.Rules.EnvValue(i.Value)
		}
		if result.Changed() {
			refs = append(refs, i.Location()+" "+i.Value)
		}
	}
	return refs, nil
}

// waiting are the reasons of a container that waits for its image.
// https://github.com/kubernetes/kubernetes/blob/v1.37.2/pkg/kubelet/images/types.go
func waiting(reason string) bool {
	return slices.Contains([]string{"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError", "RegistryUnavailable", "SignatureValidationFailed"}, reason)
}

func (k *cluster) pulls(ctx context.Context) doctor.Finding {
	pods, err := k.theirPods(ctx)
	if err != nil {
		return unseen("listing pods", err)
	}
	var stuck []string
	remedy := ""
	for _, p := range pods {
		if refs, err := k.public(p); err != nil {
			return unseen("reading pod "+p.Name, err)
		} else if len(refs) > 0 {
			continue // of course it waits
		}
		for _, s := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses, p.Status.EphemeralContainerStatuses) {
			w := s.State.Waiting
			if w == nil || !waiting(w.Reason) {
				continue
			}
			stuck = append(stuck, fmt.Sprintf("%s, container %s, %s: %s %s", named("Pod", p.Namespace, p.Name), s.Name, s.Image, w.Reason, w.Message))
			if remedy == "" {
				remedy = remedyForPull(w.Message)
			}
		}
	}
	if len(stuck) > 0 {
		return doctor.Failf(remedy, "%d containers wait for their images", len(stuck)).With(stuck...)
	}
	return doctor.OKf("none waits")
}

// remedyForPull reads what the container runtime says of a pull that failed.
func remedyForPull(message string) string {
	has := func(words ...string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(message, w) })
	}
	switch {
	case has("no match for platform"): // which goes on with "not found"
		return "the image lacks the node's architecture: privatelink doctor --only registry/platforms"
	case has("not found", "NAME_UNKNOWN", "MANIFEST_UNKNOWN"):
		return "copy it: privatelink mirror --config privatelink.yaml --cluster"
	case has("401", "403", "no basic auth", "unauthorized", "denied", "Forbidden"):
		return "the node may not pull: privatelink doctor --only registry/node-role; for a registry of another account its repositories need a policy that lets this one pull"
	case has("timeout", "no such host", "refused", "unreachable", "deadline exceeded", "no route"):
		return "the node does not reach ECR: privatelink doctor --only network,inside"
	}
	return "kubectl describe pod"
}
