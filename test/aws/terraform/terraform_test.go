// SPDX-License-Identifier: Apache-2.0

//go:build aws

package terraform

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/ecr"

	"github.com/castai/privatelink-webhook/deploy"
	"github.com/castai/privatelink-webhook/internal/doctor"
	"github.com/castai/privatelink-webhook/internal/doctor/network"
	"github.com/castai/privatelink-webhook/internal/rewrite"
	"github.com/castai/privatelink-webhook/test/aws/emulator"
)

const (
	region = "us-east-1"
	lock   = `apiVersion: privatelink.cast.ai/v1alpha1
kind: Lock
registry: 123456789012.dkr.ecr.us-east-1.amazonaws.com/castai
images:
- {source: "ghcr.io/castai/images/agent:v1", target: "123456789012.dkr.ecr.us-east-1.amazonaws.com/castai/agent:v1"}
- {source: "ghcr.io/castai/images/cpa/cpvpa:v1", target: "123456789012.dkr.ecr.us-east-1.amazonaws.com/castai/cpa/cpvpa@sha256:aa"}
- {source: "ghcr.io/castai/images/agent:v2", target: "123456789012.dkr.ecr.us-east-1.amazonaws.com/castai/agent:v2"}
`
)

// fixture is an emulator and a workspace that applies to it.
type fixture struct {
	*workspace
	config aws.Config
	ec2    *ec2.Client
	ecr    *ecr.Client
}

func newFixture(t *testing.T, example string) *fixture {
	t.Helper()
	url := emulator.StartForTest(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute) // for the installation of the provider
	defer cancel()
	missing := filepath.Join(t.TempDir(), "none")
	w, err := newWorkspace(ctx, t.TempDir(), map[string]string{
		"AWS_ENDPOINT_URL": url, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": region, "AWS_PROFILE": "",
		"AWS_CONFIG_FILE": missing, "AWS_SHARED_CREDENTIALS_FILE": missing, "AWS_EC2_METADATA_DISABLED": "true",
	})
	if err == nil {
		err = w.selectExample(ctx, example)
	}
	if err != nil {
		t.Fatal(err)
	}
	c := aws.Config{Region: region, BaseEndpoint: &url, Credentials: credentials.NewStaticCredentialsProvider("test", "test", "")}
	return &fixture{w, c, ec2.NewFromConfig(c), ecr.NewFromConfig(c)}
}

// must runs terraform, and fails the test if it fails.
func (w *fixture) must(t *testing.T, args ...string) string {
	t.Helper()
	out, _, err := w.run(t.Context(), args...)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return out
}

// apply applies the example. A second plan must find no changes.
func (w *fixture) apply(t *testing.T, vars ...string) {
	t.Helper()
	file := filepath.Join(w.dir, "privatelink.lock.yaml")
	if err := os.WriteFile(file, []byte(lock), 0o600); err != nil {
		t.Fatal(err)
	}
	vars = append(vars, "-var=lock_file="+file)
	w.must(t, append([]string{"apply", "-input=false", "-no-color", "-auto-approve"}, vars...)...)
	if out, code, err := w.run(t.Context(), append([]string{"plan", "-input=false", "-no-color", "-detailed-exitcode"}, vars...)...); code != 0 || err != nil {
		t.Errorf("the second plan, exit code %d: %v\n%s", code, err, out)
	}
}

