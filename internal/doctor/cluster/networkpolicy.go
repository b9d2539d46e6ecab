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
	port := ServingPort(d)
	if f := k.ingress(ctx, ingress, port); f.Status != doctor.OK {
		return f
	}
	return k.egress(ctx, egress)
}

// ingress checks the policies that limit the connections to the webhook.
func (k *checker) ingress(ctx context.Context, policies []networkingv1.NetworkPolicy, port int32) doctor.Finding {
	senders := ingressPeers(policies, port)
	if len(policies) == 0 || senders.all {
		return doctor.OKf("the webhook's port is open")
	}
	refused := doctor.Failf(k.installCommand(), "%s select the webhook, and none allows port %d from all addresses of the API server", policyNames(policies), port)
	if len(senders.blocks) == 0 {
		return refused
	}
	server, err := k.apiServerAddresses(ctx)
	switch {
	case err != nil:
		return k.requestFailed("reading the addresses of the API server", err)
	case len(server.addresses) == 0:
		return unknownAddresses(policies)
	case senders.include(server):
		return doctor.OKf("the webhook's port is open to the API server")
	}
	return refused.With(server.String())
}

// unknownAddresses is the finding if policies name addresses, and there are none to compare
// them with.
func unknownAddresses(policies []networkingv1.NetworkPolicy) doctor.Finding {
	return doctor.Unknownf("kubectl -n default get endpointslices -l "+discoveryv1.LabelServiceName+"=kubernetes -o yaml: it must list the addresses of the API server",
		"%s select the webhook and limit it to addresses, and those of the API server are not known", policyNames(policies))
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
	switch receivers := egressPeers(policies, server.port); {
	case receivers.all, receivers.include(server):
		return doctor.OKf("the webhook's port is open; the API server is allowed by %s", policyNames(policies))
	case len(receivers.blocks) > 0 && len(server.addresses) == 0:
		return unknownAddresses(policies)
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

// peers are the peers outside the cluster that rules allow. Selectors of pods and
// namespaces match none of them.
type peers struct {
	all    bool
	blocks []networkingv1.IPBlock
}

// add adds the peers of a rule; none means all.
func (p *peers) add(rule []networkingv1.NetworkPolicyPeer) {
	p.all = p.all || len(rule) == 0
	for _, peer := range rule {
		if peer.IPBlock != nil {
			p.blocks = append(p.blocks, *peer.IPBlock)
		}
	}
}

// include reports whether the blocks have every address: any API server may connect, or
// be connected to.
func (p peers) include(e endpoints) bool {
	return len(e.addresses) > 0 && !slices.ContainsFunc(e.addresses, func(a netip.Addr) bool {
		return !slices.ContainsFunc(p.blocks, func(b networkingv1.IPBlock) bool { return isIn(a, b) })
	})
}

func isIn(a netip.Addr, block networkingv1.IPBlock) bool {
	contains := func(cidr string) bool {
		prefix, err := netip.ParsePrefix(cidr)
		return err == nil && prefix.Contains(a)
	}
	return contains(block.CIDR) && !slices.ContainsFunc(block.Except, contains)
}

// ingressPeers returns the peers that may connect to a port of the webhook.
func ingressPeers(policies []networkingv1.NetworkPolicy, port int32) (allowed peers) {
	for _, p := range policies {
		for _, r := range p.Spec.Ingress {
			if hasPort(r.Ports, "https", port) {
				allowed.add(r.From)
			}
		}
	}
	return allowed
}

// egressPeers returns the peers to whose port the webhook may connect. Some network plugins
// evaluate the port of the Service.
func egressPeers(policies []networkingv1.NetworkPolicy, port int32) (allowed peers) {
	for _, p := range policies {
		for _, r := range p.Spec.Egress {
			if hasPort(r.Ports, "", port) || hasPort(r.Ports, "", 443) {
				allowed.add(r.To)
			}
		}
	}
	return allowed
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
