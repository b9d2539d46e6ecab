// SPDX-License-Identifier: Apache-2.0

//go:build report

package report

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"html"
	"slices"
	"strings"
	"testing"

	"github.com/castai/privatelink-webhook/deploy"
	"github.com/castai/privatelink-webhook/internal/doctor"
	"github.com/castai/privatelink-webhook/internal/doctor/network"
	"github.com/castai/privatelink-webhook/internal/doctor/page"
	"github.com/castai/privatelink-webhook/internal/doctor/suite"
	"github.com/castai/privatelink-webhook/internal/htmlreport"
	"github.com/castai/privatelink-webhook/internal/target"
	"github.com/castai/privatelink-webhook/internal/testutil/fakeaws"
)

const (
	region    = "us-east-1"
	account   = "123456789012"
	registry  = account + ".dkr.ecr." + region + ".amazonaws.com/castai"
	vpcID     = "vpc-0a1b2c3d4e5f60718"
	allowAll  = `<ipProtocol>-1</ipProtocol><ipRanges><item><cidrIp>0.0.0.0/0</cidrIp></item></ipRanges>`
	fromGroup = `<ipProtocol>-1</ipProtocol><groups><item><groupId>sg-0c1c1c1c1c1c1c1c1</groupId></item></groups>`
)

// customer is an EKS cluster in a VPC without a route to the internet, and what was found
// in the cluster.
type customer struct {
	cluster, vpcName, status string
	hasPrivateAccess, hasDNS bool
	dnsServer                string
	subnets                  []*subnet
	endpoints                []*endpoint
	endpointIngress          string // range of addresses that endpoints allow
	nodeIngress, nodeEgress  string // rules of the security group of nodes
	aclAction                string
	zone                     string // a private hosted zone
	findings                 map[string]doctor.Finding
}

type subnet struct{ id, name, zone, cidr, routable, table, internet string }

type endpoint struct {
	id, name, service, state, policy string
	isGateway, hasDNS                bool
	subnets                          []string
}

// healthy returns a customer without a fault.
func healthy(t *testing.T) *customer {
	t.Helper()
	needed, err := deploy.NeededEndpoints()
	if err != nil {
		t.Fatal(err)
	}
	c := &customer{
		cluster: "prod-eu", vpcName: "production", status: "ACTIVE", hasPrivateAccess: true, hasDNS: true, dnsServer: "AmazonProvidedDNS",
		endpointIngress: "10.0.0.0/16", nodeIngress: fromGroup, nodeEgress: allowAll, aclAction: "allow", zone: "corp.example", findings: map[string]doctor.Finding{},
	}
	var ids []string
	for i, zone := range []string{"a", "b", "c"} {
		id := fmt.Sprintf("subnet-0%016x", i+1)
		ids = append(ids, id)
		c.subnets = append(c.subnets, &subnet{id: id, name: "private-" + zone, zone: region + zone, cidr: fmt.Sprintf("10.0.%d.0/20", 16*i), routable: "true", table: fmt.Sprintf("rtb-0%016x", i+1)})
	}
	add := func(name, service string, isGateway bool) {
		c.endpoints = append(c.endpoints, &endpoint{id: fmt.Sprintf("vpce-0%016x", len(c.endpoints)+1), name: name, service: service, state: "available", isGateway: isGateway, hasDNS: !isGateway, subnets: ids})
	}
	for _, s := range needed.AWS {
		add(s.Service, "com.amazonaws."+region+"."+s.Service, s.Type == "Gateway")
	}
	for _, s := range needed.CASTAI {
		add(s.Name, needed.Regions[region][s.Name], false)
	}
	return c
}

// endpoint returns the endpoint of a service.
func (c *customer) endpoint(name string) *endpoint {
	return c.endpoints[slices.IndexFunc(c.endpoints, func(e *endpoint) bool { return e.name == name })]
}

// remove deletes the endpoint of a service.
func (c *customer) remove(name string) {
	c.endpoints = slices.DeleteFunc(c.endpoints, func(e *endpoint) bool { return e.name == name })
}

// element returns <name>content</name>.
func element(name string, content ...string) string {
	return "<" + name + ">" + strings.Join(content, "") + "</" + name + ">"
}

