# SPDX-License-Identifier: Apache-2.0

# What AWS answers about a healthy VPC.

mock_data "aws_region" {
  defaults = { name = "us-east-1" }
}
mock_data "aws_caller_identity" {
  defaults = { account_id = "123456789012" }
}
mock_data "aws_partition" {
  defaults = { partition = "aws", dns_suffix = "amazonaws.com" }
}
mock_data "aws_availability_zones" {
  defaults = { names = ["us-east-1b", "us-east-1a", "us-east-1c", "us-east-1d"] }
}
mock_data "aws_vpc_endpoint_service" {
  defaults = { availability_zones = ["us-east-1a", "us-east-1b", "us-east-1c"] }
}
mock_data "aws_vpc" {
  defaults = {
    owner_id             = "123456789012"
    enable_dns_support   = true
    enable_dns_hostnames = true
    ipv6_cidr_block      = ""
    cidr_block_associations = [
      { association_id = "a", cidr_block = "10.0.0.0/16", state = "associated" },
      { association_id = "b", cidr_block = "100.64.0.0/16", state = "associated" },
      { association_id = "c", cidr_block = "10.9.0.0/16", state = "disassociated" },
    ]
  }
}
