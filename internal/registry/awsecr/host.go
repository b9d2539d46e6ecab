// SPDX-License-Identifier: Apache-2.0

package awsecr

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Host is the name of a private ECR registry, taken apart.
type Host struct {
	Name      string // such as 123456789012.dkr.ecr.eu-central-1.amazonaws.com
	Account   string
	Region    string
	Partition string // as in ARNs: aws, aws-cn, …
	FIPS      bool
	DualStack bool
}

// partition is a part of AWS with names of its own.
type partition struct{ name, region, suffix, dualStack string }

// The last one is for all regions that no other one claims.
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
	hostName   = regexp.MustCompile(`^([^.]+)[.](dkr[.]ecr|dkr-ecr)(-fips)?[.]([a-z0-9-]+)[.]([a-z0-9.-]+)$`)
	account    = regexp.MustCompile(`^[0-9]{12}$`)
	usual      = regexp.MustCompile(`^(us|eu|ap|sa|ca|me|af|il|mx|cn|us-gov|eusc-de|us-iso[bf]?|eu-isoe)-[a-z]+-[0-9]+$`)
	fipsRegion = regexp.MustCompile(`^us-(gov-)?(east|west)-[12]$`)
)

const exampleHost = "123456789012.dkr.ecr.us-east-1.amazonaws.com"

// ParseHost takes the host of an ECR registry, or a prefix of repositories that
// begins with one. What cannot be a private ECR is an error that says why. What
// is merely unheard of is not, since AWS opens new regions: see Warnings.
func ParseHost(prefix string) (Host, error) {
	name, _, _ := strings.Cut(prefix, "/")
	m := hostName.FindStringSubmatch(name)
	if m == nil {
		return Host{}, fmt.Errorf("%q is not a private ECR registry; write it like %s", name, exampleHost)
	}
	h := Host{Name: name, Account: m[1], Region: m[4], FIPS: m[3] != "", DualStack: m[2] == "dkr-ecr"}
	p := partitionOf(h.Region)
	h.Partition = p.name
	want := p.suffix
	if h.DualStack {
		want = p.dualStack
	}
	switch {
	case !account.MatchString(h.Account):
		return Host{}, fmt.Errorf("%q: the AWS account %q is not 12 digits; run `aws sts get-caller-identity --query Account`", name, h.Account)
	case want == "":
		return Host{}, fmt.Errorf("%q: no dual-stack name of ECR is known for region %s; use %s.dkr.ecr.%s.%s", name, h.Region, h.Account, h.Region, p.suffix)
	case m[5] != want:
		return Host{}, fmt.Errorf("%q: %s does not fit the region %s; it ends in %s", name, m[5], h.Region, want)
	}
	return h, nil
}

func partitionOf(region string) partition {
	return partitions[slices.IndexFunc(partitions, func(p partition) bool { return strings.HasPrefix(region, p.region) })]
}

// Warnings are what looks like a mistake but need not be one.
func (h Host) Warnings() (all []string) {
	if !usual.MatchString(h.Region) {
		all = append(all, fmt.Sprintf("%s: %q is no region that is known here; if it is new, all is well", h.Name, h.Region))
	}
	if h.FIPS && !fipsRegion.MatchString(h.Region) {
		all = append(all, fmt.Sprintf("%s: AWS lists no FIPS endpoint of ECR for %s", h.Name, h.Region))
	}
	if h.DualStack {
		// One page of AWS says it does not work there, a newer one says it does.
		all = append(all, h.Name+": dual-stack names may not resolve to VPC endpoints; check that nodes can reach it")
	}
	return all
}

// arn names a repository, or all of the registry if it is "*".
func (h Host) arn(repository string) string {
	return fmt.Sprintf("arn:%s:ecr:%s:%s:repository/%s", h.Partition, h.Region, h.Account, repository)
}
