// SPDX-License-Identifier: Apache-2.0

package network

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/castai/privatelink-webhook/internal/doctor"
	"github.com/castai/privatelink-webhook/internal/testutil/fakeaws"
)

// healthyVPC returns the responses of EC2 and EKS for a cluster with one node, by
// action. test/aws has more, against an emulator.
func healthyVPC() map[string]string {
	const endpoint = `<item><vpcEndpointId>%s</vpcEndpointId><serviceName>com.amazonaws.us-east-1.%s</serviceName><vpcEndpointType>%s</vpcEndpointType><state>available</state>` +
		`<privateDnsEnabled>true</privateDnsEnabled><subnetIdSet><item>subnet-1</item></subnetIdSet><groupSet><item><groupId>sg-1</groupId></item></groupSet><routeTableIdSet><item>rtb-1</item></routeTableIdSet></item>`
	return map[string]string{
		"eks:DescribeCluster":   `{"cluster": {"status": "ACTIVE", "resourcesVpcConfig": {"vpcId": "vpc-1", "subnetIds": ["subnet-1"], "clusterSecurityGroupId": "sg-cluster", "endpointPrivateAccess": true}}}`,
		"eks:ListNodegroups":    `{"nodegroups": ["workers"]}`,
		"eks:DescribeNodegroup": `{"nodegroup": {"nodegroupName": "workers", "subnets": ["subnet-2"]}}`,
		"sts:GetCallerIdentity": `<Account>123456789012</Account>`,
		"ec2:DescribeVpcs":      `<vpcSet><item><vpcId>vpc-1</vpcId><ownerId>123456789012</ownerId><cidrBlock>10.0.0.0/16</cidrBlock><dhcpOptionsId>dopt-1</dhcpOptionsId></item></vpcSet>`,
		"ec2:DescribeInstances": `<reservationSet><item><instancesSet><item><instanceId>i-1</instanceId><subnetId>subnet-2</subnetId>` +
			`<groupSet><item><groupId>sg-cluster</groupId></item></groupSet></item></instancesSet></item></reservationSet>`,
		"ec2:DescribeSubnets": `<subnetSet><item><subnetId>subnet-1</subnetId><vpcId>vpc-1</vpcId><availabilityZone>us-east-1a</availabilityZone><cidrBlock>10.0.1.0/24</cidrBlock><tagSet><item><key>cast.ai/routable</key><value>true</value></item></tagSet></item>` +
			`<item><subnetId>subnet-2</subnetId><vpcId>vpc-1</vpcId><availabilityZone>us-east-1a</availabilityZone><cidrBlock>10.0.2.0/24</cidrBlock><tagSet><item><key>cast.ai/routable</key><value>true</value></item></tagSet></item>` +
			`<item><subnetId>subnet-unused</subnetId><vpcId>vpc-1</vpcId><availabilityZone>us-east-1b</availabilityZone><cidrBlock>10.0.3.0/24</cidrBlock></item></subnetSet>`,
		"ec2:DescribeVpcAttribute": `<enableDnsSupport><value>true</value></enableDnsSupport><enableDnsHostnames><value>true</value></enableDnsHostnames>`,
		"ec2:DescribeDhcpOptions":  `<dhcpOptionsSet><item><dhcpConfigurationSet><item><key>domain-name-servers</key><valueSet><item><value>AmazonProvidedDNS</value></item></valueSet></item></dhcpConfigurationSet></item></dhcpOptionsSet>`,
		"ec2:DescribeVpcEndpoints": `<vpcEndpointSet>` + fmt.Sprintf(endpoint, "vpce-1", "ecr.api", "Interface") + fmt.Sprintf(endpoint, "vpce-2", "s3", "Gateway") +
			fmt.Sprintf(endpoint, "vpce-3", "castai", "Interface") + `</vpcEndpointSet>`,
		"ec2:DescribeSecurityGroups": `<securityGroupInfo><item><groupId>sg-1</groupId><ipPermissions><item><ipProtocol>tcp</ipProtocol><fromPort>443</fromPort><toPort>443</toPort><prefixListIds><item><prefixListId>pl-1</prefixListId></item></prefixListIds></item></ipPermissions></item>` +
			`<item><groupId>sg-cluster</groupId><ipPermissions><item><ipProtocol>-1</ipProtocol><groups><item><groupId>sg-cluster</groupId></item></groups></item></ipPermissions>` +
			`<ipPermissionsEgress><item><ipProtocol>-1</ipProtocol><ipRanges><item><cidrIp>0.0.0.0/0</cidrIp></item></ipRanges></item></ipPermissionsEgress></item></securityGroupInfo>`,
		"ec2:DescribeManagedPrefixLists": `<prefixListSet><item><prefixListId>pl-1</prefixListId><prefixListName>com.amazonaws.us-east-1.s3</prefixListName></item></prefixListSet>`,
		"ec2:DescribeNetworkAcls": `<networkAclSet><item><networkAclId>acl-1</networkAclId>` +
			`<associationSet><item><subnetId>subnet-1</subnetId></item><item><subnetId>subnet-2</subnetId></item></associationSet>` +
			`<entrySet><item><ruleNumber>100</ruleNumber><protocol>-1</protocol><ruleAction>allow</ruleAction><egress>true</egress><cidrBlock>0.0.0.0/0</cidrBlock></item>` +
			`<item><ruleNumber>100</ruleNumber><protocol>-1</protocol><ruleAction>allow</ruleAction><egress>false</egress><cidrBlock>0.0.0.0/0</cidrBlock></item></entrySet></item></networkAclSet>`,
		"route53:ListHostedZonesByVPC":    `<HostedZoneSummaries><HostedZoneSummary><HostedZoneId>Z1</HostedZoneId><Name>corp.example.</Name><Owner><OwningAccount>123456789012</OwningAccount></Owner></HostedZoneSummary></HostedZoneSummaries><MaxItems>100</MaxItems>`,
		"ec2:GetManagedPrefixListEntries": `<entrySet><item><cidr>10.0.0.0/16</cidr></item></entrySet>`,
		"ec2:DescribeRouteTables":         `<routeTableSet><item><routeTableId>rtb-1</routeTableId><associationSet><item><main>true</main></item></associationSet></item></routeTableSet>`,
		"ec2:DescribeVpcEndpointServices": `<serviceDetailSet><item><availabilityZoneSet><item>us-east-1b</item></availabilityZoneSet></item></serviceDetailSet>`,
	}
}

