# SPDX-License-Identifier: Apache-2.0

# Endpoints that the VPC has already. AWS refuses a second one with private DNS for the
# same service, and a second route to S3 in a route table.

data "aws_vpc_endpoint" "existing" {
  for_each = var.existing_endpoints
  id       = each.value
}

# Every endpoint of the VPC has network interfaces, which name it. There is no data
# source that lists endpoints.
data "aws_network_interfaces" "endpoints" {
  count = var.find_existing_endpoints && !local.new_vpc ? 1 : 0

  filter {
    name   = "vpc-id"
    values = [var.vpc_id]
  }
  filter {
    name   = "interface-type"
    values = ["vpc_endpoint"]
  }
}

data "aws_network_interface" "endpoints" {
  for_each = var.find_existing_endpoints && !local.new_vpc ? toset(data.aws_network_interfaces.endpoints[0].ids) : toset([])
  id       = each.value
}

data "aws_vpc_endpoint" "found" {
  for_each = toset(flatten([for i in data.aws_network_interface.endpoints : try(regex("vpce-[0-9a-f]+", i.description), [])]))
  id       = each.value
}

data "aws_ec2_managed_prefix_list" "s3" {
  count = var.find_existing_endpoints && !local.new_vpc && length(local.gateways) > 0 ? 1 : 0
  name  = "com.amazonaws.${local.region}.s3"
}

data "aws_route_tables" "s3" {
  count  = var.find_existing_endpoints && !local.new_vpc && length(local.gateways) > 0 ? 1 : 0
  vpc_id = var.vpc_id

  filter {
    name   = "route.destination-prefix-list-id"
    values = data.aws_ec2_managed_prefix_list.s3[*].id
  }
}

locals {
  # The module recognizes its own endpoints by their names.
  own     = [for e in data.aws_vpc_endpoint.found : e.id if contains([for n in keys(local.needed_interfaces) : "${var.name}-${n}"], lookup(e.tags, "Name", ""))]
  foreign = { for e in data.aws_vpc_endpoint.found : e.id => e.service_name if e.private_dns_enabled && !contains(local.own, e.id) }
  conflicts = flatten([for n, s in local.interfaces : [
    for id, service in local.foreign : "${jsonencode(n)} = ${jsonencode(id)}" if service == s
  ]])
  # Before the first apply all routes to S3 are those of others.
  foreign_s3_route_tables = length(local.own) > 0 ? [] : setintersection(local.route_table_ids, flatten(data.aws_route_tables.s3[*].ids))

  unusable = compact(flatten([
    for n, e in data.aws_vpc_endpoint.existing : [
      e.vpc_id != local.vpc_id ? "${e.id} is in ${e.vpc_id}" : null,
      e.service_name != lookup(merge(local.needed_interfaces, local.needed_gateways), n, e.service_name) ? "${e.id} is of ${e.service_name}" : null,
      e.state != "available" ? "${e.id} is ${e.state}" : null,
      contains(keys(local.needed_interfaces), n) && !e.private_dns_enabled ? "${e.id} has no private DNS (aws ec2 modify-vpc-endpoint --vpc-endpoint-id ${e.id} --private-dns-enabled)" : null,
      contains(keys(local.needed_gateways), n) && length(setsubtract(local.route_table_ids, e.route_table_ids)) > 0 ?
      "${e.id} lacks route tables (aws ec2 modify-vpc-endpoint --vpc-endpoint-id ${e.id} --add-route-table-ids ${join(" ", setsubtract(local.route_table_ids, e.route_table_ids))})" : null,
    ]
  ]))
}
