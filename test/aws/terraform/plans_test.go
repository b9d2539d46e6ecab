// SPDX-License-Identifier: Apache-2.0

//go:build aws

package terraform

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// testEvent is a line of terraform test -json.
// https://developer.hashicorp.com/terraform/internals/machine-readable-ui
type testEvent struct {
	Type       string
	File       string `json:"@testfile"`
	Run        string `json:"@testrun"`
	Diagnostic struct{ Severity, Summary, Detail string }
	TestRun    struct{ Status string } `json:"test_run"`
}

// planInModule runs terraform test with the files of a folder in the module. The provider
// has answers for healthy VPCs, and AWS is not asked.
func planInModule(t *testing.T, w *workspace, folder string) (events []testEvent, code int) {
	t.Helper()
	w.example = filepath.Join(w.dir, "terraform")
	if out, _, err := w.run(t.Context(), "init", "-input=false", "-no-color", "-test-directory="+folder); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	out, code, _ := w.run(t.Context(), "test", "-json", "-test-directory="+folder)
	for line := range bytes.Lines([]byte(out)) {
		var e testEvent
		if err := json.Unmarshal(line, &e); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		events = append(events, e)
	}
	return events, code
}

func newPlanWorkspace(t *testing.T) *workspace {
	t.Helper()
	t.Parallel()
	w, err := newWorkspace(t.Context(), t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// mustPass runs the tests in a folder of the module, and returns how many passed.
func mustPass(t *testing.T, w *workspace, folder string) (passed int) {
	t.Helper()
	events, code := planInModule(t, w, folder)
	for _, e := range events {
		if e.Type == "test_run" && e.TestRun.Status == "pass" {
			passed++
		}
		if e.Diagnostic.Severity == "error" {
			t.Errorf("%s %s: %s: %s", e.File, e.Run, e.Diagnostic.Summary, e.Diagnostic.Detail)
		}
	}
	if code != 0 {
		t.Errorf("exit code %d", code)
	}
	return passed
}

// The tests that the module carries.
func TestPlans(t *testing.T) {
	if passed := mustPass(t, newPlanWorkspace(t), "tests"); passed < 15 {
		t.Errorf("%d runs passed", passed)
	}
}

// variable is an input in variables.tf: its name, and the rest.
var variable = regexp.MustCompile(`(?s)\nvariable "(\w+)" \{\n(.*?)\n\}`)

// hasDefault is in an input that may be left out.
var hasDefault = regexp.MustCompile(`(?m)^  default +=`)

// Null stands for the default of every input, as configurations need it that pass on
// inputs of their own.
func TestNullStandsForTheDefault(t *testing.T) {
	w := newPlanWorkspace(t)
	folder := filepath.Join(w.dir, "terraform", "nulls")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	const config = `config = "registry: 123456789012.dkr.ecr.us-east-1.amazonaws.com/castai"`
	modules := map[string]struct{ required, answers string }{
		".": {`vpc_cidr = "10.0.0.0/16"`, ""},
		"modules/bastion": {"vpc_id = \"vpc-1\"\n subnet_id = \"subnet-1\"",
			"override_data {\n target = data.aws_subnet.this\n values = { vpc_id = \"vpc-1\", map_public_ip_on_launch = false }\n}"},
		"mirror":             {config + "\n release = { version = \"v0.1.0\", sha256 = \"" + strings.Repeat("0", 64) + "\" }", ""},
		"mirror/destination": {config, ""},
	}
	for name, m := range modules {
		text, err := os.ReadFile(filepath.Join(w.dir, "terraform", name, "variables.tf"))
		if err != nil {
			t.Fatal(err)
		}
		inputs := m.required
		for _, v := range variable.FindAllSubmatch(text, -1) {
			if hasDefault.Match(v[2]) && !strings.Contains(m.required, string(v[1])) {
				inputs += fmt.Sprintf("\n %s = null", v[1])
			}
		}
		run := fmt.Sprintf("mock_provider \"aws\" {\n source = \"./tests/aws\"\n}\n\nrun \"nulls\" {\n command = plan\n module {\n source = \"./%s\"\n }\n variables {\n %s\n }\n %s\n}\n", name, inputs, m.answers)
		if err := os.WriteFile(filepath.Join(folder, "nulls-"+filepath.Base(name)+".tftest.hcl"), []byte(run), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if passed := mustPass(t, w, "nulls"); passed != len(modules) {
		t.Errorf("%d of %d runs passed", passed, len(modules))
	}
}

const healthy = `vpc_id = "vpc-1"
    subnet_ids = ["subnet-a", "subnet-b"]
    route_table_ids = ["rtb-1"]`

// Each message names the input and has a remedy. A plan may have several.
func TestInvalidInput(t *testing.T) {
	w := newPlanWorkspace(t)
	folder := filepath.Join(w.dir, "terraform", "invalid")
	locks := filepath.Join(w.dir, "locks")
	for _, dir := range []string{folder, locks} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write := func(name, text string) string {
		t.Helper()
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	lockOf := func(name, text string) string {
		return fmt.Sprintf("vpc_cidr = \"10.0.0.0/16\"\n lock_file = %q", write(filepath.Join(locks, name), text))
	}
	lockRemedy := "privatelink images --registry 123456789012.dkr.ecr.us-east-1.amazonaws.com/castai --set umbrella -o lock > privatelink.lock.yaml"
	subnet := func(i int, id, vpc, zone string) string {
		return fmt.Sprintf("override_data {\n target = data.aws_subnet.given[%d]\n values = { id = %q, vpc_id = %q, availability_zone = %q }\n}\n", i, id, vpc, zone)
	}
	table := "override_data {\n target = data.aws_route_table.given[0]\n values = { vpc_id = \"vpc-1\" }\n}\n"
	subnets := subnet(0, "subnet-a", "vpc-1", "us-east-1a") + subnet(1, "subnet-b", "vpc-1", "us-east-1b") + table
	endpoint := func(name, id, values string) string {
		return fmt.Sprintf("override_data {\n target = data.aws_vpc_endpoint.existing[%q]\n values = { id = %q, vpc_id = \"vpc-1\", state = \"available\", private_dns_enabled = true, %s }\n}\n", name, id, values)
	}
	cases := map[string]struct {
		inputs, answers string
		want            []string
	}{
		"values": {`vpc_cidr = "10.0.0.0"
			prefix = "castai/"
			castai_services = { api = "vpce-svc-1" }
			lifecycle_policy = "30 days"
			image_tag_mutability = "FIXED"
			zone_count = 1
			chart_readers = ["s3"]
			principal_org_id = "acme"
			resource_org_id = "acme"
			control_plane = { cluster_security_group_id = "sg-1", node_security_group_id = null }`, "", []string{
			"vpc_cidr must be an IPv4 CIDR block", "prefix must be lower case", "castai_services must have values", "lifecycle_policy must be JSON", "image_tag_mutability must be",
			"zone_count must be 2 to 8", "chart_readers must be IDs of endpoints", "principal_org_id must be the ID of an organization", "resource_org_id must be the ID of an organization", "control_plane needs both",
		}},
		"a CIDR block too small": {`vpc_cidr = "10.0.0.0/24"`, "", []string{"/16 to /23"}},
		"a CIDR block too large": {`vpc_cidr = "10.0.0.0/15"`, "", []string{"/16 to /23"}},
		"combinations": {`vpc_cidr = "10.0.0.0/16"
			availability_zones = ["us-east-1a"]
			vpc_id = "vpc-1"
			subnet_ids = ["subnet-1"]
			create_kms_key = true
			kms_key_arn = "arn:aws:kms:us-east-1:123456789012:key/1"
			aws_services = ["ecr.api", "ecr.dkrr", "s3"]
			optional_services = ["smm"]
			dual_stack_services = ["s3"]
			existing_endpoints = { sqs = "vpce-1" }
			castai_services = { apii = "com.amazonaws.vpce.us-east-1.vpce-svc-0123456789abcdef0" }`, "", []string{
			"set one or the other", "two availability_zones or more", "create_kms_key creates a key", "names that are not in endpoints.json: ecr.dkrr, smm", "dual_stack_services has names of no interface endpoint: s3",
			"existing_endpoints has names that are not needed: sqs", "castai_services has names that are not in endpoints.json: apii",
		}},
		"no VPC":           {`prefix = "castai"`, "", []string{"Set vpc_id of an existing VPC, or vpc_cidr of a new one"}},
		"a small region":   {"vpc_cidr = \"10.0.0.0/16\"\n zone_count = 8", "", []string{"has fewer than 8 zones for EKS. Set zone_count"}},
		"a foreign region": {`vpc_cidr = "10.0.0.0/16"`, "override_data {\n target = data.aws_region.this\n values = { name = \"eu-west-1\" }\n}\n", []string{"CAST AI's services in eu-west-1 are not known", "set all of"}},
		"some services": {"vpc_cidr = \"10.0.0.0/16\"\n castai_services = { api = \"com.amazonaws.vpce.eu-west-1.vpce-svc-0123456789abcdef0\" }",
			"override_data {\n target = data.aws_region.this\n values = { name = \"eu-west-1\" }\n}\n", []string{"set all of"}},
		"a lock of another registry":  {lockOf("other.yaml", lock) + "\n prefix = \"other\"", "", []string{"targets that are not below 123456789012.dkr.ecr.us-east-1.amazonaws.com/other"}},
		"no lock file":                {"vpc_cidr = \"10.0.0.0/16\"\n lock_file = \"/nonexistent/lock.yaml\"", "", []string{"/nonexistent/lock.yaml does not exist", lockRemedy}},
		"a lock that is text":         {lockOf("text.yaml", "just text\n"), "", []string{"is not a lock with images", lockRemedy}},
		"a lock that is no YAML":      {lockOf("bad.yaml", "a: [\n"), "", []string{"is not a lock with images", lockRemedy}},
		"privatelink.yaml as lock":    {lockOf("config.yaml", "kind: Config\nregistry: x\n"), "", []string{"is not a lock with images"}},
		"a lock without images":       {lockOf("empty.yaml", "kind: Lock\nimages: []\n"), "", []string{"is not a lock with images"}},
		"a lock with images of chars": {lockOf("names.yaml", "kind: Lock\nimages: [agent]\n"), "", []string{"is not a lock with images"}},
		"subnets": {healthy, subnet(0, "subnet-a", "vpc-2", "us-east-1a") + subnet(1, "subnet-b", "vpc-1", "us-east-1a") +
			"override_data {\n target = data.aws_route_table.given[0]\n values = { vpc_id = \"vpc-2\" }\n}\n" +
			"override_data {\n target = data.aws_vpc.existing\n values = { owner_id = \"210987654321\", enable_dns_support = true, enable_dns_hostnames = false }\n}\n", []string{
			"subnet_ids has subnets of another VPC: subnet-a", "--filters Name=vpc-id,Values=vpc-1", "subnet-a and subnet-b in us-east-1a", "route_table_ids has route tables of another VPC: rtb-1",
			"aws ec2 modify-vpc-attribute --vpc-id vpc-1 --enable-dns-hostnames", "vpc-1 is shared by account 210987654321, and only its owner can create endpoints",
		}},
		"no route table for S3": {"vpc_id = \"vpc-1\"\n subnet_ids = [\"subnet-a\"]", subnet(0, "subnet-a", "vpc-1", "us-east-1a"), []string{"set route_table_ids"}},
		"no subnets":            {"vpc_id = \"vpc-1\"\n subnet_tags = { tier = \"private\" }", "", []string{`No subnet of vpc-1 was found for the endpoints: it has no private subnet in a regular zone with the tags {"tier":"private"}. Set subnet_ids`}},
		"zones without the service": {healthy, subnet(0, "subnet-a", "vpc-1", "us-east-1-bos-1a") + subnet(1, "subnet-b", "vpc-1", "us-east-1d") + table, []string{
			"No subnet is in a zone that offers com.amazonaws.us-east-1.ecr.api. It is offered in us-east-1a, us-east-1b, us-east-1c, and the subnets are in us-east-1-bos-1a, us-east-1d", "leave the service out",
		}},
		"charts without a gateway": {"vpc_cidr = \"10.0.0.0/16\"\n create_chart_repository = true\n aws_services = [\"ecr.api\", \"ecr.dkr\"]", "", []string{"create_chart_repository needs an S3 gateway", "set chart_readers to the IDs"}},
		"readers of no charts":     {"vpc_cidr = \"10.0.0.0/16\"\n chart_readers = [\"vpce-0aa\"]", "", []string{"chart_readers is for create_chart_repository = true"}},
		"options of new VPCs":      {healthy + "\n flow_logs = true", subnets, []string{"flow_logs and ipv6 are for a VPC that the module creates"}},
		"an endpoint of others with the name of a service": {healthy + "\n find_existing_endpoints = true", subnets +
			"override_data {\n target = data.aws_network_interfaces.endpoints\n values = { ids = [\"eni-1\"] }\n}\n" +
			"override_data {\n target = data.aws_network_interface.endpoints\n values = { description = \"VPC Endpoint Interface vpce-0aa\" }\n}\n" +
			"override_data {\n target = data.aws_vpc_endpoint.found\n values = { id = \"vpce-0aa\", service_name = \"com.amazonaws.us-east-1.sts\", private_dns_enabled = true, tags = { Name = \"sts\" } }\n}\n", []string{
			`existing_endpoints = { "sts" = "vpce-0aa" }`,
		}},
		"existing endpoints": {healthy + "\n existing_endpoints = { \"ecr.api\" = \"vpce-1\", \"ecr.dkr\" = \"vpce-2\", sts = \"vpce-3\", s3 = \"vpce-4\", \"castai-api\" = \"vpce-5\" }", subnets +
			"override_data {\n target = data.aws_vpc_endpoint.existing[\"ecr.api\"]\n values = { id = \"vpce-1\", vpc_id = \"vpc-2\", state = \"available\", private_dns_enabled = true, service_name = \"com.amazonaws.us-east-1.ecr.api\" }\n}\n" +
			endpoint("ecr.dkr", "vpce-2", `service_name = "com.amazonaws.us-east-1.ecr.api"`) +
			"override_data {\n target = data.aws_vpc_endpoint.existing[\"sts\"]\n values = { id = \"vpce-3\", vpc_id = \"vpc-1\", state = \"available\", private_dns_enabled = false, service_name = \"com.amazonaws.us-east-1.sts\" }\n}\n" +
			endpoint("s3", "vpce-4", `service_name = "com.amazonaws.us-east-1.s3", route_table_ids = ["rtb-9"]`) +
			"override_data {\n target = data.aws_vpc_endpoint.existing[\"castai-api\"]\n values = { id = \"vpce-5\", vpc_id = \"vpc-1\", state = \"pendingAcceptance\", private_dns_enabled = true, service_name = \"com.amazonaws.vpce.us-east-1.vpce-svc-0f648001d494b9a46\" }\n}\n", []string{
			"vpce-1 is in vpc-2", "vpce-2 is of com.amazonaws.us-east-1.ecr.api", "aws ec2 modify-vpc-endpoint --vpc-endpoint-id vpce-3 --private-dns-enabled",
			"aws ec2 modify-vpc-endpoint --vpc-endpoint-id vpce-4 --add-route-table-ids rtb-1", "vpce-5 is pendingAcceptance",
		}},
	}
	files := map[string]string{}
	for name, tc := range cases {
		file := fmt.Sprintf("case%02d.tftest.hcl", len(files))
		files[name] = file
		write(filepath.Join(folder, file), fmt.Sprintf("mock_provider \"aws\" {\n source = \"./tests/aws\"\n}\n\nrun \"plan\" {\n command = plan\n variables {\n %s\n }\n %s\n}\n", tc.inputs, tc.answers))
	}
	events, _ := planInModule(t, w, "invalid")
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var messages []string
			for _, e := range events {
				if filepath.Base(e.File) == files[name] && e.Diagnostic.Severity == "error" {
					messages = append(messages, flat(e.Diagnostic.Summary+" "+e.Diagnostic.Detail))
				}
			}
			all := strings.Join(messages, "\n")
			for _, want := range tc.want {
				if !strings.Contains(all, want) {
					t.Errorf("no %q in\n%s", want, all)
				}
			}
		})
	}
}