// tag returns a tag as EC2 writes it.
func tag(key, value string) string {
	return element("item", element("key", key), element("value", html.EscapeString(value)))
}

// responses returns what AWS answers.
func (c *customer) responses(t *testing.T) map[string]string {
	t.Helper()
	var subnets, tables, acls, ids []string
	for _, s := range c.subnets {
		ids = append(ids, s.id)
		subnets = append(subnets, element("item", element("subnetId", s.id), element("vpcId", vpcID), element("availabilityZone", s.zone), element("cidrBlock", s.cidr),
			element("tagSet", tag("Name", s.name), tag("cast.ai/routable", s.routable))))
		route := ""
		if s.internet != "" {
			route = element("item", element("destinationCidrBlock", "0.0.0.0/0"), element("natGatewayId", s.internet), element("state", "active"))
		}
		tables = append(tables, element("item", element("routeTableId", s.table), element("routeSet", route), element("associationSet", element("item", element("subnetId", s.id)))))
		acls = append(acls, element("item", element("subnetId", s.id)))
	}
	eks, err := json.Marshal(map[string]any{"cluster": map[string]any{"status": c.status, "resourcesVpcConfig": map[string]any{
		"vpcId": vpcID, "subnetIds": ids, "clusterSecurityGroupId": "sg-0c1c1c1c1c1c1c1c1", "endpointPrivateAccess": c.hasPrivateAccess}}})
	if err != nil {
		t.Fatal(err)
	}
	entry := func(isEgress string) string {
		return element("item", element("ruleNumber", "100"), element("protocol", "-1"), element("ruleAction", c.aclAction), element("egress", isEgress), element("cidrBlock", "0.0.0.0/0"))
	}
	return map[string]string{
		"eks:DescribeCluster":   string(eks),
		"eks:ListNodegroups":    `{"nodegroups": []}`,
		"sts:GetCallerIdentity": element("Account", account),
		"ec2:DescribeVpcs": element("vpcSet", element("item", element("vpcId", vpcID), element("ownerId", account), element("cidrBlock", "10.0.0.0/16"), element("dhcpOptionsId", "dopt-0d1d1d1d1d1d1d1d1"),
			element("tagSet", tag("Name", c.vpcName)))),
		"ec2:DescribeInstances": element("reservationSet", element("item", element("instancesSet", element("item", element("instanceId", "i-0e1e1e1e1e1e1e1e1"), element("subnetId", ids[0]),
			element("groupSet", element("item", element("groupId", "sg-0a2a2a2a2a2a2a2a2"))))))),
		"ec2:DescribeSubnets":      element("subnetSet", subnets...),
		"ec2:DescribeRouteTables":  element("routeTableSet", tables...),
		"ec2:DescribeVpcAttribute": element("enableDnsSupport", element("value", fmt.Sprint(c.hasDNS))) + element("enableDnsHostnames", element("value", "true")),
		"ec2:DescribeDhcpOptions":  element("dhcpOptionsSet", element("item", element("dhcpConfigurationSet", element("item", element("key", "domain-name-servers"), element("valueSet", element("item", element("value", c.dnsServer))))))),
		"ec2:DescribeVpcEndpoints": element("vpcEndpointSet", c.describeEndpoints()...),
		"ec2:DescribeSecurityGroups": element("securityGroupInfo",
			element("item", element("groupId", "sg-0b3b3b3b3b3b3b3b3"), element("ipPermissions", element("item", element("ipProtocol", "tcp"), element("fromPort", "443"), element("toPort", "443"), element("ipRanges", element("item", element("cidrIp", c.endpointIngress)))))),
			element("item", element("groupId", "sg-0a2a2a2a2a2a2a2a2"), element("ipPermissions", element("item", c.nodeIngress)), element("ipPermissionsEgress", element("item", c.nodeEgress))),
			element("item", element("groupId", "sg-0c1c1c1c1c1c1c1c1"), element("ipPermissions", element("item", allowAll)), element("ipPermissionsEgress", element("item", allowAll)))),
		"ec2:DescribeManagedPrefixLists":  element("prefixListSet", element("item", element("prefixListId", "pl-0f1f1f1f"), element("prefixListName", "com.amazonaws."+region+".s3"))),
		"ec2:GetManagedPrefixListEntries": element("entrySet", element("item", element("cidr", "52.216.0.0/15"))),
		"ec2:DescribeNetworkAcls": element("networkAclSet", element("item", element("networkAclId", "acl-0a4a4a4a4a4a4a4a4"), element("associationSet", acls...),
			element("entrySet", entry("true"), entry("false")))),
		"route53:ListHostedZonesByVPC": element("HostedZoneSummaries", element("HostedZoneSummary", element("HostedZoneId", "Z0123456789ABC"), element("Name", c.zone+"."), element("Owner", element("OwningAccount", account)))) +
			element("MaxItems", "100"),
		"route53:ListResourceRecordSets":  element("ResourceRecordSets") + element("IsTruncated", "false") + element("MaxItems", "100"),
		"ec2:DescribeVpcEndpointServices": element("serviceDetailSet", element("item", element("availabilityZoneSet", element("item", region+"a"), element("item", region+"b"), element("item", region+"c")))),
	}
}

