// SPDX-License-Identifier: Apache-2.0

//go:build aws

package terraform

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/iam"
)

const kubectlText = "a program"

func TestBastion(t *testing.T) {
	w, ctx := newFixture(t, "with-bastion"), t.Context()
	tools := fmt.Sprintf(`-var=tools={kubectl={bucket="tools",key="bin/kubectl",sha256=%q}}`, fmt.Sprintf("%x", sha256.Sum256([]byte(kubectlText))))
	w.apply(t, tools)
	out, err := w.ec2.DescribeInstances(ctx, &ec2.DescribeInstancesInput{})
	if err != nil || len(out.Reservations) != 1 {
		t.Fatalf("%v %v", out, err)
	}
	i := out.Reservations[0].Instances[0]
	if i.PublicIpAddress != nil || i.KeyName != nil || i.MetadataOptions.HttpTokens != types.HttpTokensStateRequired || aws.ToInt32(i.MetadataOptions.HttpPutResponseHopLimit) != 1 {
		t.Errorf("public address %v, key %v, metadata %+v", i.PublicIpAddress, i.KeyName, i.MetadataOptions)
	}
	volumes, err := w.ec2.DescribeVolumes(ctx, &ec2.DescribeVolumesInput{Filters: []types.Filter{{Name: aws.String("attachment.instance-id"), Values: []string{*i.InstanceId}}}})
	if err != nil || len(volumes.Volumes) != 1 || !aws.ToBool(volumes.Volumes[0].Encrypted) || !strings.HasPrefix(aws.ToString(volumes.Volumes[0].KmsKeyId), "arn:aws:kms:us-east-1:123456789012:key/") {
		t.Errorf("volumes %+v %v", volumes, err)
	}
	groups, err := w.ec2.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{GroupIds: []string{*i.SecurityGroups[0].GroupId}})
	if err != nil || len(groups.SecurityGroups) != 1 || len(groups.SecurityGroups[0].IpPermissions) > 0 {
		t.Errorf("ingress rules of the bastion: %+v %v", groups, err)
	}
	for _, p := range groups.SecurityGroups[0].IpPermissionsEgress {
		if *p.FromPort != 443 || *p.ToPort != 443 || slices.ContainsFunc(p.IpRanges, func(r types.IpRange) bool { return *r.CidrIp != "10.0.0.0/16" }) || len(p.Ipv6Ranges) > 0 {
			t.Errorf("egress rule of the bastion: %+v", p)
		}
	}
	w.checkSessionDocument(t)
	w.checkUserData(t, *i.InstanceId)
	roles, err := iam.NewFromConfig(w.config).ListAttachedRolePolicies(ctx, &iam.ListAttachedRolePoliciesInput{RoleName: aws.String(roleName(w.must(t, "output", "-raw", "bastion_role_arn")))})
	if err != nil || len(roles.AttachedPolicies) > 0 {
		t.Errorf("managed policies of the bastion: %+v %v", roles, err)
	}
	w.destroy(t, tools)
	if out, err = w.ec2.DescribeInstances(ctx, &ec2.DescribeInstancesInput{Filters: []types.Filter{{Name: aws.String("instance-state-name"), Values: []string{"pending", "running", "stopped"}}}}); err != nil || len(out.Reservations) > 0 {
		t.Errorf("instances are left: %v %v", out, err)
	}
}

func roleName(arn string) string { return arn[strings.LastIndex(arn, "/")+1:] }

// attributes returns those of a resource in the state.
func (w *fixture) attributes(t *testing.T, kind, name string) map[string]any {
	t.Helper()
	var state struct {
		Resources []struct {
			Type, Name string
			Instances  []struct{ Attributes map[string]any }
		}
	}
	if err := json.Unmarshal([]byte(w.must(t, "state", "pull")), &state); err != nil {
		t.Fatal(err)
	}
	for _, r := range state.Resources {
		if r.Type == kind && r.Name == name && len(r.Instances) == 1 {
			return r.Instances[0].Attributes
		}
	}
	t.Fatalf("the state has no %s %s", kind, name)
	return nil
}

// checkSessionDocument requires that sessions are encrypted, logged and limited.
func (w *fixture) checkSessionDocument(t *testing.T) {
	t.Helper()
	content, _ := w.attributes(t, "aws_ssm_document", "session")["content"].(string)
	var document struct {
		SessionType string
		Inputs      struct {
			CloudWatchLogGroupName, KmsKeyID, IdleSessionTimeout    string
			CloudWatchEncryptionEnabled, CloudWatchStreamingEnabled bool
		}
	}
	if err := json.Unmarshal([]byte(content), &document); err != nil {
		t.Fatal(err)
	}
	in := document.Inputs
	if document.SessionType != "Standard_Stream" || in.CloudWatchLogGroupName != "/aws/ssm/privatelink-bastion" || in.KmsKeyID == "" || in.IdleSessionTimeout != "20" || !in.CloudWatchEncryptionEnabled || !in.CloudWatchStreamingEnabled {
		t.Error(content)
	}
}

