# SPDX-License-Identifier: Apache-2.0

locals {
  table  = jsondecode(file("${path.module}/endpoints.json"))
  region = data.aws_region.this.name

  castai = var.create_castai_endpoints ? merge(lookup(local.table.regions, local.region, {}), var.castai_services) : {}
  aws    = var.create_aws_endpoints ? { for s in local.table.aws : s.service => s.type if var.aws_services == null ? true : contains(var.aws_services, s.service) } : {}

  # Service names by endpoint name.
  interfaces = merge(
    { for name, service in local.castai : "castai-${name}" => service },
    { for s, type in local.aws : s => "com.amazonaws.${local.region}.${s}" if type == "Interface" },
  )
  gateways = toset([for s, type in local.aws : s if type == "Gateway"])
}

# The rule is inline, because the CIDR blocks of a VPC of the same configuration are
# unknown during the plan, and must not determine the number of resources.
resource "aws_security_group" "endpoints" {
  count       = var.create_castai_endpoints || var.create_aws_endpoints ? 1 : 0
  name_prefix = "${var.name}-endpoints-"
  description = "HTTPS from the VPC to its endpoints"
  vpc_id      = local.vpc_id
  tags        = merge(var.tags, { Name = "${var.name}-endpoints" })

  ingress {
    description = "HTTPS from the VPC"
    protocol    = "tcp"
    from_port   = 443
    to_port     = 443
    cidr_blocks = local.vpc_cidrs
  }

  lifecycle {
    create_before_destroy = true
    precondition {
      condition     = !var.create_castai_endpoints || length(setsubtract(local.table.castai[*].name, keys(local.castai))) == 0
      error_message = "CAST AI's services in ${local.region} are not known (known: ${join(", ", keys(local.table.regions))}). Ask CAST AI for their names and set all of ${join(", ", local.table.castai[*].name)} in castai_services, or set create_castai_endpoints = false."
    }
  }
}

resource "aws_vpc_endpoint" "interface" {
  for_each            = local.interfaces
  vpc_id              = local.vpc_id
  service_name        = each.value
  vpc_endpoint_type   = "Interface"
  subnet_ids          = local.subnet_ids
  security_group_ids  = aws_security_group.endpoints[*].id
  private_dns_enabled = true
  tags                = merge(var.tags, { Name = "${var.name}-${each.key}" })
}

resource "aws_vpc_endpoint" "gateway" {
  for_each          = local.gateways
  vpc_id            = local.vpc_id
  service_name      = "com.amazonaws.${local.region}.${each.value}"
  vpc_endpoint_type = "Gateway"
  route_table_ids   = local.route_table_ids
  policy            = var.s3_policy
  tags              = merge(var.tags, { Name = "${var.name}-${each.value}" })

  lifecycle {
    precondition {
      condition     = length(local.route_table_ids) > 0
      error_message = "The S3 gateway needs route tables: set route_table_ids with vpc_id."
    }
  }
}
