# SPDX-License-Identifier: Apache-2.0

locals {
  new_vpc         = var.vpc_cidr != null # vpc_id may be unknown during the plan
  vpc_id          = local.new_vpc ? aws_vpc.this[0].id : var.vpc_id
  subnets         = local.new_vpc ? [for s in aws_subnet.this : { id = s.id, zone = s.availability_zone }] : local.existing_subnets
  subnet_ids      = local.subnets[*].id
  route_table_ids = local.new_vpc ? aws_route_table.this[*].id : local.existing_route_table_ids
  vpc_cidrs = local.new_vpc ? aws_vpc.this[*].cidr_block : [
    for a in data.aws_vpc.existing[0].cidr_block_associations : a.cidr_block if a.state == "associated"
  ]
  # A VPC without IPv6 has the block "".
  vpc_ipv6_cidrs = [for b in local.new_vpc ? aws_vpc.this[*].ipv6_cidr_block : data.aws_vpc.existing[*].ipv6_cidr_block : b if try(length(b), 0) > 0]

  # Zones that are found have the keys 0, 1, ..., because their names are unknown during
  # the plan if data sources are read during apply.
  new_zones = { for i, key in length(var.availability_zones) > 0 ? var.availability_zones : formatlist("%d", range(var.zone_count)) :
    key => { index = i, name = length(var.availability_zones) > 0 ? key : try(sort(data.aws_availability_zones.regular.names)[i], null) }
  }
}

# Zones in which EKS cannot have a control plane are left out:
# https://docs.aws.amazon.com/eks/latest/userguide/network-reqs.html
data "aws_availability_zones" "regular" {
  exclude_zone_ids = ["use1-az3", "usw1-az2", "cac1-az3"]

  filter {
    name   = "zone-type"
    values = ["availability-zone"] # no local zones
  }
}

# No internet gateway and no NAT gateway: the subnets have no route to the internet.
resource "aws_vpc" "this" {
  count                            = local.new_vpc ? 1 : 0
  cidr_block                       = var.vpc_cidr
  assign_generated_ipv6_cidr_block = var.ipv6 ? true : null
  enable_dns_support               = true
  enable_dns_hostnames             = true # private DNS of endpoints needs both
  tags                             = merge(var.tags, { Name = var.name })
}

# Without rules, so that nothing works that has no group of its own.
resource "aws_default_security_group" "this" {
  count  = local.new_vpc ? 1 : 0
  vpc_id = local.vpc_id
  tags   = merge(var.tags, { Name = "${var.name}-default-closed" })
}

resource "aws_subnet" "this" {
  for_each          = local.new_vpc ? local.new_zones : {}
  vpc_id            = local.vpc_id
  availability_zone = each.value.name
  cidr_block        = cidrsubnet(var.vpc_cidr, 4, each.value.index)
  ipv6_cidr_block   = var.ipv6 ? cidrsubnet(aws_vpc.this[0].ipv6_cidr_block, 8, each.value.index) : null
  tags              = merge(var.tags, { Name = "${var.name}-${each.key}" })

  lifecycle {
    # A new zone of the region moves no subnet. The tags have resources of their own.
    ignore_changes = [availability_zone, tags["cast.ai/routable"], tags["kubernetes.io/role/internal-elb"]]
    precondition {
      condition     = each.value.name != null
      error_message = "${local.region} has fewer than ${var.zone_count} zones for EKS. Set zone_count, or name the zones in availability_zones."
    }
  }
}

# Not tags of the subnet: a provider with ignore_tags for one of the keys would not set it.
resource "aws_ec2_tag" "new_subnet" {
  for_each = { for pair in setproduct(keys(aws_subnet.this), ["cast.ai/routable", "kubernetes.io/role/internal-elb"]) :
    join(" ", pair) => { subnet = pair[0], key = pair[1], value = pair[1] == "cast.ai/routable" ? "true" : "1" }
  }
  resource_id = aws_subnet.this[each.value.subnet].id
  key         = each.value.key
  value       = each.value.value
}

resource "aws_route_table" "this" {
  count  = local.new_vpc ? 1 : 0
  vpc_id = local.vpc_id
  tags   = merge(var.tags, { Name = var.name })
}

resource "aws_route_table_association" "this" {
  for_each       = aws_subnet.this
  subnet_id      = each.value.id
  route_table_id = aws_route_table.this[0].id
}

# The API server connects to the port of the webhook's pods.
resource "aws_vpc_security_group_ingress_rule" "control_plane" {
  count                        = var.control_plane == null ? 0 : 1
  description                  = "API server to the webhook"
  security_group_id            = var.control_plane.node_security_group_id
  referenced_security_group_id = var.control_plane.cluster_security_group_id
  ip_protocol                  = "tcp"
  from_port                    = 9443
  to_port                      = 9443
  tags                         = merge(var.tags, { Name = "API server to the webhook" })
}
