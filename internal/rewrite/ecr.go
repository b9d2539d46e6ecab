// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// ECRPattern matches a reference on a private ECR host, of any account, region
// and AWS partition, including dual-stack and FIPS names and a port. It is RE2,
// and the same text is used by the admission conditions inside the API server.
// It accepts the domains of all partitions; a test compares the two.
const ECRPattern = `^[0-9]{12}[.]dkr[.-]ecr(-fips)?[.][a-z0-9-]+[.](amazonaws[.]com([.]cn)?|amazonaws[.]eu|on[.]aws|on[.]amazonwebservices[.]com[.]cn|c2s[.]ic[.]gov|sc2s[.]sgov[.]gov|cloud[.]adc-e[.]uk|csp[.]hci[.]ic[.]gov)(:[0-9]+)?/`

// partition is a group of AWS regions with domains of its own.
type partition struct {
	name         string // as in ARNs
	regionPrefix string
	domain       string // of IPv4 endpoints
	dualStack    string // domain of dual-stack endpoints; "" if ECR has none
}

// partitions ends with the one that has all regions that no other one claims.
// https://github.com/aws/aws-sdk-go-v2/blob/main/internal/endpoints/awsrulesfn/partitions.go
// https://docs.aws.amazon.com/general/latest/gr/ecr.html
var partitions = []partition{
	{"aws-cn", "cn-", "amazonaws.com.cn", "on.amazonwebservices.com.cn"},
	{"aws-us-gov", "us-gov-", "amazonaws.com", "on.aws"},
	{"aws-eusc", "eusc-", "amazonaws.eu", ""},
	{"aws-iso-b", "us-isob-", "sc2s.sgov.gov", ""},
	{"aws-iso-f", "us-isof-", "csp.hci.ic.gov", ""},
	{"aws-iso-e", "eu-isoe-", "cloud.adc-e.uk", ""},
	{"aws-iso", "us-iso-", "c2s.ic.gov", ""},
	{"aws", "", "amazonaws.com", "on.aws"},
}

var (
	ecrReference = regexp.MustCompile(ECRPattern)
	// ecrShape is more liberal than ECRPattern: errors name the wrong part.
	ecrShape   = regexp.MustCompile(`^([^.]*)[.](dkr[.]ecr|dkr-ecr)(-fips)?[.]([a-z0-9-]+)[.]([a-z0-9.-]+?)(:[0-9]+)?$`)
	awsDomain  = regexp.MustCompile(`[.](amazonaws[.]com|amazonaws[.]com[.]cn|on[.]aws)(:[0-9]+)?$`)
	ecrAccount = regexp.MustCompile(`^[0-9]{12}$`)
	awsRegion  = regexp.MustCompile(`^(us|eu|ap|sa|ca|me|af|il|mx|cn|us-gov|eusc-de|us-iso[bf]?|eu-isoe)-[a-z]+-[0-9]+$`)
	fipsRegion = regexp.MustCompile(`^us-(gov-)?(east|west)-[12]$`)
)

// ECRHost is the host name of a private ECR registry, split into its parts.
type ECRHost struct {
	Name      string // such as 123456789012.dkr.ecr.eu-central-1.amazonaws.com
	Account   string // 12 digits
	Region    string // such as eu-central-1
	Partition string // as in ARNs: aws, aws-cn, …
	Domain    string // of the partition's AWS services, such as amazonaws.com
	FIPS      bool
	DualStack bool
}

// IsECRHost reports whether a host, with or without a port, is that of a private
// ECR registry.
func IsECRHost(host string) bool { return ecrReference.MatchString(host + "/") }

// ParseECRHost splits the host of a private ECR registry, or the host at the
// start of a prefix of repositories. The error is a Fault. A region that is not
// known is no error, since AWS opens new ones: see Warnings.
func ParseECRHost(prefix string) (ECRHost, error) {
	name := RegistryHost(prefix)
	m := ecrShape.FindStringSubmatch(name)
	if m == nil {
		return ECRHost{}, Fault{What: fmt.Sprintf("%q is not a private ECR registry", name), Fix: "write it like 123456789012.dkr.ecr.us-east-1.amazonaws.com"}
	}
	h := ECRHost{Name: name, Account: m[1], Region: m[4], FIPS: m[3] != "", DualStack: m[2] == "dkr-ecr"}
	p := partitions[slices.IndexFunc(partitions, func(p partition) bool { return strings.HasPrefix(h.Region, p.regionPrefix) })]
	h.Partition, h.Domain = p.name, p.domain
	have, port, want := m[5], m[6], p.domain
	if h.DualStack {
		want = p.dualStack
	}
	switch {
	case !ecrAccount.MatchString(h.Account):
		return ECRHost{}, Fault{What: fmt.Sprintf("%q: AWS account %q is not 12 digits", name, h.Account), Fix: "run: aws sts get-caller-identity --query Account"}
	case port != "":
		return ECRHost{}, Fault{What: fmt.Sprintf("%q: an ECR host has no port, have %s", name, port), Fix: "remove it"}
	case want == "":
		return ECRHost{}, Fault{What: fmt.Sprintf("%q: no dual-stack name of ECR is known for region %q", name, h.Region), Fix: "use " + h.Account + ".dkr.ecr." + h.Region + "." + p.domain}
	case have != want:
		return ECRHost{}, Fault{What: fmt.Sprintf("%q: %q does not fit region %q", name, have, h.Region), Fix: "use " + want}
	}
	return h, nil
}

// resemblesECR reports whether a host is meant to be that of a private ECR
// registry, even if it is misspelled.
func resemblesECR(host string) bool { return ecrShape.MatchString(host) || awsDomain.MatchString(host) }

// Warnings lists what is unusual about the host and may be a mistake.
func (h ECRHost) Warnings() (all []string) {
	if !awsRegion.MatchString(h.Region) {
		all = append(all, fmt.Sprintf("%s: region %q is not known to this version: check the spelling, unless the region is new", h.Name, h.Region))
	}
	if h.FIPS && !fipsRegion.MatchString(h.Region) {
		all = append(all, fmt.Sprintf("%s: AWS lists no FIPS endpoint of ECR for region %s", h.Name, h.Region))
	}
	if h.DualStack {
		// The AWS documentation is inconsistent on this point.
		all = append(all, h.Name+": dual-stack names may not resolve to VPC endpoints: check that the nodes can reach the host")
	}
	return all
}
