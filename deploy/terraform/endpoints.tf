# SPDX-License-Identifier: Apache-2.0

locals {
  table = jsondecode(file("${path.module}/endpoints.json"))

  # The names are those of the table, also in a region whose services are not known:
  # the number of endpoints is known although the region may not be.
  castai_names    = var.create_castai_endpoints ? local.table.castai[*].name : []
  castai_services = merge(lookup(local.table.regions, local.region, {}), var.castai_services)

  aws_types = { for s in concat(local.table.aws, local.table.optional) : s.service => s.type }
  aws_names = !var.create_aws_endpoints ? toset([]) : setunion(
    var.aws_services == null ? toset(local.table.aws[*].service) : var.aws_services, var.optional_services,
  )

  # Service names by endpoint name, with those that exist already.
  needed_interfaces = merge(
    { for n in local.castai_names : "castai-${n}" => lookup(local.castai_services, n, null) },
    { for n in local.aws_names : n => "com.amazonaws.${local.region}.${n}" if lookup(local.aws_types, n, "") == "Interface" },
  )
  needed_gateways = { for n in local.aws_names : n => "com.amazonaws.${local.region}.${n}" if lookup(local.aws_types, n, "") == "Gateway" }

  interfaces = { for n, s in local.needed_interfaces : n => s if !contains(keys(var.existing_endpoints), n) }
  gateways   = { for n, s in local.needed_gateways : n => s if !contains(keys(var.existing_endpoints), n) }
}

# The rule is inline, because the CIDR blocks of a VPC of the same configuration are
# unknown during the plan, and must not determine the number of resources.
resource "aws_security_group" "endpoints" {
  count       = length(local.interfaces) > 0 ? 1 : 0
  name_prefix = "${var.name}-endpoints-"
  description = "HTTPS from the VPC to its endpoints"
  vpc_id      = local.vpc_id
  tags        = merge(var.tags, { Name = "${var.name}-endpoints" })

  ingress {
    description      = "HTTPS from the VPC"
    protocol         = "tcp"
    from_port        = 443
    to_port          = 443
    cidr_blocks      = local.vpc_cidrs
    ipv6_cidr_blocks = local.vpc_ipv6_cidrs
  }

  lifecycle {
    create_before_destroy = true
    precondition {
      condition     = !var.create_castai_endpoints || length(setsubtract(local.castai_names, keys(local.castai_services))) == 0
      error_message = "CAST AI's services in ${local.region} are not known (known: ${join(", ", keys(local.table.regions))}). Ask CAST AI for their names and set all of ${join(", ", local.table.castai[*].name)} in castai_services, or set create_castai_endpoints = false."
    }
  }
}

# A service is not offered in every zone. The service of ECR stands for one that is not
# known, because the names in for_each must be known.
data "aws_vpc_endpoint_service" "this" {
  for_each     = local.interfaces
  service_name = each.value == null ? "com.amazonaws.${local.region}.ecr.api" : each.value
  service_type = "Interface"
}

locals {
  endpoint_subnet_ids = { for n, s in data.aws_vpc_endpoint_service.this : n => [
    for t in local.subnets : t.id if length(s.availability_zones) == 0 || contains(s.availability_zones, t.zone) # some services do not tell their zones
  ] }
}

resource "aws_vpc_endpoint" "interface" {
  for_each            = local.interfaces
  vpc_id              = local.vpc_id
  service_name        = each.value
  vpc_endpoint_type   = "Interface"
  subnet_ids          = local.endpoint_subnet_ids[each.key]
  security_group_ids  = aws_security_group.endpoints[*].id
  private_dns_enabled = true
  policy              = local.policies[each.key]
  ip_address_type     = contains(var.dual_stack_services, each.key) ? "dualstack" : null
  tags                = merge(var.tags, { Name = "${var.name}-${each.key}" })

  lifecycle {
    precondition {
      condition     = length(local.endpoint_subnet_ids[each.key]) > 0
      error_message = "No subnet is in a zone that offers ${each.value}. It is offered in ${join(", ", data.aws_vpc_endpoint_service.this[each.key].availability_zones)}, and the subnets are in ${join(", ", distinct(local.subnets[*].zone))}. Add a subnet to subnet_ids in one of its zones, or leave the service out."
    }
  }
}

resource "aws_vpc_endpoint" "gateway" {
  for_each          = local.gateways
  vpc_id            = local.vpc_id
  service_name      = each.value
  vpc_endpoint_type = "Gateway"
  route_table_ids   = local.route_table_ids
  policy            = var.s3_policy != null ? var.s3_policy : local.policies[each.key]
  tags              = merge(var.tags, { Name = "${var.name}-${each.key}" })

  lifecycle {
    precondition {
      condition     = length(local.route_table_ids) > 0
      error_message = "The S3 gateway needs route tables: set route_table_ids with vpc_id."
    }
    precondition {
      condition     = length(local.foreign_s3_route_tables) == 0
      error_message = "Route tables ${join(", ", local.foreign_s3_route_tables)} have a route to an S3 gateway endpoint already. Find its ID with: aws ec2 describe-vpc-endpoints --filters Name=vpc-id,Values=${coalesce(var.vpc_id, "VPC")} Name=service-name,Values=${each.value}. Set existing_endpoints = { s3 = ID }, or leave these route tables out."
    }
  }
}