// checkUserData runs the script of the instance, with a stand-in for S3: once with the
// file that was announced, and once with another.
func (w *fixture) checkUserData(t *testing.T, instance string) {
	t.Helper()
	out, err := w.ec2.DescribeInstanceAttribute(t.Context(), &ec2.DescribeInstanceAttributeInput{InstanceId: &instance, Attribute: types.InstanceAttributeNameUserData})
	if err != nil {
		t.Fatal(err)
	}
	script, err := base64.StdEncoding.DecodeString(aws.ToString(out.UserData.Value))
	if err != nil {
		t.Fatal(err)
	}
	for content, want := range map[string]bool{kubectlText: true, "something else": false} {
		bin, target := t.TempDir(), filepath.Join(t.TempDir(), "installed")
		for name, text := range map[string]string{
			"aws":     fmt.Sprintf("#!/bin/sh\n[ \"$*\" = 's3 cp --region us-east-1 s3://tools/bin/kubectl kubectl' ] && printf %%s %q > kubectl\n", content),
			"install": fmt.Sprintf("#!/bin/sh\n[ \"$1 $2 $4\" = '-m 755 /usr/local/bin/kubectl' ] && cp \"$3\" %q\n", target),
		} {
			if err := os.WriteFile(filepath.Join(bin, name), []byte(text), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		cmd := exec.CommandContext(t.Context(), "bash", "-c", string(script))
		cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
		text, err := cmd.CombinedOutput()
		_, missing := os.Stat(target)
		if (err == nil) != want || (missing == nil) != want {
			t.Errorf("content %q: %v, %v\n%s\n%s", content, err, missing, script, text)
		}
	}
}

func TestReplication(t *testing.T) {
	w := newFixture(t, "replication")
	out, code, _ := w.run(t.Context(), "plan", "-input=false", "-no-color")
	if code != 1 || !strings.Contains(flat(out), "Run: aws ecr describe-registry --query replicationConfiguration.rules. If it prints [], set replaces_all_rules = true") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	w.apply(t, "-var=replaces_all_rules=true")
	registry, err := w.ecr.DescribeRegistry(t.Context(), &ecr.DescribeRegistryInput{})
	if err != nil {
		t.Fatal(err)
	}
	rules := registry.ReplicationConfiguration.Rules
	if len(rules) != 1 || *rules[0].Destinations[0].Region != "us-east-2" || *rules[0].RepositoryFilters[0].Filter != "castai/" {
		t.Errorf("%+v", rules)
	}
	if got := w.must(t, "output", "-raw", "destination_registry"); got != "123456789012.dkr.ecr.us-east-2.amazonaws.com/castai" {
		t.Error(got)
	}
	w.destroy(t, "-var=replaces_all_rules=true")
}

// repositories has no endpoints.
const repositories = `terraform {
  required_version = ">= 1.7"
}
provider "aws" {
  region = "us-east-1"
}
variable "lock_file" {
  type = string
}
variable "force_delete" {
  type    = bool
  default = false
}
module "privatelink" {
  source                  = "../.."
  vpc_cidr                = "10.0.0.0/16"
  create_aws_endpoints    = false
  create_castai_endpoints = false
  lock_file               = var.lock_file
  force_delete            = var.force_delete
}
`

// The mirror was first: Terraform takes over its repositories by import blocks. Images
// prevent their deletion, unless force_delete is set.
func TestRepositoriesThatExist(t *testing.T) {
	w, ctx := newFixture(t, "new-vpc"), t.Context()
	w.configure(t, repositories)
	lockFile := "-var=lock_file=" + w.lockFile(t)
	for _, name := range []string{"castai/agent", "castai/cpa/cpvpa", "castai/privatelink-webhook"} {
		if _, err := w.ecr.CreateRepository(ctx, &ecr.CreateRepositoryInput{RepositoryName: &name}); err != nil {
			t.Fatal(err)
		}
	}
	manifest := `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","size":2,"digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"},"layers":[]}`
	if _, err := w.ecr.PutImage(ctx, &ecr.PutImageInput{RepositoryName: aws.String("castai/agent"), ImageTag: aws.String("v1"), ImageManifest: &manifest}); err != nil {
		t.Fatal(err)
	}
	if out, code, _ := w.run(ctx, "apply", "-input=false", "-no-color", "-auto-approve", lockFile); code != 1 || !strings.Contains(out, "RepositoryAlreadyExists") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	readme, err := os.ReadFile(filepath.Join(module, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, after, found := strings.Cut(string(readme), "```hcl\nimport {")
	block, _, closed := strings.Cut(after, "```")
	if !found || !closed {
		t.Fatal("the README has no import block")
	}
	w.configure(t, repositories+"import {"+strings.ReplaceAll(block, `"privatelink.lock.yaml"`, "var.lock_file"))
	w.apply(t, lockFile)
	w.configure(t, repositories)
	if out, code, _ := w.run(ctx, "destroy", "-input=false", "-no-color", "-auto-approve", lockFile); code != 1 || !strings.Contains(out, "RepositoryNotEmpty") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	w.apply(t, lockFile, "-var=force_delete=true")
	w.destroy(t, lockFile, "-var=force_delete=true")
}
