// SPDX-License-Identifier: Apache-2.0

package inside

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/castai/privatelink-webhook/internal/doctor"
	"github.com/castai/privatelink-webhook/internal/doctor/probe"
)

const noEndpoint = "aws ec2 describe-vpc-endpoints --query 'VpcEndpoints[].[ServiceName,State,PrivateDnsEnabled]': the endpoint must be available with private DNS on (Terraform: private_dns_enabled = true), " +
	"and the VPC have enableDnsSupport and enableDnsHostnames"

const closed = "let the endpoint's security group accept TCP 443 from the nodes' and pods' subnets, and the network ACLs and NetworkPolicies let it through"

// answers judges DNS as a whole: a fault of every name is a fault of none.
func answers(results []probe.Result) doctor.Finding {
	var faults []string
	for _, r := range results {
		if r.DNS.Fault == probe.DNSTimeout || r.DNS.Fault == probe.DNSFailed {
			faults = append(faults, r.Host+": "+r.DNS.Error)
		}
	}
	if len(faults) < len(results) {
		return doctor.OKf("%d of %d names were answered", len(results)-len(faults), len(results))
	}
	return doctor.Failf("kubectl -n kube-system get pods -l k8s-app=kube-dns: CoreDNS must be ready and reach the VPC's resolver; a NetworkPolicy that denies egress (kubectl get networkpolicy -A) must let port 53 through",
		"DNS answered none of %d names", len(results)).With(faults...)
}

// private judges names of interface endpoints.
func private(results []probe.Result) doctor.Finding {
	var faults, details []string
	for _, r := range results {
		public := slices.DeleteFunc(slices.Clone(r.Addresses), isPrivate)
		switch {
		case r.DNS.Fault != "":
			faults = append(faults, r.Host+" "+dnsWords(r.DNS.Fault))
			details = append(details, r.Host+": "+r.DNS.Error)
		case len(public) > 0:
			faults = append(faults, r.Host+" has the public address "+public[0].String())
			details = append(details, fmt.Sprintf("%s: %v", r.Host, r.Addresses))
		}
	}
	if len(faults) > 0 {
		return doctor.Failf(noEndpoint, "%s", doctor.List(faults, 2)).With(details...)
	}
	return doctor.OKf("%d names, all private", len(results))
}

// isPrivate is true for what a VPC may hand out: RFC 1918, the shared space of
// RFC 6598 as secondary CIDR, and unique local IPv6 addresses.
func isPrivate(a netip.Addr) bool {
	return a.IsPrivate() || netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64}), 10).Contains(a)
}

func dnsWords(f probe.Fault) string {
	switch f {
	case probe.NoSuchName:
		return "does not exist"
	case probe.DNSTimeout:
		return "got no answer"
	}
	return "could not be resolved"
}

// connects judges interface endpoints. One address of several that does not
// answer is a zone that is cut off: clients get over it, slowly.
func connects(results []probe.Result) doctor.Finding {
	dead, details := unanswered(results)
	if len(dead) > 0 {
		return doctor.Failf(closed, "%s", doctor.List(dead, 2)).With(details...)
	}
	if len(details) > 0 {
		return doctor.Warnf("let the endpoint's security group and the network ACLs accept TCP 443 in every subnet of the endpoint",
			"all answer, but not on every address: a zone is cut off").With(details...)
	}
	return doctor.OKf("%d hosts answer", len(results))
}

// routed judges hosts behind a gateway endpoint: any address will do.
func routed(results []probe.Result) doctor.Finding {
	dead, details := unanswered(results)
	if len(dead) > 0 {
		return doctor.Failf("aws ec2 describe-vpc-endpoints --filters Name=vpc-endpoint-type,Values=Gateway: the gateway endpoint for S3 must stand in the route tables of the nodes' subnets (Terraform: route_table_ids), "+
			"and its policy, the security groups and the network ACLs let TCP 443 out to S3's prefix list", "%s", doctor.List(dead, 2)).With(details...)
	}
	return doctor.OKf("%d hosts answer", len(results))
}

