// SPDX-License-Identifier: Apache-2.0

//go:build aws

package terraform

import "testing"

// vpcResource creates the VPC in the configuration that uses the module, so that no
// ID is known during the plan.
const vpcResource = `terraform {
  required_version = ">= 1.5"
}
provider "aws" {
  region = "us-east-1"
}
variable "lock_file" {
  type = string
}
resource "aws_vpc" "own" {
  cidr_block           = "10.9.0.0/16"
  enable_dns_hostnames = true
}
resource "aws_subnet" "own" {
  count             = 2
  vpc_id            = aws_vpc.own.id
  cidr_block        = cidrsubnet("10.9.0.0/16", 8, count.index)
  availability_zone = ["us-east-1a", "us-east-1b"][count.index]
  lifecycle {
    ignore_changes = [tags] # the module adds one
  }
}
resource "aws_route_table" "own" {
  vpc_id = aws_vpc.own.id
}
resource "aws_route_table_association" "own" {
  count          = 2
  subnet_id      = aws_subnet.own[count.index].id
  route_table_id = aws_route_table.own.id
}
resource "aws_security_group" "own" {
  count  = 2
  name   = "group-${count.index}"
  vpc_id = aws_vpc.own.id
}
module "privatelink" {
  source          = "../.."
  vpc_id          = aws_vpc.own.id
  subnet_ids      = aws_subnet.own[*].id
  route_table_ids = [aws_route_table.own.id]
  lock_file       = var.lock_file
  control_plane = {
    cluster_security_group_id = aws_security_group.own[0].id
    node_security_group_id    = aws_security_group.own[1].id
  }
}
output "vpc" {
  value = aws_vpc.own.id
}
`

// Values that are unknown during the plan must not determine the number of resources.
func TestVPCInSameConfiguration(t *testing.T) {
	w := newFixture(t, "existing-vpc")
	w.configure(t, vpcResource)
	w.apply(t, "-var=lock_file="+w.lockFile(t))
	w.check(t, w.must(t, "output", "-raw", "vpc"))
	w.checkSecurityGroup(t, "10.9.0.0/16")
}