// testConfig configures the checks of a cluster for which AWS returns responses.
func testConfig(t *testing.T, responses map[string]string) Config {
	t.Helper()
	return Config{
		AWS: fakeaws.Serve(t, responses), Cluster: "prod", Registry: "123456789012.dkr.ecr.us-east-1.amazonaws.com/castai", RegistryRegion: "us-east-1",
		Services: []Service{{Name: "ecr.api", Required: true}, {Name: "s3", Gateway: true, Required: true}},
		CASTAI:   []Service{{Name: "api", FullName: "com.amazonaws.us-east-1.castai", Required: true}},
	}
}

// runChecks returns the results whose status is not OK, by name.
func runChecks(t *testing.T, c Config) map[string]doctor.Result {
	t.Helper()
	results, err := doctor.Run(t.Context(), Checks(c), doctor.Options{})
	if err != nil {
		t.Fatal(err)
	}
	failed := map[string]doctor.Result{}
	for _, r := range results {
		if r.Status != doctor.OK {
			failed[r.Name] = r
		}
	}
	return failed
}

func TestChecksOfHealthyVPC(t *testing.T) {
	for name, r := range runChecks(t, testConfig(t, healthyVPC())) {
		t.Errorf("%s is %s: %s %q", name, r.Status, r.Found, r.Details)
	}
}