// unanswered returns the hosts where no address answers, and what is wrong with
// each address. IPv6 without a route there is no fault while another answers.
func unanswered(results []probe.Result) (dead, details []string) {
	for _, r := range results {
		if r.DNS.Fault != "" {
			dead = append(dead, r.Host+" "+dnsWords(r.DNS.Fault))
			details = append(details, r.Host+": "+r.DNS.Error)
			continue
		}
		if !r.Connected() && len(r.Dials) > 0 {
			dead = append(dead, r.String()+" "+tcpWords(r.Dials[0].Fault))
		} else if !r.Connected() {
			dead = append(dead, r.String()+" was not tried")
		}
		for _, d := range r.Dials {
			if d.Fault != "" && !(r.Connected() && d.Fault == probe.Unreachable && d.Address.Is6()) {
				details = append(details, fmt.Sprintf("%s at %s: %s", r.Target, d.Address, d.Error))
			}
		}
	}
	return dead, details
}

func tcpWords(f probe.Fault) string {
	switch f {
	case probe.Refused:
		return "refuses connections"
	case probe.ConnectTimeout:
		return "does not answer"
	case probe.Unreachable:
		return "cannot be reached: there is no route"
	}
	return "cannot be connected to"
}

// trusted judges the chains by roots, nil being those of this machine.
func trusted(roots *x509.CertPool) func([]probe.Result) doctor.Finding {
	return func(results []probe.Result) doctor.Finding {
		// Without roots all would look like the work of a proxy.
		known, err := roots, error(nil)
		if known == nil {
			known, err = x509.SystemCertPool()
		}
		if err != nil || known.Equal(x509.NewCertPool()) {
			return doctor.Unknownf("install the package ca-certificates, or name a file of roots in SSL_CERT_FILE", "this machine has no root certificates to verify with")
		}
		var faults, remedies, details []string
		for _, r := range results {
			found, remedy := distrust(r, roots)
			if found == "" {
				continue
			}
			faults = append(faults, r.String()+" "+found)
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

// distrust says why a client would not talk to a host, "" if it would.
func distrust(r probe.Result, roots *x509.CertPool) (found, remedy string) {
	const middle = "find what stands between the pods and the endpoint: a proxy, a firewall that inspects TLS, an endpoint of another service; exempt "
	switch {
	case r.TLS == nil:
		return "was not connected to", closed
	case r.TLS.Fault == probe.TLSTimeout:
		return "accepts connections and says nothing", middle + r.Host
	case r.TLS.Fault == probe.NotTLS:
		return "does not speak TLS", middle + r.Host
	case r.TLS.Fault == probe.TLSAlert:
		return "refuses the TLS handshake", middle + r.Host
	case r.TLS.Fault != "":
		return "breaks off the TLS handshake", middle + r.Host
	}
	chain := make([]*x509.Certificate, len(r.TLS.Chain))
	for i, der := range r.TLS.Chain {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return fmt.Sprintf("sends a certificate that cannot be read: %v", err), middle + r.Host
		}
		chain[i] = c
	}
	if len(chain) == 0 {
		return "sends no certificate", middle + r.Host
	}
	o := x509.VerifyOptions{DNSName: r.Host, Roots: roots, Intermediates: x509.NewCertPool()}
	for _, c := range chain[1:] {
		o.Intermediates.AddCert(c)
	}
	_, err := chain[0].Verify(o)
	if err == nil {
		return "", ""
	}
	issuer := chain[len(chain)-1].Issuer.String()
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return fmt.Sprintf("has a certificate for %s", names(chain[0])), "let DNS of " + r.Host + " lead to its own endpoint: the address " + r.TLS.Address.String() + " belongs to another service"
	}
	if e, ok := errors.AsType[x509.CertificateInvalidError](err); ok && e.Reason == x509.Expired {
		return fmt.Sprintf("has a certificate of %s that is good from %s until %s", issuer, chain[0].NotBefore.UTC().Format("2006-01-02"), chain[0].NotAfter.UTC().Format("2006-01-02")),
			"compare the clock of this machine; if it is right, tell the one who runs " + issuer
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return "has a certificate of an unknown authority, " + issuer, "if a proxy intercepts TLS, exempt " + r.Host + " from it: containerd and the agents of CAST AI do not trust " + issuer
	}
	return fmt.Sprintf("has a certificate that does not verify: %v", err), middle + r.Host
}

func names(c *x509.Certificate) string {
	if len(c.DNSNames) == 0 {
		return c.Subject.String()
	}
	return doctor.List(c.DNSNames, 3)
}
