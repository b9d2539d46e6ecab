# SPDX-License-Identifier: Apache-2.0

data "aws_region" "this" {}

data "aws_caller_identity" "this" {}

data "aws_partition" "this" {}

locals {
  new_vpc         = var.vpc_cidr != null # vpc_id may be unknown during the plan
  vpc_id          = local.new_vpc ? aws_vpc.this[0].id : var.vpc_id
  subnet_ids      = local.new_vpc ? [for z in var.availability_zones : aws_subnet.this[z].id] : var.subnet_ids
  route_table_ids = local.new_vpc ? aws_route_table.this[*].id : var.route_table_ids
  vpc_cidrs       = local.new_vpc ? aws_vpc.this[*].cidr_block : data.aws_vpc.existing[0].cidr_block_associations[*].cidr_block
}

# Preconditions on combinations of inputs. A data source cannot have them: for a VPC of
# the same configuration, Terraform would read it during apply, and the number of
# resources that depend on the region would be unknown during the plan.
resource "terraform_data" "inputs" {
  lifecycle {
    precondition {
      condition     = var.vpc_cidr == null || (var.vpc_id == null && length(var.subnet_ids) + length(var.route_table_ids) == 0)
      error_message = "vpc_cidr creates a VPC, and vpc_id, subnet_ids and route_table_ids select an existing one: set one or the other."
    }
    precondition {
      condition     = var.vpc_cidr == null || length(var.availability_zones) > 1
      error_message = "A new VPC needs two availability_zones or more: EKS requires them."
    }
    precondition {
      condition     = var.vpc_cidr != null || (var.vpc_id != null && length(var.subnet_ids) > 0)
      error_message = "Set vpc_id, subnet_ids and route_table_ids of an existing VPC, or vpc_cidr and availability_zones of a new one."
    }
    precondition {
      condition     = length(setsubtract(coalesce(var.aws_services, []), local.table.aws[*].service)) == 0
      error_message = "aws_services has names that are not in endpoints.json: ${join(", ", setsubtract(coalesce(var.aws_services, []), local.table.aws[*].service))}. Use some of ${join(", ", local.table.aws[*].service)}."
    }
    precondition {
      condition     = length(setsubtract(keys(var.castai_services), local.table.castai[*].name)) == 0
      error_message = "castai_services has names that are not in endpoints.json: ${join(", ", setsubtract(keys(var.castai_services), local.table.castai[*].name))}. Use ${join(", ", local.table.castai[*].name)}."
    }
  }
}

data "aws_vpc" "existing" {
  count = local.new_vpc ? 0 : 1
  id    = var.vpc_id
}

# No internet gateway and no NAT gateway: the subnets have no route to the internet.
resource "aws_vpc" "this" {
  count                = local.new_vpc ? 1 : 0
  cidr_block           = var.vpc_cidr
  enable_dns_support   = true
  enable_dns_hostnames = true # private DNS of endpoints needs both
  tags                 = merge(var.tags, { Name = var.name })
}

resource "aws_subnet" "this" {
  for_each          = local.new_vpc ? { for i, z in var.availability_zones : z => i } : {}
  vpc_id            = local.vpc_id
  availability_zone = each.key
  cidr_block        = cidrsubnet(var.vpc_cidr, 4, each.value)
  tags = merge(var.tags, {
    Name                              = "${var.name}-${each.key}"
    "cast.ai/routable"                = "true"
    "kubernetes.io/role/internal-elb" = "1"
  })
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

resource "aws_ec2_tag" "routable" {
  count       = !local.new_vpc && var.tag_subnets ? length(var.subnet_ids) : 0
  resource_id = var.subnet_ids[count.index]
  key         = "cast.ai/routable"
  value       = "true"
}

# The API server connects to the port of the webhook's pods.
resource "aws_vpc_security_group_ingress_rule" "control_plane" {
  count                        = var.control_plane == null ? 0 : 1
  security_group_id            = var.control_plane.node_security_group_id
  referenced_security_group_id = var.control_plane.cluster_security_group_id
  ip_protocol                  = "tcp"
  from_port                    = 9443
  to_port                      = 9443
  tags                         = merge(var.tags, { Name = "API server to the webhook" })
}