// check runs the doctor's checks on a VPC. It adds the default DHCP options of AWS,
// which the emulator does not have.
func (w *fixture) check(t *testing.T, vpc string, subnets ...string) {
	t.Helper()
	options, err := w.ec2.CreateDhcpOptions(t.Context(), &ec2.CreateDhcpOptionsInput{DhcpConfigurations: []types.NewDhcpConfiguration{{Key: aws.String("domain-name-servers"), Values: []string{"AmazonProvidedDNS"}}}})
	if err == nil {
		_, err = w.ec2.AssociateDhcpOptions(t.Context(), &ec2.AssociateDhcpOptionsInput{VpcId: &vpc, DhcpOptionsId: options.DhcpOptions.DhcpOptionsId})
	}
	if err != nil {
		t.Fatal(err)
	}
	c := network.Config{AWS: w.config, VPC: vpc, Subnets: subnets}
	table, err := deploy.NeededEndpoints()
	if err != nil {
		t.Fatal(err)
	}
	if c.Services, c.CASTAI, err = network.NeededServices(table, region, nil); err != nil {
		t.Fatal(err)
	}
	results, err := doctor.Run(t.Context(), network.Checks(c), doctor.Options{Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		t.Logf("%-8s %-36s %s", r.Status, r.ID(), r.Found)
		if r.Status != doctor.OK && r.Status != doctor.Skipped {
			t.Errorf("%s is %s: %s %q %s", r.ID(), r.Status, r.Found, r.Details, r.Remedy)
		}
	}
	if doctor.Count(results, doctor.OK) < 9 {
		t.Errorf("only %d checks are ok", doctor.Count(results, doctor.OK))
	}
}

// checkSecurityGroup requires that all interface endpoints have the same security
// group, and that it allows port 443 from the VPC only.
func (w *fixture) checkSecurityGroup(t *testing.T, cidr string) {
	t.Helper()
	endpoints, err := w.ec2.DescribeVpcEndpoints(t.Context(), &ec2.DescribeVpcEndpointsInput{})
	if err != nil {
		t.Fatal(err)
	}
	groups := map[string]bool{}
	interfaces := 0
	for _, e := range endpoints.VpcEndpoints {
		if e.VpcEndpointType != types.VpcEndpointTypeInterface {
			continue
		}
		interfaces++
		if !aws.ToBool(e.PrivateDnsEnabled) || len(e.Groups) != 1 {
			t.Errorf("%s: private DNS %t, groups %v", *e.ServiceName, aws.ToBool(e.PrivateDnsEnabled), e.Groups)
		}
		for _, g := range e.Groups {
			groups[*g.GroupId] = true
		}
	}
	if interfaces != 15 || len(groups) != 1 {
		t.Fatalf("%d interface endpoints with %d groups", interfaces, len(groups))
	}
	for id := range groups {
		out, err := w.ec2.DescribeSecurityGroups(t.Context(), &ec2.DescribeSecurityGroupsInput{GroupIds: []string{id}})
		if err != nil {
			t.Fatal(err)
		}
		in := out.SecurityGroups[0].IpPermissions
		if len(in) != 1 || *in[0].FromPort != 443 || *in[0].ToPort != 443 || *in[0].IpProtocol != "tcp" || len(in[0].IpRanges) != 1 || *in[0].IpRanges[0].CidrIp != cidr || len(in[0].Ipv6Ranges)+len(in[0].UserIdGroupPairs)+len(in[0].PrefixListIds) > 0 {
			t.Errorf("ingress rules: %+v", in)
		}
	}
}

func TestFormatAndValidate(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "terraform", "fmt", "-check", "-diff", "-recursive", module)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	w := newFixture(t, "new-vpc")
	w.must(t, "validate", "-no-color")
	if err := w.selectExample(t.Context(), "existing-vpc"); err != nil {
		t.Fatal(err)
	}
	w.must(t, "validate", "-no-color")
}

func TestNewVPC(t *testing.T) {
	w, ctx := newFixture(t, "new-vpc"), t.Context()
	w.apply(t)
	vpcs, err := w.ec2.DescribeVpcs(ctx, &ec2.DescribeVpcsInput{Filters: []types.Filter{{Name: aws.String("tag:Name"), Values: []string{"privatelink"}}}})
	if err != nil || len(vpcs.Vpcs) != 1 {
		t.Fatalf("%v %v", vpcs, err)
	}
	vpc := *vpcs.Vpcs[0].VpcId
	w.check(t, vpc)
	w.checkSecurityGroup(t, "10.0.0.0/16")

	in := []types.Filter{{Name: aws.String("vpc-id"), Values: []string{vpc}}}
	nats, err := w.ec2.DescribeNatGateways(ctx, &ec2.DescribeNatGatewaysInput{Filter: in})
	if err != nil || len(nats.NatGateways) > 0 {
		t.Errorf("NAT gateways: %v %v", nats, err)
	}
	out, err := w.ec2.DescribeInternetGateways(ctx, &ec2.DescribeInternetGatewaysInput{Filters: []types.Filter{{Name: aws.String("attachment.vpc-id"), Values: []string{vpc}}}})
	if err != nil || len(out.InternetGateways) > 0 {
		t.Errorf("internet gateways: %v %v", out, err)
	}
	tables, err := w.ec2.DescribeRouteTables(ctx, &ec2.DescribeRouteTablesInput{Filters: in})
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range tables.RouteTables {
		for _, r := range table.Routes {
			if aws.ToString(r.DestinationCidrBlock) == "0.0.0.0/0" {
				t.Errorf("a default route: %+v", r)
			}
		}
	}
	repositories, err := w.ecr.DescribeRepositories(ctx, &ecr.DescribeRepositoriesInput{})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, r := range repositories.Repositories {
		names = append(names, *r.RepositoryName)
	}
	if slices.Sort(names); !slices.Equal(names, []string{"castai/agent", "castai/cpa/cpvpa", "castai/" + deploy.Image}) {
		t.Errorf("repositories %q", names)
	}
	text := w.must(t, "output", "-raw", "privatelink_yaml")
	rules, err := rewrite.Load("privatelink.yaml", []byte(text))
	if err != nil || rules.Registry() != "123456789012.dkr.ecr.us-east-1.amazonaws.com/castai" {
		t.Errorf("the output privatelink_yaml: %v: %s", err, text)
	}

	w.must(t, "destroy", "-input=false", "-no-color", "-auto-approve", "-var=lock_file="+filepath.Join(w.dir, "privatelink.lock.yaml"))
	remaining, err := w.ec2.DescribeVpcEndpoints(ctx, &ec2.DescribeVpcEndpointsInput{Filters: []types.Filter{{Name: aws.String("vpc-endpoint-state"), Values: []string{"available"}}}})
	if err != nil || len(remaining.VpcEndpoints) > 0 {
		t.Errorf("not destroyed: %v %v", remaining.VpcEndpoints, err)
	}
	if repositories, err = w.ecr.DescribeRepositories(ctx, &ecr.DescribeRepositoriesInput{}); err != nil || len(repositories.Repositories) > 0 {
		t.Errorf("not destroyed: %v %v", repositories.Repositories, err)
	}
}

