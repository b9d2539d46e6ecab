// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// terraformFiles returns the configuration files of the module and its examples, by path.
func terraformFiles(t *testing.T) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir("terraform", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(path) != ".tf" {
			return err
		}
		text, err := os.ReadFile(path)
		files[path] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// A bastion without a route out has the programs that its tools or its AMI bring.
func TestExamplesWithABastionCanInstallPrograms(t *testing.T) {
	found := 0
	for path, text := range terraformFiles(t) {
		_, block, hasBastion := strings.Cut(text, "\nmodule \"bastion\" {\n")
		if !hasBastion {
			continue
		}
		found++
		block, _, _ = strings.Cut(block, "\n}\n")
		for _, name := range []string{"tools", "ami_id"} {
			input := regexp.MustCompile(`(?m)^\s+` + name + `\s+= var\.` + name + `$`)
			if !input.MatchString(block) || !strings.Contains(text, "\nvariable \""+name+"\" {\n") {
				t.Errorf("%s: the bastion has no %s", path, name)
			}
		}
	}
	if found == 0 {
		t.Error("no example has a bastion")
	}
}

// aws_ecr_repository_creation_template is a resource since version 5.61.0 of the provider:
// https://github.com/hashicorp/terraform-provider-aws/releases/tag/v5.61.0
func TestTheProviderHasTheResources(t *testing.T) {
	minimum := regexp.MustCompile(`source\s+= "hashicorp/aws"\s+version = "(?:>=|~>) 5\.(\d+)"`)
	found := 0
	for path, text := range terraformFiles(t) {
		for _, match := range minimum.FindAllStringSubmatch(text, -1) {
			found++
			if minor, err := strconv.Atoi(match[1]); err != nil || minor < 61 {
				t.Errorf("%s accepts version 5.%s of the provider, which lacks a resource", path, match[1])
			}
		}
	}
	if found == 0 {
		t.Error("no file requires a version of the provider")
	}
}

// The actions are those of
// https://docs.aws.amazon.com/vpc/latest/userguide/flow-logs-iam-role.html, without
// logs:CreateLogGroup: the module creates the group.
func TestTheRoleOfFlowLogsHasTheMinimumThatAWSNames(t *testing.T) {
	text := terraformFiles(t)["terraform/flowlogs.tf"]
	for _, action := range []string{"logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogGroups", "logs:DescribeLogStreams"} {
		if !strings.Contains(text, `"`+action+`"`) {
			t.Errorf("%s is not allowed", action)
		}
	}
}

// A cluster of the example has a version that the tests of this project run.
func TestTheExampleClusterHasATestedVersion(t *testing.T) {
	text := terraformFiles(t)["terraform/examples/with-eks/main.tf"]
	_, block, _ := strings.Cut(text, "\nvariable \"kubernetes_version\" {\n")
	block, _, _ = strings.Cut(block, "\n}\n")
	version := regexp.MustCompile(`default = ("[0-9.]+")`).FindStringSubmatch(block)
	workflow, err := os.ReadFile("../.github/workflows/nightly.yml")
	if err != nil {
		t.Fatal(err)
	}
	tested := regexp.MustCompile(`kubernetes: \[(.*)\]`).FindStringSubmatch(string(workflow))
	if version == nil || tested == nil || !slices.Contains(strings.Split(tested[1], ", "), version[1]) {
		t.Errorf("version %v is not in %v", version, tested)
	}
}

// Without the setting, the cluster of the example would not enforce the NetworkPolicy of
// the bundle: https://docs.aws.amazon.com/eks/latest/userguide/cni-network-policy-configure.html
func TestTheExampleClusterEnforcesNetworkPolicies(t *testing.T) {
	text := terraformFiles(t)["terraform/examples/with-eks/main.tf"]
	_, block, _ := strings.Cut(text, "\n    vpc-cni = {\n")
	block, _, _ = strings.Cut(block, "\n    }\n")
	if !strings.Contains(block, `configuration_values = jsonencode({ enableNetworkPolicy = "true" })`) {
		t.Error("the add-on vpc-cni does not set enableNetworkPolicy")
	}
}
