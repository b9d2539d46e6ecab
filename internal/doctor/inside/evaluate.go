// SPDX-License-Identifier: Apache-2.0

package inside

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/castai/privatelink-webhook/internal/doctor"
	"github.com/castai/privatelink-webhook/internal/doctor/probe"
)

const (
	fixEndpoint = "aws ec2 describe-vpc-endpoints --query 'VpcEndpoints[].[ServiceName,State,PrivateDnsEnabled]': the endpoint must be available with private DNS enabled (Terraform: private_dns_enabled = true), " +
		"and the VPC must have enableDnsSupport and enableDnsHostnames"
	fixIPv6          = "aws ec2 describe-vpcs --query 'Vpcs[].Ipv6CidrBlockAssociationSet[].Ipv6CidrBlock': a block of the VPC must contain the address; if none does, enable private DNS of the endpoint"
	fixSecurityGroup = "allow TCP 443 from the nodes' and pods' subnets in the security group of the endpoint, in the network ACLs and in NetworkPolicies"
	fixZone          = "allow TCP 443 in the security group of the endpoint and in the network ACLs of all subnets of the endpoint"
	fixGateway       = "aws ec2 describe-vpc-endpoints --filters Name=vpc-endpoint-type,Values=Gateway: the gateway endpoint for S3 must be in the route tables of the nodes' subnets (Terraform: route_table_ids), " +
		"and its policy, the security groups and the network ACLs must allow TCP 443 to the prefix list of S3"
	fixDNS = "kubectl -n kube-system get pods -l k8s-app=kube-dns: CoreDNS must be ready and reach the VPC's resolver; a NetworkPolicy that denies egress (kubectl get networkpolicy -A) must allow port 53"
)

// evaluateDNS fails if no name was answered. Faults of single names are
// reported by other checks.
func evaluateDNS(results []probe.Result) doctor.Finding {
	var faults []string
	for _, r := range results {
		if r.DNS.Fault == probe.DNSTimeout || r.DNS.Fault == probe.DNSFailed {
			faults = append(faults, r.Host+": "+r.DNS.Error)
		}
	}
	if len(faults) < len(results) {
		return doctor.OKf("%d of %d names were answered", len(results)-len(faults), len(results))
	}
	return doctor.Failf(fixDNS, "DNS answered none of %d names", len(results)).With(faults...)
}

// evaluatePrivateDNS requires private addresses, as interface endpoints have. The IPv6
// blocks of a VPC are global, so that an IPv6 address of an endpoint looks like a public
// one: next to a private IPv4 address it is that of a dual-stack endpoint.
// https://docs.aws.amazon.com/vpc/latest/privatelink/privatelink-access-aws-services.html
func evaluatePrivateDNS(results []probe.Result) doctor.Finding {
	var faults, unclear, details []string
	for _, r := range results {
		private, public, global := classify(r.Addresses)
		switch {
		case r.DNS.Fault != "":
			faults = append(faults, r.Host+" "+describeDNS(r.DNS.Fault))
			details = append(details, r.Host+": "+r.DNS.Error)
		case len(public) > 0:
			faults = append(faults, r.Host+" has the public address "+public[0].String())
			details = append(details, fmt.Sprintf("%s: %v", r.Host, r.Addresses))
		case len(private) == 0 && len(global) > 0:
			unclear = append(unclear, r.Host+" has the address "+global[0].String()+", and none of IPv4")
			details = append(details, fmt.Sprintf("%s: %v", r.Host, r.Addresses))
		}
	}
	switch {
	case len(faults) > 0:
		return doctor.Failf(fixEndpoint, "%s", doctor.List(faults, 2)).With(details...)
	case len(unclear) > 0:
		return doctor.Unknownf(fixIPv6, "%s: it may be public, or one of the VPC", doctor.List(unclear, 2)).With(details...)
	}
	return doctor.OKf("%d names, all private", len(results))
}

// classify returns the private addresses, the public addresses of IPv4, and the global ones
// of IPv6. An address of DNS64 counts as the IPv4 address that it has.
func classify(addresses []netip.Addr) (private, public, global []netip.Addr) {
	for _, a := range addresses {
		switch a = withoutDNS64(a); {
		case isPrivate(a):
			private = append(private, a)
		case a.Is4():
			public = append(public, a)
		default:
			global = append(global, a)
		}
	}
	return private, public, global
}

// dns64 is the prefix by which the VPC's resolver gives an IPv6 address to a name that has
// none: the last four bytes are the IPv4 address.
// https://docs.aws.amazon.com/vpc/latest/userguide/nat-gateway-nat64-dns64.html
const dns64 = "64:ff9b::/96"

// withoutDNS64 returns the IPv4 address in an address of DNS64, and other addresses as they
// are.
func withoutDNS64(a netip.Addr) netip.Addr {
	if bytes := a.As16(); netip.MustParsePrefix(dns64).Contains(a) {
		return netip.AddrFrom4([4]byte(bytes[12:]))
	}
	return a.Unmap()
}

// isPrivate reports whether an address can be one of a VPC: RFC 1918, the shared
// address space of RFC 6598 for secondary CIDR blocks, and unique local IPv6
// addresses.
func isPrivate(a netip.Addr) bool {
	return a.IsPrivate() || netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64}), 10).Contains(a)
}

func describeDNS(f probe.Fault) string {
	switch f {
	case probe.NoSuchName:
		return "does not exist"
	case probe.DNSTimeout:
		return "got no answer"
	}
	return "could not be resolved"
}

