// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/castai/privatelink-webhook/internal/doctor"
)

// A rule with addresses must have those of all API servers, for each direction.
func TestNetworkPolicyOfAddresses(t *testing.T) {
	type blocks []networkingv1.IPBlock
	in := func(cidr string, except ...string) networkingv1.IPBlock {
		return networkingv1.IPBlock{CIDR: cidr, Except: except}
	}
	servers := []string{"10.0.1.7", "10.0.2.7"}
	for name, tc := range map[string]struct {
		servers []string
		blocks  blocks
		want    doctor.Status
	}{
		"the block of the API servers":    {servers, blocks{in("10.0.0.0/16")}, doctor.OK},
		"all addresses":                   {servers, blocks{in("0.0.0.0/0")}, doctor.OK},
		"a block for each API server":     {servers, blocks{in("10.0.1.0/24"), in("10.0.2.7/32")}, doctor.OK},
		"IPv6":                            {[]string{"2600:1f18::7"}, blocks{in("2600:1f18::/56")}, doctor.OK},
		"another block":                   {servers, blocks{in("192.168.0.0/16")}, doctor.Failed},
		"one of two API servers":          {servers, blocks{in("10.0.1.0/24")}, doctor.Failed},
		"a block without the API servers": {servers, blocks{in("10.0.0.0/8", "10.0.0.0/16")}, doctor.Failed},
		"addresses that are not known":    {nil, blocks{in("10.0.0.0/16")}, doctor.Unknown},
	} {
		var peers []networkingv1.NetworkPolicyPeer
		for _, b := range tc.blocks {
			peers = append(peers, networkingv1.NetworkPolicyPeer{IPBlock: &b})
		}
		for direction, spec := range map[string]networkingv1.NetworkPolicySpec{
			"from": {Ingress: []networkingv1.NetworkPolicyIngressRule{{From: peers}}, PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress}},
			"to":   {Egress: []networkingv1.NetworkPolicyEgressRule{{To: peers}}, PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeEgress}},
		} {
			t.Run(direction+" "+name, func(t *testing.T) {
				k := newChecker(t, "https://127.0.0.1:1")
				objects := []runtime.Object{
					&appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: k.Names.Namespace, Name: k.Names.Deployment}},
					&networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: k.Names.Namespace, Name: "theirs"}, Spec: spec},
				}
				for _, address := range tc.servers {
					objects = append(objects, &discoveryv1.EndpointSlice{
						ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, Name: "kubernetes-" + strings.NewReplacer(".", "-", ":", "-").Replace(address), Labels: map[string]string{discoveryv1.LabelServiceName: "kubernetes"}},
						Endpoints:  []discoveryv1.Endpoint{{Addresses: []string{address}}},
						Ports:      []discoveryv1.EndpointPort{{Port: new(int32(443)), Protocol: new(corev1.ProtocolTCP)}},
					})
				}
				k.Client = fake.NewClientset(objects...)
				f := k.networkPolicy(t.Context())
				if f.Status != tc.want || f.Status != doctor.OK && (f.Remedy == "" || !strings.Contains(f.Found, "theirs")) {
					t.Errorf("%+v, want %s", f, tc.want)
				}
			})
		}
	}
}
