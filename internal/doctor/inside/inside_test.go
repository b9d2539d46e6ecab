// SPDX-License-Identifier: Apache-2.0

package inside

import (
	"context"
	"crypto/x509"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/castai/privatelink-webhook/internal/doctor"
	"github.com/castai/privatelink-webhook/internal/doctor/probe"
	"github.com/castai/privatelink-webhook/internal/testutil/fakedns"
)

const (
	apiECR = "api.ecr.us-east-1.amazonaws.com"
	dkrECR = "123456789012.dkr.ecr.us-east-1.amazonaws.com"
	apiCAS = "api.cast.ai"
	grpc   = "grpc.cast.ai"
	charts = "charts.example.com"
	bucket = "prod-us-east-1-starport-layer-bucket.s3.us-east-1.amazonaws.com"
)

// vpc is a network with a DNS server and TLS servers on this machine.
type vpc struct {
	*fakedns.Server
	t      *testing.T
	ca     authority
	routes map[string]string // from an address to a local listener; "" drops packets
	config Config
}

func at(host string) probe.Target { return probe.Target{Host: host, Port: 443} }

func ip(s string) netip.Addr { return netip.MustParseAddr(s) }

func healthy(t *testing.T) *vpc {
	t.Helper()
	names, err := fakedns.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { names.Close() })
	v := &vpc{Server: names, t: t, ca: newAuthority(t, "Amazon"), routes: map[string]string{}}
	v.host(apiECR, "10.0.1.10", "10.0.2.10")
	v.host(dkrECR, "100.64.1.11")
	v.host(apiCAS, "172.16.1.12")
	v.host(grpc, "192.168.1.13", "fd00:ec2::13")
	v.host(bucket, "52.216.0.1")
	v.host(charts, "10.0.3.20")
	v.config = Config{
		ECR: []probe.Target{at(apiECR), at(dkrECR)}, CASTAI: []probe.Target{at(apiCAS), at(grpc)}, S3: []probe.Target{at(bucket)},
		Charts: Charts{Hosts: []probe.Target{at(charts)}, Remedy: "write a chart repository"}, Roots: v.ca.pool(),
	}
	return v
}

// host adds a name with addresses, and a server with its certificate.
func (v *vpc) host(name string, addresses ...string) {
	v.t.Helper()
	v.Answer(name)
	var all []netip.Addr
	server := v.ca.serve(v.t, leaf{name: name})
	for _, a := range addresses {
		all = append(all, ip(a))
		v.routes[a] = server
	}
	v.Answer(name, all...)
}

func (v *vpc) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	to := v.routes[host]
	if to == "" {
		<-ctx.Done() // as a security group drops packets
		return nil, ctx.Err()
	}
	return new(net.Dialer).DialContext(ctx, network, to)
}

// check runs the group, and returns the findings that are not OK.
func (v *vpc) check() map[string]string {
	v.t.Helper()
	p := probe.Prober{Resolver: v.Resolver(), Dial: v.dial, DNS: 2 * time.Second, Connect: 2 * time.Second}
	v.config.Probe = func(ctx context.Context, targets []probe.Target) ([]probe.Result, error) {
		b, err := probe.Encode(p.Run(ctx, targets)) // the report of a pod is encoded
		if err != nil {
			return nil, err
		}
		return probe.Decode(b)
	}
	results, err := doctor.Run(v.t.Context(), Checks(v.config), doctor.Options{Timeout: time.Minute})
	if err != nil {
		v.t.Fatal(err)
	}
	faults := map[string]string{}
	for _, r := range results {
		if r.Status != doctor.OK && r.Cause == "" {
			faults[r.Name] = string(r.Status) + ": " + r.Found
			if r.Remedy == "" {
				v.t.Errorf("%s has no remedy", r.ID())
			}
		}
	}
	return faults
}

func TestHealthyNetworkHasNoFindings(t *testing.T) {
	if diff := cmp.Diff(map[string]string{}, healthy(t).check()); diff != "" {
		t.Error(diff)
	}
}