// A VPC without tags, with nodes in their own security group.
func TestExistingVPC(t *testing.T) {
	w, ctx := newFixture(t, "existing-vpc"), t.Context()
	vpc, err := w.ec2.CreateVpc(ctx, &ec2.CreateVpcInput{CidrBlock: aws.String("10.9.0.0/16")})
	if err != nil {
		t.Fatal(err)
	}
	id := vpc.Vpc.VpcId
	on := &types.AttributeBooleanValue{Value: aws.Bool(true)}
	for _, in := range []*ec2.ModifyVpcAttributeInput{{VpcId: id, EnableDnsSupport: on}, {VpcId: id, EnableDnsHostnames: on}} {
		if _, err := w.ec2.ModifyVpcAttribute(ctx, in); err != nil {
			t.Fatal(err)
		}
	}
	table, err := w.ec2.CreateRouteTable(ctx, &ec2.CreateRouteTableInput{VpcId: id})
	if err != nil {
		t.Fatal(err)
	}
	var subnets, groups []string
	for i, zone := range []string{"a", "b"} {
		s, err := w.ec2.CreateSubnet(ctx, &ec2.CreateSubnetInput{VpcId: id, CidrBlock: aws.String(fmt.Sprintf("10.9.%d.0/24", i)), AvailabilityZone: aws.String(region + zone)})
		if err != nil {
			t.Fatal(err)
		}
		subnets = append(subnets, *s.Subnet.SubnetId)
		if _, err := w.ec2.AssociateRouteTable(ctx, &ec2.AssociateRouteTableInput{RouteTableId: table.RouteTable.RouteTableId, SubnetId: s.Subnet.SubnetId}); err != nil {
			t.Fatal(err)
		}
		g, err := w.ec2.CreateSecurityGroup(ctx, &ec2.CreateSecurityGroupInput{VpcId: id, GroupName: aws.String("group-" + zone), Description: aws.String("of a cluster")})
		if err != nil {
			t.Fatal(err)
		}
		groups = append(groups, *g.GroupId)
	}
	list := func(words ...string) string {
		text, err := json.Marshal(words)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	w.apply(t, "-var=vpc_id="+*id, "-var=subnet_ids="+list(subnets...), "-var=route_table_ids="+list(*table.RouteTable.RouteTableId),
		fmt.Sprintf(`-var=control_plane={"cluster_security_group_id":%q,"node_security_group_id":%q}`, groups[0], groups[1]))
	w.check(t, *id, subnets...)
	w.checkSecurityGroup(t, "10.9.0.0/16")
	out, err := w.ec2.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{GroupIds: groups[1:]})
	if err != nil {
		t.Fatal(err)
	}
	in := out.SecurityGroups[0].IpPermissions
	if len(in) != 1 || *in[0].FromPort != 9443 || len(in[0].UserIdGroupPairs) != 1 || *in[0].UserIdGroupPairs[0].GroupId != groups[0] || len(in[0].IpRanges) > 0 {
		t.Errorf("ingress rules of the nodes: %+v", in)
	}
}

