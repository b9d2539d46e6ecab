// SPDX-License-Identifier: Apache-2.0

//go:build aws

package terraform

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The stand-in for terraform-aws-modules/eks has the inputs that the example gives, and
// creates what its outputs need. The module itself needs providers that are not
// available everywhere.
const eksModule = `variable "cluster_name" { type = string }
variable "cluster_version" { type = string }
variable "vpc_id" { type = string }
variable "subnet_ids" { type = list(string) }
variable "cluster_endpoint_private_access" { type = bool }
variable "cluster_endpoint_public_access" { type = bool }
variable "enable_cluster_creator_admin_permissions" { type = bool }
variable "access_entries" { type = any }
variable "cluster_addons" { type = any }
variable "eks_managed_node_groups" { type = any }

resource "aws_security_group" "cluster" {
  name_prefix = "${var.cluster_name}-cluster-"
  vpc_id      = var.vpc_id
}
resource "terraform_data" "entry" {
  for_each = var.access_entries # the keys must be known
  input    = each.value.principal_arn
}
resource "terraform_data" "subnets" {
  input = var.subnet_ids
}
output "cluster_security_group_id" {
  value = aws_security_group.cluster.id
}
`

func TestEKSExample(t *testing.T) {
	w := newFixture(t, "new-vpc")
	text, err := os.ReadFile(filepath.Join(module, "examples", "with-eks", "main.tf"))
	if err != nil {
		t.Fatal(err)
	}
	const source = "  source  = \"terraform-aws-modules/eks/aws\"\n  version = \"~> 20.37\"\n"
	if !strings.Contains(string(text), source) {
		t.Fatalf("the example has no\n%s", source)
	}
	dir := filepath.Join(w.example, "eks")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "main.tf"), []byte(eksModule), 0o600); err != nil {
		t.Fatal(err)
	}
	w.configure(t, strings.Replace(string(text), source, "  source = \"./eks\"\n", 1))
	admin := "-var=admin_role_arn=arn:aws:iam::123456789012:role/admin"
	w.apply(t, admin)
	if n := strings.Count(w.must(t, "state", "list"), "terraform_data.entry"); n != 2 {
		t.Errorf("%d access entries", n)
	}
	w.destroy(t, admin)
}