// evaluateInterface evaluates hosts behind interface endpoints, which have one
// address for each zone. Clients try the next address if one does not answer,
// after a delay.
func evaluateInterface(results []probe.Result) doctor.Finding {
	failed, details := unreachable(results)
	if len(failed) > 0 {
		return doctor.Failf(fixSecurityGroup, "%s", doctor.List(failed, 2)).With(details...)
	}
	if len(details) > 0 {
		return doctor.Warnf(fixZone, "all hosts answer, but not on every address: a zone is cut off").With(details...)
	}
	return doctor.OKf("%d hosts answer", len(results))
}

// evaluateGateway evaluates hosts behind a gateway endpoint. One address that
// answers is enough.
func evaluateGateway(results []probe.Result) doctor.Finding {
	failed, details := unreachable(results)
	if len(failed) > 0 {
		return doctor.Failf(fixGateway, "%s", doctor.List(failed, 2)).With(details...)
	}
	return doctor.OKf("%d hosts answer", len(results))
}

// unreachable returns the hosts of which no address answers, and the errors of
// all addresses. An IPv6 address without a route is no error if another address
// answers.
func unreachable(results []probe.Result) (hosts, details []string) {
	for _, r := range results {
		if r.DNS.Fault != "" {
			hosts = append(hosts, r.Host+" "+describeDNS(r.DNS.Fault))
			details = append(details, r.Host+": "+r.DNS.Error)
			continue
		}
		if !r.Connected() && len(r.Dials) > 0 {
			hosts = append(hosts, r.String()+" "+describeTCP(r.Dials[0].Fault))
		} else if !r.Connected() {
			hosts = append(hosts, r.String()+" was not tried")
		}
		for _, d := range r.Dials {
			if d.Fault != "" && !(r.Connected() && d.Fault == probe.Unreachable && d.Address.Is6()) {
				details = append(details, fmt.Sprintf("%s at %s: %s", r.Target, d.Address, d.Error))
			}
		}
	}
	return hosts, details
}

func describeTCP(f probe.Fault) string {
	switch f {
	case probe.Refused:
		return "refuses connections"
	case probe.ConnectTimeout:
		return "does not answer"
	case probe.Unreachable:
		return "is unreachable: there is no route"
	}
	return "does not accept connections"
}

// evaluateTLS verifies the certificates with roots; nil means those of this
// machine.
func evaluateTLS(roots *x509.CertPool) func([]probe.Result) doctor.Finding {
	return func(results []probe.Result) doctor.Finding {
		// Without roots, every certificate would look like that of a proxy.
		pool, err := roots, error(nil)
		if pool == nil {
			pool, err = x509.SystemCertPool()
		}
		if err != nil || pool.Equal(x509.NewCertPool()) {
			return doctor.Unknownf("install the package ca-certificates, or set SSL_CERT_FILE to a file with root certificates", "this machine has no root certificates to verify with")
		}
		var faults, remedies, details []string
		for _, r := range results {
			fault, remedy := verify(r, roots)
			if fault == "" {
				continue
			}
			faults = append(faults, r.String()+" "+fault)
			if !slices.Contains(remedies, remedy) {
				remedies = append(remedies, remedy)
			}
			if r.TLS != nil && r.TLS.Error != "" {
				details = append(details, r.String()+": "+r.TLS.Error)
			}
		}
		if len(faults) > 0 {
			return doctor.Failf(strings.Join(remedies, "\n"), "%s", doctor.List(faults, 2)).With(details...)
		}
		return doctor.OKf("%d hosts, all trusted", len(results))
	}
}

// verify returns the reason why a client would refuse a host, with a remedy;
// both are empty if it would not.
func verify(r probe.Result, roots *x509.CertPool) (fault, remedy string) {
	exempt := "find the proxy or firewall that inspects TLS between the pods and the endpoint, or the endpoint of another service, and exempt " + r.Host
	switch {
	case r.TLS == nil:
		return "was not connected to", fixSecurityGroup
	case r.TLS.Fault == probe.TLSTimeout:
		return "accepts connections but sends nothing", exempt
	case r.TLS.Fault == probe.NotTLS:
		return "does not speak TLS", exempt
	case r.TLS.Fault == probe.TLSAlert:
		return "refuses the TLS handshake", exempt
	case r.TLS.Fault != "":
		return "breaks off the TLS handshake", exempt
	case len(r.TLS.Chain) == 0:
		return "sends no certificate", exempt
	}
	chain := make([]*x509.Certificate, len(r.TLS.Chain))
	for i, der := range r.TLS.Chain {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return fmt.Sprintf("sends an invalid certificate: %v", err), exempt
		}
		chain[i] = c
	}
	leaf, issuer := chain[0], chain[len(chain)-1].Issuer.String()
	o := x509.VerifyOptions{DNSName: r.Host, Roots: roots, Intermediates: x509.NewCertPool()}
	for _, c := range chain[1:] {
		o.Intermediates.AddCert(c)
	}
	_, err := leaf.Verify(o)
	if err == nil {
		return "", ""
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return "has a certificate for " + names(leaf), "correct the DNS record of " + r.Host + ": the address " + r.TLS.Address.String() + " belongs to another service"
	}
	if e, ok := errors.AsType[x509.CertificateInvalidError](err); ok && e.Reason == x509.Expired {
		return fmt.Sprintf("has a certificate of %s that is valid from %s to %s", issuer, leaf.NotBefore.UTC().Format(time.DateOnly), leaf.NotAfter.UTC().Format(time.DateOnly)),
			"verify the clock of this machine; if it is correct, " + issuer + " must renew the certificate"
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return "has a certificate of an unknown authority, " + issuer, "if a proxy intercepts TLS, exempt " + r.Host + ": containerd and CAST AI's agents do not trust " + issuer
	}
	return fmt.Sprintf("has a certificate that does not verify: %v", err), exempt
}

func names(c *x509.Certificate) string {
	if len(c.DNSNames) == 0 {
		return c.Subject.String()
	}
	return doctor.List(c.DNSNames, 3)
}