// Each error message has the name of the variable and a remedy.
func TestInvalidInput(t *testing.T) {
	w := newFixture(t, "new-vpc")
	for name, tc := range map[string]struct{ inputs, want string }{
		"a new VPC and an existing one":       {`vpc_cidr = "10.0.0.0/16", availability_zones = ["us-east-1a", "us-east-1b"], vpc_id = "vpc-1", subnet_ids = ["subnet-1"]`, "set one or the other"},
		"neither":                             {`prefix = "castai"`, "Set vpc_id, subnet_ids and route_table_ids"},
		"a VPC without subnets":               {`vpc_id = "vpc-1"`, "Set vpc_id, subnet_ids and route_table_ids"},
		"one zone":                            {`vpc_cidr = "10.0.0.0/16", availability_zones = ["us-east-1a"]`, "two availability_zones or more"},
		"an invalid CIDR block":               {`vpc_cidr = "10.0.0.0"`, "vpc_cidr must be an IPv4 CIDR block"},
		"a CIDR block too small":              {`vpc_cidr = "10.0.0.0/26"`, "/24 or larger"},
		"a prefix with a slash at its end":    {`vpc_cidr = "10.0.0.0/16", availability_zones = ["us-east-1a", "us-east-1b"], prefix = "castai/"`, "prefix must be lower case"},
		"a service name that is none":         {`vpc_cidr = "10.0.0.0/16", availability_zones = ["us-east-1a", "us-east-1b"], castai_services = { api = "vpce-svc-1" }`, "castai_services must have values"},
		"a lifecycle policy that is none":     {`vpc_cidr = "10.0.0.0/16", availability_zones = ["us-east-1a", "us-east-1b"], lifecycle_policy = "30 days"`, "lifecycle_policy must be JSON"},
		"a lock file of another registry":     {`vpc_cidr = "10.0.0.0/16", availability_zones = ["us-east-1a", "us-east-1b"], prefix = "other", lock_file = "LOCK"`, "targets that are not below"},
		"a region that CAST AI is not in":     {`vpc_cidr = "10.0.0.0/16", availability_zones = ["eu-west-1a", "eu-west-1b"]`, "are not known"},
		"some of the services of a region":    {`vpc_cidr = "10.0.0.0/16", availability_zones = ["eu-west-1a", "eu-west-1b"], castai_services = { api = "com.amazonaws.vpce.eu-west-1.vpce-svc-0123456789abcdef0" }`, "set all of"},
		"a mutability that is none":           {`vpc_cidr = "10.0.0.0/16", availability_zones = ["us-east-1a", "us-east-1b"], image_tag_mutability = "FIXED"`, "image_tag_mutability must be"},
		"a VPC whose S3 gateway has no table": {`vpc_id = "vpc-1", subnet_ids = ["subnet-1"]`, "set route_table_ids"},
		"a service that AWS does not have":    {`vpc_cidr = "10.0.0.0/16", availability_zones = ["us-east-1a", "us-east-1b"], aws_services = ["ecr.api", "ecr.dkrr", "s3"]`, "aws_services has names that are not in endpoints.json: ecr.dkrr"},
		"a service that CAST AI has not":      {`vpc_cidr = "10.0.0.0/16", availability_zones = ["us-east-1a", "us-east-1b"], castai_services = { apii = "com.amazonaws.vpce.us-east-1.vpce-svc-0123456789abcdef0" }`, "castai_services has names that are not in endpoints.json: apii"},
		"one of the two groups for the port":  {`vpc_cidr = "10.0.0.0/16", availability_zones = ["us-east-1a", "us-east-1b"], control_plane = { cluster_security_group_id = "sg-1", node_security_group_id = null }`, "control_plane needs both"},
	} {
		t.Run(name, func(t *testing.T) {
			in := region
			if strings.Contains(tc.inputs, "eu-west-1") {
				in = "eu-west-1"
			}
			file := filepath.Join(w.dir, "privatelink.lock.yaml")
			if err := os.WriteFile(file, []byte(lock), 0o600); err != nil {
				t.Fatal(err)
			}
			text := fmt.Sprintf("provider \"aws\" {\n  region = %q\n}\nmodule \"privatelink\" {\n  source = \"../..\"\n  %s\n}\n",
				in, strings.ReplaceAll(tc.inputs, `"LOCK"`, fmt.Sprintf("%q", file)))
			text = splitInputs(text)
			if err := os.WriteFile(filepath.Join(w.example, "main.tf"), []byte("terraform {\n  required_version = \">= 1.5\"\n}\n"+text), 0o600); err != nil {
				t.Fatal(err)
			}
			out, code, _ := w.run(t.Context(), "plan", "-input=false", "-no-color")
			if flat := strings.Join(strings.Fields(strings.ReplaceAll(out, "│", " ")), " "); code != 1 || !strings.Contains(flat, tc.want) {
				t.Errorf("exit code %d, want %q in\n%s", code, tc.want, out)
			}
		})
	}
}

// splitInputs puts each input on its own line, as HCL requires.
func splitInputs(text string) string {
	var b strings.Builder
	depth := 0
	for i, r := range text {
		switch r {
		case '[', '{':
			depth++
		case ']', '}':
			depth--
		case ',':
			if depth == 1 && text[i-1] != ' ' {
				b.WriteString("\n ")
				continue
			}
		}
		b.WriteRune(r)
	}
	return b.String()
}
