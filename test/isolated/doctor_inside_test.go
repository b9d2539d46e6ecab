// SPDX-License-Identifier: Apache-2.0

//go:build linux && isolated

package isolated

import (
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os/exec"
	"testing"

	"github.com/castai/privatelink-webhook/internal/testutil/fakedns"
	"github.com/castai/privatelink-webhook/test/isolated/ecr"
)

// vpcEndpoints is the network of a pod in the customer's VPC: a resolver, and
// endpoints for the names that it resolves.
type vpcEndpoints struct {
	dns   *fakedns.Server
	ca    []byte
	names []string
}

// The addresses of the endpoints, in addition to that of ECR.
const endpoints, s3 = "10.201.0.1", "10.201.0.2"

// castai are CAST AI's hosts.
var castai = []string{"api.cast.ai", "grpc.cast.ai", "api-grpc.cast.ai", "kvisor.prod-master.cast.ai", "telemetry.prod-master.cast.ai"}

// clusterDNS points the cluster's resolver, usually CoreDNS, at the fake.
const clusterDNS = `apiVersion: v1
kind: Service
metadata: {name: kube-dns, namespace: kube-system}
spec:
  clusterIP: 10.96.0.10
  ports: [{name: dns, port: 53, protocol: UDP}, {name: dns-tcp, port: 53, protocol: TCP}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: kube-dns, namespace: kube-system, labels: {kubernetes.io/service-name: kube-dns}}
addressType: IPv4
endpoints: [{addresses: [10.200.0.1]}]
ports: [{name: dns, port: 53, protocol: UDP}, {name: dns-tcp, port: 53, protocol: TCP}]
`

// startVPCEndpoints starts them. They end with the test.
func startVPCEndpoints(t *testing.T) *vpcEndpoints {
	t.Helper()
	s := &vpcEndpoints{names: append([]string{"api.ecr.us-east-1.amazonaws.com"}, castai...)}
	for _, a := range []string{endpoints, s3} {
		if out, err := exec.CommandContext(testCtx, "ip", "address", "replace", a+"/32", "dev", "lo").CombinedOutput(); err != nil {
			t.Fatalf("ip address replace: %v: %s", err, out)
		}
	}
	var err error
	if s.dns, err = fakedns.Start(address + ":53"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.dns.Close() })
	s.resolve()
	leaf, ca, _, err := ecr.Certify(s.names)
	if err != nil {
		t.Fatal(err)
	}
	s.ca = ca
	listen(t, endpoints, leaf)
	listen(t, s3, leaf)
	kubectl(t, clusterDNS, "apply", "-f", "-")
	t.Cleanup(func() { kubectl(t, clusterDNS, "delete", "-f", "-") })
	return s
}

// resolve restores the correct answer for all names.
func (s *vpcEndpoints) resolve() {
	s.dns.FailAll(0)
	for _, name := range s.names {
		s.dns.Answer(name, netip.MustParseAddr(endpoints))
	}
	s.dns.Answer(n.Strict.Host(), netip.MustParseAddr(address))
	s.dns.Answer("prod-us-east-1-starport-layer-bucket.s3.us-east-1.amazonaws.com", netip.MustParseAddr(s3))
}

// listen serves TLS at an address, port 443, until the test ends.
func listen(t *testing.T, at string, leaf tls.Certificate) {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(at, "443"))
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	_ = server.Listener.Close()
	server.Listener, server.TLS = l, tlsOf(leaf)
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // only handshakes matter
	server.StartTLS()
	t.Cleanup(server.Close)
}

// insideFaults are those of DNS, TCP and TLS inside a pod.
func (s *vpcEndpoints) insideFaults() []fault {
	return []fault{
		{"a name of CAST AI does not resolve", "inside/dns-castai", "grpc.cast.ai", "private", func(*testing.T) func() {
			s.dns.Fail("grpc.cast.ai", fakedns.NoSuchName)
			return s.resolve
		}},
		{"CAST AI resolves to a public address", "inside/dns-castai", "203.0.113.7", "private", func(*testing.T) func() {
			s.dns.Answer("api.cast.ai", netip.MustParseAddr("203.0.113.7"))
			return s.resolve
		}},
		{"ECR resolves to a public address", "inside/dns-ecr", "203.0.113.8", "private", func(*testing.T) func() {
			s.dns.Answer("api.ecr.us-east-1.amazonaws.com", netip.MustParseAddr("203.0.113.8"))
			return s.resolve
		}},
		{"the cluster's DNS is silent", "inside/dns", "", "CoreDNS", func(*testing.T) func() {
			s.dns.FailAll(fakedns.Silent)
			return s.resolve
		}},
		{"port 443 of CAST AI's endpoint closed", "inside/connect-castai", "telemetry.prod-master.cast.ai", "443", func(t *testing.T) func() {
			s.dns.Answer("telemetry.prod-master.cast.ai", netip.MustParseAddr("10.201.0.9"))
			if out, err := exec.CommandContext(testCtx, "ip", "address", "add", "10.201.0.9/32", "dev", "lo").CombinedOutput(); err != nil {
				t.Fatalf("ip address add: %v: %s", err, out)
			}
			return s.resolve
		}},
		{"no route to S3", "inside/connect-s3", "starport", "gateway endpoint", func(t *testing.T) func() {
			firewall(t, "add table inet nos3\nadd chain inet nos3 forward { type filter hook input priority 0; }\nadd rule inet nos3 forward ip daddr "+s3+" drop\n")
			return func() { firewall(t, "delete table inet nos3\n") }
		}},
		{"TLS to CAST AI is intercepted", "inside/tls-castai", "api.cast.ai", "", func(t *testing.T) func() {
			leaf, _, _, err := ecr.Certify([]string{"api.cast.ai"})
			if err != nil {
				t.Fatal(err)
			}
			const proxy = "10.201.0.3"
			if out, err := exec.CommandContext(testCtx, "ip", "address", "add", proxy+"/32", "dev", "lo").CombinedOutput(); err != nil {
				t.Fatalf("ip address add: %v: %s", err, out)
			}
			listen(t, proxy, leaf)
			s.dns.Answer("api.cast.ai", netip.MustParseAddr(proxy))
			return s.resolve
		}},
	}
}
