// SPDX-License-Identifier: Apache-2.0

//go:build aws

package terraform

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
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
	region   = "us-east-1"
	registry = "123456789012.dkr.ecr.us-east-1.amazonaws.com/castai"
	lock     = `apiVersion: privatelink.cast.ai/v1alpha1
kind: Lock
registry: 123456789012.dkr.ecr.us-east-1.amazonaws.com/castai
images:
- {source: "ghcr.io/castai/images/agent:v1", target: "123456789012.dkr.ecr.us-east-1.amazonaws.com/castai/agent:v1"}
- {source: "ghcr.io/castai/images/cpa/cpvpa:v1", target: "123456789012.dkr.ecr.us-east-1.amazonaws.com/castai/cpa/cpvpa@sha256:aa"}
- {source: "ghcr.io/castai/images/live/kubectl", target: "123456789012.dkr.ecr.us-east-1.amazonaws.com/castai/live/kubectl"}
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
	t.Parallel() // most of the time is waiting for the provider, which polls
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

// apply applies the configuration. A second plan must find no changes.
func (w *fixture) apply(t *testing.T, vars ...string) {
	t.Helper()
	w.must(t, append([]string{"apply", "-input=false", "-no-color", "-auto-approve"}, vars...)...)
	w.planNothing(t, vars...)
}

func (w *fixture) planNothing(t *testing.T, vars ...string) {
	t.Helper()
	if out, code, err := w.run(t.Context(), append([]string{"plan", "-input=false", "-no-color", "-detailed-exitcode"}, vars...)...); code != 0 || err != nil {
		t.Errorf("a plan without changes, exit code %d: %v\n%s", code, err, out)
	}
}

// destroy destroys what was applied, and requires that nothing is left.
func (w *fixture) destroy(t *testing.T, vars ...string) {
	t.Helper()
	w.must(t, append([]string{"destroy", "-input=false", "-no-color", "-auto-approve"}, vars...)...)
	if out := w.must(t, "state", "list"); strings.TrimSpace(out) != "" {
		t.Errorf("the state has\n%s", out)
	}
	endpoints, err := w.ec2.DescribeVpcEndpoints(t.Context(), &ec2.DescribeVpcEndpointsInput{Filters: []types.Filter{{Name: aws.String("vpc-endpoint-state"), Values: []string{"available"}}}})
	if err != nil || len(endpoints.VpcEndpoints) > 0 {
		t.Errorf("endpoints are left: %v %v", endpoints, err)
	}
	repositories, err := w.ecr.DescribeRepositories(t.Context(), &ecr.DescribeRepositoriesInput{})
	if err != nil || len(repositories.Repositories) > 0 {
		t.Errorf("repositories are left: %v %v", repositories, err)
	}
	vpcs, err := w.ec2.DescribeVpcs(t.Context(), &ec2.DescribeVpcsInput{Filters: []types.Filter{{Name: aws.String("tag:Name"), Values: []string{"privatelink*"}}}})
	if err != nil || len(vpcs.Vpcs) > 0 {
		t.Errorf("VPCs are left: %v %v", vpcs, err)
	}
}

// lockFile writes a lock file, and returns its path.
func (w *fixture) lockFile(t *testing.T) string {
	t.Helper()
	file := filepath.Join(w.dir, "privatelink.lock.yaml")
	if err := os.WriteFile(file, []byte(lock), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// configure replaces the configuration of the current example.
func (w *fixture) configure(t *testing.T, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(w.example, "main.tf"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	w.must(t, "init", "-input=false", "-no-color") // other modules
}

// flat returns the output of Terraform without the frame of its messages.
func flat(out string) string {
	return strings.Join(strings.Fields(strings.NewReplacer("│", " ", "╷", " ", "╵", " ").Replace(out)), " ")
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
	c := network.Config{AWS: w.config, VPC: vpc, Subnets: subnets, Partition: "aws", Registry: registry, RegistryRegion: region}
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

func TestFormat(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "terraform", "fmt", "-check", "-diff", "-recursive", module)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

func TestNewVPC(t *testing.T) {
	w, ctx := newFixture(t, "new-vpc"), t.Context()
	lockFile := "-var=lock_file=" + w.lockFile(t)
	w.apply(t, lockFile)
	vpcs, err := w.ec2.DescribeVpcs(ctx, &ec2.DescribeVpcsInput{Filters: []types.Filter{{Name: aws.String("tag:Name"), Values: []string{"privatelink"}}}})
	if err != nil || len(vpcs.Vpcs) != 1 {
		t.Fatalf("%v %v", vpcs, err)
	}
	vpc := *vpcs.Vpcs[0].VpcId
	w.check(t, vpc)
	w.checkSecurityGroup(t, "10.0.0.0/16")
	w.checkIsolation(t, vpc)
	w.checkPolicies(t)

	repositories, err := w.ecr.DescribeRepositories(ctx, &ecr.DescribeRepositoriesInput{})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, r := range repositories.Repositories {
		names = append(names, *r.RepositoryName)
	}
	if slices.Sort(names); !slices.Equal(names, []string{"castai/agent", "castai/cpa/cpvpa", "castai/live/kubectl", "castai/" + deploy.Image}) {
		t.Errorf("repositories %q", names)
	}
	text := w.must(t, "output", "-raw", "privatelink_yaml")
	rules, err := rewrite.Load("privatelink.yaml", []byte(text))
	if err != nil || rules.Registry() != registry {
		t.Errorf("the output privatelink_yaml: %v: %s", err, text)
	}
	sed := exec.CommandContext(ctx, "sed", "-n", "s/^registry: *//p") // as the onboarding guide does
	sed.Stdin = strings.NewReader(text)
	if out, err := sed.Output(); err != nil || strings.TrimSpace(string(out)) != registry || w.must(t, "output", "-raw", "registry") != registry {
		t.Errorf("%s prints %q, %v", sed, out, err)
	}
	w.destroy(t, lockFile)
}

// checkIsolation requires that a VPC has no way to the internet, and that its default
// security group has no rules.
func (w *fixture) checkIsolation(t *testing.T, vpc string) {
	t.Helper()
	ctx, in := t.Context(), []types.Filter{{Name: aws.String("vpc-id"), Values: []string{vpc}}}
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
	groups, err := w.ec2.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{Filters: append(in, types.Filter{Name: aws.String("group-name"), Values: []string{"default"}})})
	if err != nil || len(groups.SecurityGroups) != 1 || len(groups.SecurityGroups[0].IpPermissions)+len(groups.SecurityGroups[0].IpPermissionsEgress) > 0 {
		t.Errorf("the default security group: %+v %v", groups, err)
	}
	subnets, err := w.ec2.DescribeSubnets(ctx, &ec2.DescribeSubnetsInput{Filters: in})
	if err != nil || len(subnets.Subnets) != 3 {
		t.Errorf("%d subnets, %v", len(subnets.Subnets), err)
	}
}

// checkPolicies requires policies that the doctor's check does not read as a whole.
func (w *fixture) checkPolicies(t *testing.T) {
	t.Helper()
	endpoints, err := w.ec2.DescribeVpcEndpoints(t.Context(), &ec2.DescribeVpcEndpointsInput{})
	if err != nil {
		t.Fatal(err)
	}
	type statement struct {
		Sid              string
		Action, Resource any
		Condition        map[string]map[string]string
	}
	statements := map[string]statement{} // by service and Sid
	for _, e := range endpoints.VpcEndpoints {
		short := strings.TrimPrefix(*e.ServiceName, "com.amazonaws."+region+".")
		var policy struct{ Statement []statement }
		if strings.HasPrefix(short, "com.amazonaws.vpce.") { // of CAST AI
			continue
		}
		if err := json.Unmarshal([]byte(aws.ToString(e.PolicyDocument)), &policy); err != nil {
			t.Fatalf("%s: %v: %q", short, err, aws.ToString(e.PolicyDocument))
		}
		for _, s := range policy.Statement {
			statements[short+" "+s.Sid] = s
			limited := len(s.Condition["StringEquals"]) > 0
			if withoutPrincipal := s.Sid == "EcrLayers"; limited == withoutPrincipal {
				t.Errorf("%s %s: conditions %v", short, s.Sid, s.Condition)
			}
		}
	}
	for name, want := range map[string]struct {
		resource any
		keys     []string
	}{
		"s3 EcrLayers":            {"arn:aws:s3:::prod-us-east-1-starport-layer-bucket/*", nil},
		"s3 OwnBuckets":           {"*", []string{"aws:PrincipalAccount", "aws:ResourceAccount"}},
		"sts WebIdentities":       {"arn:aws:iam::123456789012:role/*", []string{"aws:ResourceAccount"}},
		"ecr.dkr OwnRepositories": {[]any{"arn:aws:ecr:us-east-1:123456789012:repository/*"}, []string{"aws:PrincipalAccount"}},
		"ecr.api Token":           {"*", []string{"aws:PrincipalAccount"}},
		"ec2 OwnPrincipals":       {"*", []string{"aws:PrincipalAccount"}},
	} {
		s, found := statements[name]
		if keys := slices.Sorted(maps.Keys(s.Condition["StringEquals"])); !found || !slices.Equal(keys, want.keys) || fmt.Sprint(s.Resource) != fmt.Sprint(want.resource) {
			t.Errorf("%s: %+v", name, s)
		}
	}
	if r := fmt.Sprint(statements["ecr.dkr AddOns"].Resource); !strings.Contains(r, "arn:aws:ecr:*:*:repository/eks/*") {
		t.Errorf("repositories of add-ons: %s", r)
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
	w.apply(t, "-var=lock_file="+w.lockFile(t), "-var=vpc_id="+*id, "-var=subnet_ids="+list(subnets...), "-var=route_table_ids="+list(*table.RouteTable.RouteTableId),
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