func TestChecksOfVPCWithoutCluster(t *testing.T) {
	responses := healthyVPC()
	delete(responses, "eks:DescribeCluster")
	c := testConfig(t, responses)
	c.Cluster, c.VPC, c.Subnets = "", "vpc-1", []string{"subnet-1", "subnet-2"}
	failed := runChecks(t, c)
	for _, name := range []string{"cluster-endpoint", "control-plane-port", "node-egress"} {
		if failed[name].Status != doctor.Skipped {
			t.Errorf("%s is %s: %s", name, failed[name].Status, failed[name].Found)
		}
		delete(failed, name)
	}
	for name, r := range failed {
		t.Errorf("%s is %s: %s", name, r.Status, r.Found)
	}
}

// Each missing permission makes the checks that need it unknown, with the
// permission in the remedy.
func TestChecksWithoutPermission(t *testing.T) {
	for action, want := range map[string][]string{
		"eks:DescribeCluster":             {"aws-access"},
		"ec2:DescribeVpcs":                {"aws-access"},
		"ec2:DescribeInstances":           {"cluster-vpc"},
		"ec2:DescribeSubnets":             {"cluster-vpc"},
		"ec2:DescribeVpcAttribute":        {"vpc-dns"},
		"ec2:DescribeDhcpOptions":         {"vpc-dns"},
		"ec2:DescribeVpcEndpoints":        {"aws-endpoints", "castai-endpoints", "endpoint-policies", "endpoint-security-groups", "endpoint-state", "endpoint-subnets", "network-acls", "node-egress", "private-dns", "private-zones", "s3-policy", "s3-route"},
		"ec2:DescribeManagedPrefixLists":  {"network-acls", "node-egress"},
		"ec2:DescribeNetworkAcls":         {"network-acls"},
		"route53:ListHostedZonesByVPC":    {"private-zones"},
		"ec2:DescribeSecurityGroups":      {"control-plane-port", "endpoint-security-groups", "node-egress"},
		"ec2:GetManagedPrefixListEntries": {"endpoint-security-groups", "network-acls", "node-egress"},
		"ec2:DescribeRouteTables":         {"isolation", "s3-route", "subnet-tags"},
		"sts:GetCallerIdentity":           {"endpoint-policies"},
		"eks:ListNodegroups":              {"cluster-vpc"},
		"eks:DescribeNodegroup":           {"cluster-vpc"},
	} {
		t.Run(action, func(t *testing.T) {
			responses := healthyVPC()
			delete(responses, action)
			var got []string
			for name, r := range runChecks(t, testConfig(t, responses)) {
				if r.Cause != "" {
					continue // it depends on another check
				}
				got = append(got, name)
				if r.Status != doctor.Unknown || !strings.Contains(r.Remedy, action) {
					t.Errorf("%s is %s: %s; %s", name, r.Status, r.Found, r.Remedy)
				}
			}
			slices.Sort(got)
			if d := diff(want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestChecksFindFaults(t *testing.T) {
	for name, c := range map[string]struct {
		action, old, new string
		check            string
		status           doctor.Status
		remedy           string
	}{
		"the cluster is being created":   {"eks:DescribeCluster", "ACTIVE", "CREATING", "cluster-vpc", doctor.Failed, "aws eks describe-cluster"},
		"the cluster has no VPC":         {"eks:DescribeCluster", "resourcesVpcConfig", "none", "aws-access", doctor.Unknown, "run it where"},
		"no subnet of the cluster":       {"ec2:DescribeSubnets", "subnet-", "other-", "cluster-vpc", doctor.Unknown, "run it where"},
		"there is no cluster":            {"eks:DescribeCluster", healthyVPC()["eks:DescribeCluster"], fakeaws.NotFound, "cluster-vpc", doctor.Failed, "--profile"},
		"no private access":              {"eks:DescribeCluster", "true", "false", "cluster-endpoint", doctor.Failed, "endpointPrivateAccess=true"},
		"no nodes":                       {"ec2:DescribeInstances", "reservationSet", "none", "control-plane-port", doctor.Unknown, "start a node"},
		"no DNS support":                 {"ec2:DescribeVpcAttribute", "true", "false", "vpc-dns", doctor.Failed, "--enable-dns-support"},
		"no DHCP options":                {"ec2:DescribeVpcs", "dopt-1", "default", "vpc-dns", doctor.Warning, "associate-dhcp-options"},
		"an endpoint is missing":         {"ec2:DescribeVpcEndpoints", "ecr.api", "ecr.dkr", "aws-endpoints", doctor.Failed, "--vpc-id vpc-1 --vpc-endpoint-type Interface --service-name com.amazonaws.us-east-1.ecr.api --subnet-ids subnet-1 --security-group-ids sg-1 "},
		"an endpoint is deleted":         {"ec2:DescribeVpcEndpoints", "us-east-1.castai</serviceName><vpcEndpointType>Interface</vpcEndpointType><state>available", "us-east-1.castai</serviceName><vpcEndpointType>Interface</vpcEndpointType><state>deleted", "castai-endpoints", doctor.Failed, "com.amazonaws.us-east-1.castai"},
		"a subnet without the tag":       {"ec2:DescribeSubnets", "cast.ai/routable", "Name", "subnet-tags", doctor.Failed, "--resources subnet-2 "},
		"no route to S3":                 {"ec2:DescribeRouteTables", "rtb-1", "rtb-2", "s3-route", doctor.Failed, "--add-route-table-ids rtb-2"},
		"a prefix list of other subnets": {"ec2:GetManagedPrefixListEntries", "10.0.0.0/16", "10.1.0.0/16", "endpoint-security-groups", doctor.Failed, "--group-id sg-1 --protocol tcp --port 443 --cidr 10.0.1.0/24"},
		"no egress":                      {"ec2:DescribeSecurityGroups", "0.0.0.0/0", "10.9.0.0/16", "control-plane-port and node-egress", doctor.Failed, "authorize-security-group-egress"},
		"a group of another VPC":         {"ec2:DescribeInstances", "sg-cluster", "sg-other", "control-plane-port and node-egress", doctor.Unknown, "another VPC"},
		"private DNS is disabled":        {"ec2:DescribeVpcEndpoints", "<privateDnsEnabled>true", "<privateDnsEnabled>false", "private-dns", doctor.Failed, "--private-dns-enabled"},
		"a zone without a subnet":        {"ec2:DescribeVpcEndpoints", "<subnetIdSet><item>subnet-1", "<subnetIdSet><item>subnet-unused", "endpoint-subnets", doctor.OK, ""}, // the services are not offered in us-east-1a
	} {
		t.Run(name, func(t *testing.T) {
			responses := healthyVPC()
			if !strings.Contains(responses[c.action], c.old) {
				t.Fatalf("%s has no %q", c.action, c.old)
			}
			responses[c.action] = strings.ReplaceAll(responses[c.action], c.old, c.new)
			found := 0
			for name, r := range runChecks(t, testConfig(t, responses)) {
				switch {
				case r.Cause != "", r.Status == doctor.Skipped: // it names the check that failed
				case !slices.Contains(strings.Split(c.check, " and "), name) || r.Status != c.status || !strings.Contains(r.Remedy, c.remedy):
					t.Errorf("%s is %s: %s; %s", name, r.Status, r.Found, r.Remedy)
				default:
					found++
				}
			}
			if c.status != doctor.OK && found != 1+strings.Count(c.check, " and ") {
				t.Errorf("%s did not find it", c.check)
			}
		})
	}
}

// An interface endpoint of S3 for clients outside the VPC serves none in it: they need the
// route of the gateway endpoint, and no access to the interface endpoint.
func TestChecksOfEndpointForInboundOnly(t *testing.T) {
	responses := healthyVPC()
	responses["ec2:DescribeVpcEndpoints"] = strings.Replace(responses["ec2:DescribeVpcEndpoints"], "</vpcEndpointSet>", `<item><vpcEndpointId>vpce-9</vpcEndpointId>`+
		`<serviceName>com.amazonaws.us-east-1.s3</serviceName><vpcEndpointType>Interface</vpcEndpointType><state>available</state><privateDnsEnabled>true</privateDnsEnabled>`+
		`<dnsOptions><privateDnsOnlyForInboundResolverEndpoint>true</privateDnsOnlyForInboundResolverEndpoint></dnsOptions>`+
		`<subnetIdSet><item>subnet-1</item></subnetIdSet><groupSet><item><groupId>sg-closed</groupId></item></groupSet></item></vpcEndpointSet>`, 1)
	responses["ec2:DescribeSecurityGroups"] = strings.Replace(responses["ec2:DescribeSecurityGroups"], "</securityGroupInfo>", "<item><groupId>sg-closed</groupId></item></securityGroupInfo>", 1)
	for name, r := range runChecks(t, testConfig(t, responses)) {
		t.Errorf("with the route, %s is %s: %s", name, r.Status, r.Found)
	}
	responses["ec2:DescribeRouteTables"] = strings.ReplaceAll(responses["ec2:DescribeRouteTables"], "rtb-1", "rtb-2")
	results := runChecks(t, testConfig(t, responses))
	if r := results["s3-route"]; r.Status != doctor.Failed || !strings.Contains(r.Remedy, "--vpc-endpoint-id vpce-2 --add-route-table-ids rtb-2") || len(results) != 1 {
		t.Errorf("without the route: %v", results)
	}
	responses["ec2:DescribeVpcEndpoints"] = strings.ReplaceAll(responses["ec2:DescribeVpcEndpoints"], "Gateway</vpcEndpointType><state>available", "Gateway</vpcEndpointType><state>deleted")
	results = runChecks(t, testConfig(t, responses))
	if results["private-dns"].Status != doctor.Failed || results["s3-route"].Status != doctor.Skipped {
		t.Errorf("without the gateway: %v", results)
	}
}

// Wrong input is a failure that names it, and not a list that is empty.
func TestChecksFindWrongInput(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Config)
		found  string
		remedy string
	}{
		"a VPC of another cluster":   {func(c *Config) { c.VPC = "vpc-2" }, "cluster prod is in vpc-1, not in vpc-2", "omit --vpc"},
		"a subnet that is not there": {func(c *Config) { c.Subnets = []string{"subnet-1", "subnet-9"} }, "not in vpc-1: subnet-9 does not exist in us-east-1", "Name=vpc-id,Values=vpc-1"},
		"a subnet of another VPC":    {func(c *Config) { c.Subnets = []string{"subnet-other"} }, "not in vpc-1: subnet-other is in vpc-2", "--subnet"},
	} {
		t.Run(name, func(t *testing.T) {
			responses := healthyVPC()
			responses["ec2:DescribeSubnets"] = strings.Replace(responses["ec2:DescribeSubnets"], "</subnetSet>", "<item><subnetId>subnet-other</subnetId><vpcId>vpc-2</vpcId></item></subnetSet>", 1)
			config := testConfig(t, responses)
			c.change(&config)
			if r := runChecks(t, config)["cluster-vpc"]; r.Status != doctor.Failed || r.Found != c.found || !strings.Contains(r.Remedy, c.remedy) {
				t.Errorf("%s: %s; %s", r.Status, r.Found, r.Remedy)
			}
		})
	}
}

// The owner of a shared VPC alone sees its endpoints: that the list is empty proves
// nothing.
func TestChecksOfSharedVPC(t *testing.T) {
	responses := healthyVPC()
	responses["ec2:DescribeVpcs"] = strings.Replace(responses["ec2:DescribeVpcs"], "123456789012", "210987654321", 1)
	if r := runChecks(t, testConfig(t, responses)); len(r) != 0 {
		t.Errorf("all endpoints are seen: %v", r)
	}
	for name, endpoints := range map[string]string{
		"no endpoint is seen":  "<vpcEndpointSet/>",
		"not all are seen":     strings.Replace(responses["ec2:DescribeVpcEndpoints"], ".ecr.api", ".other", 1),
		"CAST AI's is missing": strings.Replace(responses["ec2:DescribeVpcEndpoints"], ".castai", ".other", 1),
	} {
		responses["ec2:DescribeVpcEndpoints"] = endpoints
		results := runChecks(t, testConfig(t, responses))
		if len(results) == 0 {
			t.Errorf("%s: nothing is found", name)
		}
		for check, r := range results {
			if r.Status == doctor.Skipped { // there is none of the endpoints that it is about
				continue
			}
			if r.Status != doctor.Unknown || !strings.Contains(r.Found, "vpc-1 belongs to account 210987654321") || !strings.Contains(r.Remedy, "credentials of account 210987654321: privatelink doctor --only network --region us-east-1 --vpc vpc-1") {
				t.Errorf("%s: %s is %s: %s; %s", name, check, r.Status, r.Found, r.Remedy)
			}
		}
	}
}

// Without any endpoint two checks fail, and those about endpoints are skipped.
func TestChecksWithoutEndpoints(t *testing.T) {
	responses := healthyVPC()
	responses["ec2:DescribeVpcEndpoints"] = "<vpcEndpointSet/>"
	results := runChecks(t, testConfig(t, responses))
	for name, want := range map[string]doctor.Status{
		"aws-endpoints": doctor.Failed, "castai-endpoints": doctor.Failed, "endpoint-state": doctor.Skipped, "endpoint-subnets": doctor.Skipped, "private-dns": doctor.Skipped,
		"endpoint-security-groups": doctor.Skipped, "endpoint-policies": doctor.Skipped, "s3-route": doctor.Skipped, "s3-policy": doctor.Skipped,
	} {
		if results[name].Status != want {
			t.Errorf("%s is %s: %s", name, results[name].Status, results[name].Found)
		}
		delete(results, name)
	}
	for name, r := range results {
		t.Errorf("%s is %s: %s", name, r.Status, r.Found)
	}
}

func TestRegistryInAnotherRegion(t *testing.T) {
	c := testConfig(t, healthyVPC())
	c.Registry, c.RegistryRegion = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/castai", "eu-west-1"
	r := runChecks(t, c)["registry-region"]
	if r.Status != doctor.Failed || r.Found != "the registry is in eu-west-1, and the cluster in us-east-1" || !strings.Contains(r.Remedy, "registry: 123456789012.dkr.ecr.us-east-1.amazonaws.com/castai in privatelink.yaml") {
		t.Errorf("%s: %s; %s", r.Status, r.Found, r.Remedy)
	}
	c.Registry = ""
	if r := runChecks(t, c)["registry-region"]; r.Status != doctor.Skipped {
		t.Errorf("%s: %s", r.Status, r.Found)
	}
}

func TestChecksNeedClusterOrVPC(t *testing.T) {
	c := testConfig(t, healthyVPC())
	c.Cluster, c.CASTAI = "", nil
	if r := runChecks(t, c)["aws-access"]; r.Status != doctor.Unknown || !strings.Contains(r.Remedy, "--eks-cluster") {
		t.Errorf("%s: %s", r.Found, r.Remedy)
	}
	c.Cluster = "prod"
	if r := runChecks(t, c)["castai-endpoints"]; r.Status != doctor.Unknown || !strings.Contains(r.Remedy, "ask CAST AI") {
		t.Errorf("%s: %s", r.Found, r.Remedy)
	}
}