func (c *customer) describeEndpoints() (items []string) {
	for _, e := range c.endpoints {
		kind := "Interface"
		var subnets, tables []string
		for _, id := range e.subnets {
			subnets = append(subnets, element("item", id))
		}
		if e.isGateway {
			kind, subnets = "Gateway", nil
			for _, s := range c.subnets {
				if s.table != "rtb-0ffffffffffffffff" {
					tables = append(tables, element("item", s.table))
				}
			}
		}
		items = append(items, element("item", element("vpcEndpointId", e.id), element("serviceName", e.service), element("vpcEndpointType", kind), element("state", e.state),
			element("privateDnsEnabled", fmt.Sprint(e.hasDNS)), element("subnetIdSet", subnets...), element("routeTableIdSet", tables...),
			element("groupSet", element("item", element("groupId", "sg-0b3b3b3b3b3b3b3b3"))), element("policyDocument", html.EscapeString(e.policy))))
	}
	return items
}

// report runs the checks.
func (c *customer) report(t *testing.T) page.Report {
	t.Helper()
	needed, err := deploy.NeededEndpoints()
	if err != nil {
		t.Fatal(err)
	}
	services, castai, err := network.NeededServices(needed, region, nil)
	if err != nil {
		t.Fatal(err)
	}
	checks, describe := network.Inspect(network.Config{AWS: fakeaws.Serve(t, c.responses(t)), Cluster: c.cluster, Registry: registry, RegistryRegion: region, Services: services, CASTAI: castai})
	all, err := suite.Catalog("webhook")
	if err != nil {
		t.Fatal(err)
	}
	for i, check := range all {
		if j := slices.IndexFunc(checks, func(o doctor.Check) bool { return o.ID() == check.ID() }); j >= 0 {
			all[i] = checks[j]
			continue
		}
		all[i].Run = func(context.Context) doctor.Finding { return c.finding(check) }
	}
	results, err := doctor.Run(t.Context(), all, doctor.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range results {
		results[i].Took = 0
	}
	return page.Report{
		Target:  target.Target{Context: "admin", Server: "https://0123456789ABCDEF.gr7." + region + ".eks.amazonaws.com", Cluster: c.cluster, Account: account, Region: region, Registry: registry},
		Results: results, Network: describe(t.Context(), results), Namespace: "castai-privatelink",
		Facts: []htmlreport.Fact{{Name: "Kubernetes", Value: "v1.37.2"}, {Name: "engine", Value: "webhook"}, {Name: "command", Value: "privatelink/v0.2.0"}, {Name: "time", Value: "2026-11-29 08:00 UTC"}},
	}
}

func (c *customer) finding(check doctor.Check) doctor.Finding {
	if f, ok := c.findings[check.ID()]; ok {
		return f
	}
	return doctor.OKf("as expected")
}

// html returns the file.
func (c *customer) html(t *testing.T) []byte {
	t.Helper()
	return render(t, c.report(t))
}

func render(t *testing.T, r page.Report) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := page.Write(&b, r); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
