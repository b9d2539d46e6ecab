# SPDX-License-Identifier: Apache-2.0

# Lookups in an existing VPC. No lookup determines the number of resources, because
# Terraform reads them during apply if the VPC is in the same configuration, or if
# depends_on of the module names something with changes.

locals {
  finds_subnets = !local.new_vpc && length(var.subnet_ids) == 0
  # No region has more zones. Zones that do not exist have no subnets.
  zone_slots = local.finds_subnets ? formatlist("%d", range(8)) : []
  zone_names = { for i in local.zone_slots : i => try(sort(data.aws_availability_zones.regular.names)[i], "none") }

  found_subnets = { for i in local.zone_slots : i =>
    try(coalesce(terraform_data.subnet[i].input.id), sort(data.aws_subnets.zone[i].ids)[0], null)
  }
  existing_subnets = local.finds_subnets ? [
    for i, id in local.found_subnets : { id = id, zone = coalesce(terraform_data.subnet[i].input.zone, local.zone_names[i]) } if id != null
    ] : [
    for s in data.aws_subnet.given : { id = s.id, zone = s.availability_zone }
  ]
  existing_route_table_ids = local.finds_subnets && length(var.route_table_ids) == 0 ? sort(
    setsubtract(flatten(data.aws_route_tables.all[*].ids), flatten(data.aws_route_tables.public[*].ids))
  ) : var.route_table_ids
}

data "aws_vpc" "existing" {
  count = local.new_vpc ? 0 : 1
  id    = var.vpc_id

  lifecycle {
    precondition {
      condition     = var.vpc_id != null
      error_message = "Set vpc_id of an existing VPC, or vpc_cidr of a new one."
    }
  }
}

data "aws_subnet" "given" {
  count = local.new_vpc ? 0 : length(var.subnet_ids)
  id    = var.subnet_ids[count.index]
}

data "aws_route_table" "given" {
  count          = local.new_vpc ? 0 : length(var.route_table_ids)
  route_table_id = var.route_table_ids[count.index]
}

data "aws_subnets" "zone" {
  for_each = local.zone_names
  tags     = var.subnet_tags

  filter {
    name   = "vpc-id"
    values = [coalesce(var.vpc_id, "none")]
  }
  filter {
    name   = "availability-zone"
    values = [each.value]
  }
  filter {
    name   = "map-public-ip-on-launch"
    values = ["false"]
  }
}

# Keeps the subnet that was found first, so that a new subnet moves no endpoint.
resource "terraform_data" "subnet" {
  for_each         = local.zone_names
  triggers_replace = { vpc = var.vpc_id, tags = var.subnet_tags }
  input = {
    zone = each.value
    id   = try(sort(data.aws_subnets.zone[each.key].ids)[0], null)
  }

  lifecycle {
    ignore_changes = [input]
  }
}

data "aws_route_tables" "all" {
  count  = local.finds_subnets ? 1 : 0
  vpc_id = var.vpc_id
}

data "aws_route_tables" "public" {
  count  = local.finds_subnets ? 1 : 0
  vpc_id = var.vpc_id

  filter {
    name   = "route.gateway-id"
    values = ["igw-*"]
  }
}

# The tag is for the subnets in which CAST AI may create nodes. Which of the subnets
# that were found are for nodes, only you know.
resource "aws_ec2_tag" "routable" {
  count       = !local.new_vpc && var.tag_subnets ? length(var.subnet_ids) : 0
  resource_id = var.subnet_ids[count.index]
  key         = "cast.ai/routable"
  value       = "true"
}
