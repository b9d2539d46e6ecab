// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/castai/privatelink-webhook/internal/doctor"
)

func (k *checker) networkPolicy(ctx context.Context) doctor.Finding {
	d, err := k.getDeployment(ctx)
	if err != nil {
		return requestFailed("reading the Deployment", err)
	}
	list, err := k.Client.NetworkingV1().NetworkPolicies(k.Names.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return requestFailed("listing NetworkPolicies in "+k.Names.Namespace, err)
	}
	if d.Spec.Template.Spec.HostNetwork {
		return doctor.OKf("the webhook uses the host network, to which no NetworkPolicy applies")
	}
	var selecting []string
	for _, p := range list.Items {
		if !selects(p, d.Spec.Template.Labels) {
			continue
		}
		selecting = append(selecting, p.Name)
		if slices.ContainsFunc(p.Spec.Ingress, func(r networkingv1.NetworkPolicyIngressRule) bool { return allows(r, servingPort(d)) }) {
			return doctor.OKf("%s allows port %d", p.Name, servingPort(d))
		}
	}
	if len(selecting) == 0 {
		return doctor.OKf("no NetworkPolicy selects the webhook")
	}
	return doctor.Failf(k.installCommand(), "%s select the webhook, and none allows port %d from all addresses", strings.Join(selecting, ", "), servingPort(d))
}

func selects(p networkingv1.NetworkPolicy, podLabels map[string]string) bool {
	s, err := metav1.LabelSelectorAsSelector(&p.Spec.PodSelector)
	return err == nil && s.Matches(labels.Set(podLabels)) && (len(p.Spec.PolicyTypes) == 0 || slices.Contains(p.Spec.PolicyTypes, networkingv1.PolicyTypeIngress))
}

// allows reports whether a rule opens a port to senders outside the cluster,
// which pod and namespace selectors do not match.
func allows(r networkingv1.NetworkPolicyIngressRule, port int32) bool {
	if len(r.From) > 0 && !slices.ContainsFunc(r.From, func(p networkingv1.NetworkPolicyPeer) bool { return p.IPBlock != nil }) {
		return false
	}
	return len(r.Ports) == 0 || slices.ContainsFunc(r.Ports, func(p networkingv1.NetworkPolicyPort) bool {
		if p.Protocol != nil && *p.Protocol != corev1.ProtocolTCP {
			return false
		}
		switch {
		case p.Port == nil:
			return true
		case p.Port.StrVal != "":
			return p.Port.StrVal == "https"
		case p.EndPort != nil:
			return p.Port.IntVal <= port && port <= *p.EndPort
		}
		return p.Port.IntVal == port
	})
}