// The IPv6 addresses of a VPC are global, so that a dual-stack endpoint has one next to its
// private IPv4 address. DNS64 adds one to a name without.
func TestPrivateNamesWithIPv6(t *testing.T) {
	for name, addresses := range map[string][]string{
		"a dual-stack endpoint":       {"10.0.1.10", "2600:1f18::10"},
		"DNS64, both families":        {"10.0.1.10", "64:ff9b::a00:10a"},
		"DNS64, IPv6 alone":           {"64:ff9b::a00:10a"},
		"unique local addresses":      {"fd00:ec2::10"},
		"the shared space, and DNS64": {"64:ff9b::6440:10a"},
	} {
		t.Run(name, func(t *testing.T) {
			v := healthy(t)
			v.host(apiECR, addresses...)
			if diff := cmp.Diff(map[string]string{}, v.check()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestOneCheckFindsEachFault(t *testing.T) {
	for name, tc := range map[string]struct {
		fault func(*vpc)
		check string
		want  string
	}{
		"ECR's name does not exist":             {func(v *vpc) { v.Fail(dkrECR, fakedns.NoSuchName) }, "dns-ecr", "failed: " + dkrECR + " does not exist"},
		"a name without an address":             {func(v *vpc) { v.Answer(grpc) }, "dns-castai", "failed: " + grpc + " does not exist"},
		"CAST AI's name fails":                  {func(v *vpc) { v.Fail(apiCAS, fakedns.ServFail) }, "dns-castai", "failed: " + apiCAS + " could not be resolved"},
		"one name gets no answer":               {func(v *vpc) { v.Fail(apiCAS, fakedns.Silent) }, "dns-castai", "failed: " + apiCAS + " got no answer"},
		"S3's name does not exist":              {func(v *vpc) { v.Fail(bucket, fakedns.NoSuchName) }, "connect-s3", "failed: " + bucket + " does not exist"},
		"DNS is silent":                         {func(v *vpc) { v.FailAll(fakedns.Silent) }, "dns", "failed: DNS answered none of 5 names"},
		"DNS fails":                             {func(v *vpc) { v.FailAll(fakedns.ServFail) }, "dns", "failed: DNS answered none of 5 names"},
		"private DNS of ECR is off":             {func(v *vpc) { v.host(apiECR, "44.213.0.1") }, "dns-ecr", "failed: " + apiECR + " has the public address 44.213.0.1"},
		"one of the addresses is public":        {func(v *vpc) { v.host(grpc, "10.0.1.1", "44.213.0.1") }, "dns-castai", "failed: " + grpc + " has the public address 44.213.0.1"},
		"DNS64 translates a public address":     {func(v *vpc) { v.host(grpc, "64:ff9b::2cd5:1") }, "dns-castai", "failed: " + grpc + " has the public address 44.213.0.1"},
		"addresses of IPv6 alone":               {func(v *vpc) { v.host(grpc, "2600:1f18::1") }, "dns-castai", "unknown: " + grpc + " has the address 2600:1f18::1, and none of IPv4"},
		"private DNS is off, in front of that":  {func(v *vpc) { v.host(grpc, "2600:1f18::1"); v.host(apiCAS, "44.213.0.1") }, "dns-castai", "failed: " + apiCAS + " has the public address 44.213.0.1"},
		"the port is closed":                    {func(v *vpc) { v.routes["100.64.1.11"] = closedPort(v.t) }, "connect-ecr", "failed: " + dkrECR + ":443 refuses connections"},
		"the security group drops":              {func(v *vpc) { v.routes["172.16.1.12"] = "" }, "connect-castai", "failed: " + apiCAS + ":443 does not answer"},
		"a zone is cut off":                     {func(v *vpc) { v.routes["10.0.2.10"] = "" }, "connect-ecr", "warning: all hosts answer, but not on every address"},
		"no route to S3":                        {func(v *vpc) { v.routes["52.216.0.1"] = "" }, "connect-s3", "failed: " + bucket + ":443 does not answer"},
		"a certificate for another name":        {func(v *vpc) { v.routes["172.16.1.12"] = v.ca.serve(v.t, leaf{name: "other.example"}) }, "tls-castai", "failed: " + apiCAS + ":443 has a certificate for other.example"},
		"a certificate that has expired":        {func(v *vpc) { v.routes["172.16.1.12"] = v.ca.serve(v.t, leaf{name: apiCAS, expired: true}) }, "tls-castai", "failed: " + apiCAS + ":443 has a certificate of CN=Amazon that is valid from"},
		"a proxy that intercepts":               {func(v *vpc) { v.routes["100.64.1.11"] = newAuthority(v.t, "Corp Proxy").serve(v.t, leaf{name: dkrECR}) }, "tls-ecr", "failed: " + dkrECR + ":443 has a certificate of an unknown authority, CN=Corp Proxy"},
		"the charts' name does not exist":       {func(v *vpc) { v.Fail(charts, fakedns.NoSuchName) }, "charts", "failed: " + charts + " does not exist"},
		"the chart repository is out of reach":  {func(v *vpc) { v.routes["10.0.3.20"] = "" }, "charts", "failed: " + charts + ":443 does not answer"},
		"a private authority of the charts":     {func(v *vpc) { v.routes["10.0.3.20"] = newAuthority(v.t, "Corp").serve(v.t, leaf{name: charts}) }, "charts", "warning: " + charts + ":443 has a certificate of an unknown authority, CN=Corp"},
		"the operator's objects are forbidden":  {func(v *vpc) { v.config.Charts = Charts{Err: errors.New("clusters is forbidden")} }, "charts", "unknown: clusters is forbidden"},
		"the server does not speak TLS":         {func(v *vpc) { v.routes["172.16.1.12"] = respond(v.t, "SSH-2.0-OpenSSH_9.9\r\n") }, "tls-castai", "failed: " + apiCAS + ":443 does not speak TLS"},
		"the server closes at once":             {func(v *vpc) { v.routes["172.16.1.12"] = respond(v.t, "") }, "tls-castai", "failed: " + apiCAS + ":443 breaks off the TLS handshake"},
		"the server refuses the handshake":      {func(v *vpc) { v.routes["172.16.1.12"] = respond(v.t, "\x15\x03\x03\x00\x02\x02\x28") }, "tls-castai", "failed: " + apiCAS + ":443 refuses the TLS handshake"},
		"the server asks for an older protocol": {func(v *vpc) { v.routes["172.16.1.12"] = respond(v.t, "\x15\x03\x01\x00\x02\x02\x46") }, "tls-castai", "failed: " + apiCAS + ":443 refuses the TLS handshake"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := healthy(t)
			tc.fault(v)
			faults := v.check()
			if len(faults) != 1 || !strings.HasPrefix(faults[tc.check], tc.want) {
				t.Errorf("found %v, want only %s: %q", faults, tc.check, tc.want)
			}
		})
	}
}

// A proxy, and a repository in the cluster, may speak HTTP.
func TestChartsWithoutTLS(t *testing.T) {
	v := healthy(t)
	v.routes["10.0.3.20"] = respond(t, "HTTP/1.1 400 Bad Request\r\n\r\n")
	v.config.Charts.Hosts = []probe.Target{{Host: charts, Port: 8080}}
	if diff := cmp.Diff(map[string]string{}, v.check()); diff != "" {
		t.Error(diff)
	}
	v.config.Charts = Charts{} // without the operator
	if diff := cmp.Diff(map[string]string{}, v.check()); diff != "" {
		t.Error(diff)
	}
}

// An address that the operator cannot use, such as oci://, is the fault of another check.
func TestChartsOfAnUnusableAddress(t *testing.T) {
	k := &checker{Config: Config{Charts: Charts{IsUnusable: true}}}
	if f := k.charts(t.Context()); f.Status != doctor.Skipped || !strings.Contains(f.Found, "cluster/chart-repository") {
		t.Errorf("%v: %s", f.Status, f.Found)
	}
}

func TestTLSIsUnknownWithoutRoots(t *testing.T) {
	v := healthy(t)
	v.config.Roots = x509.NewCertPool()
	const unknown = "unknown: this machine has no root certificates to verify with"
	if diff := cmp.Diff(map[string]string{"tls-ecr": unknown, "tls-castai": unknown}, v.check()); diff != "" {
		t.Error(diff)
	}
}

func TestAllIsSkippedWithoutAProber(t *testing.T) {
	results, err := doctor.Run(t.Context(), Checks(Config{ECR: []probe.Target{at(apiECR)}}), doctor.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if n := doctor.Count(results, doctor.Skipped); n != len(results) || !strings.Contains(results[0].Found, "--probe") {
		t.Errorf("%d of %d skipped: %s", n, len(results), results[0].Found)
	}
}

func TestLocal(t *testing.T) {
	target, err := probe.Parse(newAuthority(t, "Amazon").serve(t, leaf{name: "localhost"}))
	if err != nil {
		t.Fatal(err)
	}
	results, err := Local(t.Context(), []probe.Target{target})
	if err != nil || len(results) != 1 || results[0].TLS == nil || results[0].TLS.Protocol != "TLS 1.3" || len(results[0].TLS.Chain) == 0 {
		t.Errorf("%+v, %v", results, err)
	}
}
