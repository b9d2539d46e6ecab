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

func (k *cluster) networkPolicy(ctx context.Context) doctor.Finding {
	d, err := k.theDeployment(ctx)
	if err != nil {
		return unseen("reading the Deployment", err)
	}
	list, err := k.Client.NetworkingV1().NetworkPolicies(k.Names.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return unseen("listing NetworkPolicies in "+k.Names.Namespace, err)
	}
	if d.Spec.Template.Spec.HostNetwork {
		return doctor.OKf("the webhook is on the nodes' network, where none applies")
	}
	var selecting []string
	for _, p := range list.Items {
		if !selects(p, d.Spec.Template.Labels) {
			continue
		}
		selecting = append(selecting, p.Name)
		if slices.ContainsFunc(p.Spec.Ingress, func(r networkingv1.NetworkPolicyIngressRule) bool { return letsIn(r, servingPort(d)) }) {
			return doctor.OKf("%s lets port %d in", p.Name, servingPort(d))
		}
	}
	if len(selecting) == 0 {
		return doctor.OKf("none selects the webhook")
	}
	return doctor.Failf(k.installs(), "%s select the webhook, and none lets port %d in from everywhere", strings.Join(selecting, ", "), servingPort(d))
}

func selects(p networkingv1.NetworkPolicy, of map[string]string) bool {
	s, err := metav1.LabelSelectorAsSelector(&p.Spec.PodSelector)
	return err == nil && s.Matches(labels.Set(of)) && (len(p.Spec.PolicyTypes) == 0 || slices.Contains(p.Spec.PolicyTypes, networkingv1.PolicyTypeIngress))
}

// letsIn tells whether a rule opens a port for senders that no selector of pods
// or namespaces can name: all, or some addresses.
func letsIn(r networkingv1.NetworkPolicyIngressRule, port int32) bool {
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
