// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/klog/v2"

	"github.com/castai/privatelink-webhook/internal/doctor"
)

func (k *checker) replicas(ctx context.Context) doctor.Finding {
	d, err := k.getDeployment(ctx)
	where := objectName("Deployment", k.Names.Namespace, k.Names.Deployment)
	switch {
	case apierrors.IsNotFound(err):
		return doctor.Failf(k.installCommand(), "there is no %s", where)
	case err != nil:
		return k.requestFailed("reading the "+where, err)
	}
	pods, err := k.webhookPods(ctx)
	if err != nil {
		return k.requestFailed("listing the webhook's pods", err)
	}
	want, ready, nodes := *d.Spec.Replicas, 0, map[string]bool{}
	var waiting []string
	for _, p := range pods {
		if IsReady(p) {
			ready++
			nodes[p.Spec.NodeName] = true
		} else if p.DeletionTimestamp == nil {
			waiting = append(waiting, p.Name+": "+waitReason(p))
		}
	}
	describe := fmt.Sprintf("kubectl -n %s describe pods -l %s", d.Namespace, metav1.FormatLabelSelector(d.Spec.Selector))
	switch {
	case want == 0:
		return doctor.Failf(k.scaleCommand(), "the Deployment is scaled to 0")
	case ready == 0:
		return doctor.Failf(describe, "none of %d replicas is ready", want).With(waiting...)
	case ready < int(want):
		return doctor.Warnf(describe, "%d of %d replicas are ready", ready, want).With(waiting...)
	case want == 1:
		return doctor.Warnf(k.scaleCommand(), "there is only one replica: while it is rescheduled, pods are refused")
	}
	if len(nodes) == 1 {
		all, err := k.Client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
		if err != nil {
			return k.requestFailed("listing nodes", err)
		}
		if slices.ContainsFunc(all.Items, func(n corev1.Node) bool { return !nodes[n.Name] && canRun(n, d.Spec.Template.Spec) }) {
			return doctor.Warnf(k.restartCommand(), "all %d replicas are on one node", ready)
		}
		return doctor.OKf("%d of %d ready, on the only node that can run them", ready, want)
	}
	return doctor.OKf("%d of %d ready, on %d nodes", ready, want, len(nodes))
}

// IsReady reports whether a pod is ready and not being deleted.
func IsReady(p corev1.Pod) bool {
	return p.DeletionTimestamp == nil && slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// canRun reports whether a replica could be scheduled to a node: one of Linux that is
// ready, has the labels that the pod selects, and no taint that the pod does not tolerate.
// https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/
func canRun(n corev1.Node, pod corev1.PodSpec) bool {
	isReady := slices.ContainsFunc(n.Status.Conditions, func(c corev1.NodeCondition) bool {
		return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
	})
	isSelected := n.Labels[corev1.LabelOSStable] == string(corev1.Linux) && labels.SelectorFromSet(pod.NodeSelector).Matches(labels.Set(n.Labels))
	return isReady && isSelected && !n.Spec.Unschedulable && !slices.ContainsFunc(n.Spec.Taints, func(t corev1.Taint) bool { return repels(t, pod.Tolerations) })
}

// repels reports whether a taint keeps a pod with these tolerations from a node.
func repels(taint corev1.Taint, tolerations []corev1.Toleration) bool {
	return taint.Effect != corev1.TaintEffectPreferNoSchedule && !slices.ContainsFunc(tolerations, func(t corev1.Toleration) bool {
		return t.ToleratesTaint(klog.Background(), &taint, false)
	})
}

// waitReason returns the reason why a pod is not ready.
func waitReason(p corev1.Pod) string {
	for _, s := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
		if w := s.State.Waiting; w != nil {
			return strings.TrimSpace(w.Reason + " " + w.Message)
		}
	}
	for _, c := range p.Status.Conditions {
		if c.Status != corev1.ConditionTrue && c.Message != "" {
			return c.Message
		}
	}
	return string(p.Status.Phase)
}

// defaultPort is that of the bundle, off the host network.
const defaultPort int32 = 9443

// ServingPort returns the number of the port with the name https, to which the control
// plane connects: defaultPort, or another one on the host network.
func ServingPort(d *appsv1.Deployment) int32 {
	for _, c := range d.Spec.Template.Spec.Containers {
		for _, p := range c.Ports {
			if p.Name == "https" {
				return p.ContainerPort
			}
		}
	}
	return defaultPort
}

// hasFlag reports whether a flag of the webhook is set, as an argument or in the
// environment.
func hasFlag(d *appsv1.Deployment, flag string) bool {
	variable := "PRIVATELINK_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
	return slices.ContainsFunc(d.Spec.Template.Spec.Containers, func(c corev1.Container) bool {
		return slices.ContainsFunc(c.Args, func(a string) bool { return a == "--"+flag || strings.HasPrefix(a, "--"+flag+"=") }) ||
			slices.ContainsFunc(c.Env, func(e corev1.EnvVar) bool { return e.Name == variable && (e.Value != "" || e.ValueFrom != nil) })
	})
}

func (k *checker) service(ctx context.Context) doctor.Finding {
	d, err := k.getDeployment(ctx)
	if err != nil {
		return k.requestFailed("reading the Deployment", err)
	}
	where := objectName("Service", k.Names.Namespace, k.Names.Service)
	service, err := k.Client.CoreV1().Services(k.Names.Namespace).Get(ctx, k.Names.Service, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return doctor.Failf(k.installCommand(), "there is no %s", where)
	} else if err != nil {
		return k.requestFailed("reading the "+where, err)
	}
	list, err := k.Client.DiscoveryV1().EndpointSlices(k.Names.Namespace).List(ctx, metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=" + k.Names.Service})
	if err != nil {
		return k.requestFailed("listing its EndpointSlices", err)
	}
	port, ready, ports := ServingPort(d), 0, []string{}
	for _, s := range list.Items {
		hasPort := false
		for _, p := range s.Ports {
			if p.Port != nil {
				hasPort = hasPort || *p.Port == port
				ports = append(ports, fmt.Sprint(*p.Port))
			}
		}
		for _, e := range s.Endpoints {
			if hasPort && e.Conditions.Ready != nil && *e.Conditions.Ready {
				ready += len(e.Addresses)
			}
		}
	}
	switch {
	case ready > 0:
		return doctor.OKf("%d addresses, port %d", ready, port)
	case len(ports) > 0 && !slices.Contains(ports, fmt.Sprint(port)):
		return doctor.Failf(k.installCommand(), "it targets port %s, and the webhook serves on %d", doctor.List(ports, 3), port)
	case len(service.Spec.Selector) > 0 && labels.SelectorFromSet(service.Spec.Selector).Matches(labels.Set(d.Spec.Template.Labels)):
		return doctor.Failf("wait for Kubernetes, which takes seconds: add --wait 1m; if it stays, read the log of kube-controller-manager", "the %s selects the replicas, but its EndpointSlices do not have them", where)
	}
	selector, err := json.Marshal(d.Spec.Selector.MatchLabels)
	if err != nil {
		return k.requestFailed("reading the Deployment's selector", err)
	}
	return doctor.Failf(fmt.Sprintf(`kubectl -n %s patch service %s --type=json -p '[{"op":"replace","path":"/spec/selector","value":%s}]'`, d.Namespace, k.Names.Service, selector), "no ready pod is behind the %s", where)
}
