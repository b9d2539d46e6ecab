// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/castai/privatelink-webhook/internal/doctor"
)

func (k *checker) networkPolicy(ctx context.Context) doctor.Finding {
	d, err := k.getDeployment(ctx)
	if err != nil {
		return k.requestFailed("reading the Deployment", err)
	}
	list, err := k.Client.NetworkingV1().NetworkPolicies(k.Names.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return k.requestFailed("listing NetworkPolicies in "+k.Names.Namespace, err)
	}
	if d.Spec.Template.Spec.HostNetwork {
		return doctor.OKf("the webhook uses the host network, to which no NetworkPolicy applies")
	}
	ingress, egress := selecting(list.Items, d.Spec.Template.Labels)
	port := servingPort(d)
	if len(ingress) > 0 && !slices.ContainsFunc(ingress, func(p networkingv1.NetworkPolicy) bool {
		return slices.ContainsFunc(p.Spec.Ingress, func(r networkingv1.NetworkPolicyIngressRule) bool { return allows(r, port) })
	}) {
		return doctor.Failf(k.installCommand(), "%s select the webhook, and none allows port %d from all addresses", policyNames(ingress), port)
	}
	return k.egress(ctx, egress)
}

// egress checks the policies that limit the connections of the webhook.
func (k *checker) egress(ctx context.Context, policies []networkingv1.NetworkPolicy) doctor.Finding {
	isSelfManaged, err := k.isSelfManaged(ctx)
	switch {
	case err != nil:
		return k.requestFailed("reading the Deployment", err)
	case len(policies) == 0, !isSelfManaged: // with certificates from files it connects to nothing
		return doctor.OKf("the webhook's port is open")
	}
	server, err := k.apiServerAddresses(ctx)
	if err != nil {
		return k.requestFailed("reading the addresses of the API server", err)
	}
	for _, p := range policies {
		for _, r := range p.Spec.Egress {
			if allowsEgress(r, server) {
				return doctor.OKf("the webhook's port is open; %s allows the API server", p.Name)
			}
		}
	}
	return doctor.Failf(k.installCommand(), "%s select the webhook, and none allows it to connect to the API server", policyNames(policies)).With(server.String())
}

// selecting returns the policies that limit connections to pods with these labels, and
// those that limit connections from them.
func selecting(policies []networkingv1.NetworkPolicy, podLabels map[string]string) (ingress, egress []networkingv1.NetworkPolicy) {
	for _, p := range policies {
		s, err := metav1.LabelSelectorAsSelector(&p.Spec.PodSelector)
		if err != nil || !s.Matches(labels.Set(podLabels)) {
			continue
		}
		if len(p.Spec.PolicyTypes) == 0 || slices.Contains(p.Spec.PolicyTypes, networkingv1.PolicyTypeIngress) {
			ingress = append(ingress, p)
		}
		if slices.Contains(p.Spec.PolicyTypes, networkingv1.PolicyTypeEgress) { // the API server adds it if there are rules
			egress = append(egress, p)
		}
	}
	return ingress, egress
}

func policyNames(policies []networkingv1.NetworkPolicy) string {
	var names []string
	for _, p := range policies {
		names = append(names, p.Name)
	}
	return strings.Join(names, ", ")
}

// endpoints are addresses and a port.
type endpoints struct {
	addresses []netip.Addr
	port      int32
}

func (e endpoints) String() string {
	return fmt.Sprintf("the API server is %v, port %d", e.addresses, e.port)
}

// apiServerAddresses returns where pods reach the API server: policies are evaluated
// for the addresses behind a Service.
func (k *checker) apiServerAddresses(ctx context.Context) (e endpoints, err error) {
	list, err := k.Client.DiscoveryV1().EndpointSlices(metav1.NamespaceDefault).List(ctx, metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=kubernetes"})
	if err != nil {
		return e, err
	}
	e.port = 443
	for _, s := range list.Items {
		for _, p := range s.Ports {
			if p.Port != nil {
				e.port = *p.Port
			}
		}
		for _, endpoint := range s.Endpoints {
			for _, a := range endpoint.Addresses {
				if address, err := netip.ParseAddr(a); err == nil {
					e.addresses = append(e.addresses, address)
				}
			}
		}
	}
	return e, nil
}

// allowsEgress reports whether a rule opens the port of the API server, at one of its
// addresses. Selectors of pods and namespaces do not match it.
func allowsEgress(r networkingv1.NetworkPolicyEgressRule, server endpoints) bool {
	if len(r.To) > 0 && !slices.ContainsFunc(r.To, func(p networkingv1.NetworkPolicyPeer) bool { return p.IPBlock != nil && server.isIn(*p.IPBlock) }) {
		return false
	}
	return hasPort(r.Ports, "", server.port) || hasPort(r.Ports, "", 443)
}

func (e endpoints) isIn(block networkingv1.IPBlock) bool {
	contains := func(cidr string, a netip.Addr) bool {
		prefix, err := netip.ParsePrefix(cidr)
		return err == nil && prefix.Contains(a)
	}
	return slices.ContainsFunc(e.addresses, func(a netip.Addr) bool {
		return contains(block.CIDR, a) && !slices.ContainsFunc(block.Except, func(except string) bool { return contains(except, a) })
	})
}

// allows reports whether a rule opens a port to senders outside the cluster,
// which pod and namespace selectors do not match.
func allows(r networkingv1.NetworkPolicyIngressRule, port int32) bool {
	if len(r.From) > 0 && !slices.ContainsFunc(r.From, func(p networkingv1.NetworkPolicyPeer) bool { return p.IPBlock != nil }) {
		return false
	}
	return hasPort(r.Ports, "https", port)
}

// hasPort reports whether the ports of a rule contain a TCP port, by its number or by
// the name that it has in the pod.
func hasPort(ports []networkingv1.NetworkPolicyPort, name string, port int32) bool {
	return len(ports) == 0 || slices.ContainsFunc(ports, func(p networkingv1.NetworkPolicyPort) bool {
		if p.Protocol != nil && *p.Protocol != corev1.ProtocolTCP {
			return false
		}
		switch {
		case p.Port == nil:
			return true
		case p.Port.StrVal != "":
			return p.Port.StrVal == name
		case p.EndPort != nil:
			return p.Port.IntVal <= port && port <= *p.EndPort
		}
		return p.Port.IntVal == port
	})
}
