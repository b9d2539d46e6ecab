# SPDX-License-Identifier: Apache-2.0

locals {
  other_vpc_subnets      = [for s in data.aws_subnet.given : s.id if s.vpc_id != var.vpc_id]
  other_vpc_route_tables = [for t in data.aws_route_table.given : t.route_table_id if t.vpc_id != var.vpc_id]
  zones_with_two         = [for zone, ids in { for s in data.aws_subnet.given : s.availability_zone => s.id... } : "${join(" and ", ids)} in ${zone}" if length(ids) > 1]
  creates_endpoints      = var.create_castai_endpoints || var.create_aws_endpoints
  services               = keys(local.aws_types)
  unknown_services       = setsubtract(setunion(coalesce(var.aws_services, []), var.optional_services), local.services)
  unknown_existing       = setsubtract(keys(var.existing_endpoints), concat(keys(local.needed_interfaces), keys(local.needed_gateways)))
  unknown_dual_stack     = setsubtract(var.dual_stack_services, keys(local.needed_interfaces))
}

# Preconditions on combinations of inputs, and on what is found in AWS. Those of a VPC of
# the same configuration are checked during apply.
resource "terraform_data" "inputs" {
  lifecycle {
    precondition {
      condition     = var.vpc_cidr == null || (var.vpc_id == null && length(var.subnet_ids) + length(var.route_table_ids) == 0)
      error_message = "vpc_cidr creates a VPC, and vpc_id, subnet_ids and route_table_ids select an existing one: set one or the other."
    }
    precondition {
      condition     = var.vpc_cidr == null || length(local.new_zones) > 1
      error_message = "A new VPC needs two availability_zones or more: EKS requires them."
    }
    precondition {
      condition     = length(local.unknown_services) == 0
      error_message = "aws_services or optional_services has names that are not in endpoints.json: ${join(", ", local.unknown_services)}. Use some of ${join(", ", local.services)}."
    }
    precondition {
      condition     = length(setsubtract(keys(var.castai_services), local.table.castai[*].name)) == 0
      error_message = "castai_services has names that are not in endpoints.json: ${join(", ", setsubtract(keys(var.castai_services), local.table.castai[*].name))}. Use ${join(", ", local.table.castai[*].name)}."
    }
    precondition {
      condition     = length(local.unknown_existing) == 0
      error_message = "existing_endpoints has names that are not needed: ${join(", ", local.unknown_existing)}. Use ${join(", ", concat(keys(local.needed_interfaces), keys(local.needed_gateways)))}."
    }
    precondition {
      condition     = length(local.unknown_dual_stack) == 0
      error_message = "dual_stack_services has names of no interface endpoint: ${join(", ", local.unknown_dual_stack)}. Use ${join(", ", keys(local.needed_interfaces))}."
    }
    precondition {
      condition     = local.new_vpc || !(var.flow_logs || var.ipv6)
      error_message = "flow_logs and ipv6 are for a VPC that the module creates. Leave them out with vpc_id."
    }
    precondition {
      condition     = !var.create_chart_repository || contains(keys(local.needed_gateways), "s3") || length(var.chart_readers) > 0
      error_message = "create_chart_repository needs an S3 gateway that charts are read through. Keep create_aws_endpoints and s3 in aws_services, or set chart_readers to the IDs of gateways."
    }
    precondition {
      condition     = var.create_chart_repository || length(var.chart_readers) == 0
      error_message = "chart_readers is for create_chart_repository = true. Set it, or leave chart_readers out."
    }
    precondition {
      condition     = !(var.create_kms_key && var.kms_key_arn != null)
      error_message = "create_kms_key creates a key, and kms_key_arn names an existing one: set one or the other."
    }
    precondition {
      condition     = var.lock_file == null ? true : fileexists(var.lock_file)
      error_message = "lock_file ${coalesce(var.lock_file, "-")} does not exist. Write it with: privatelink images --registry ${local.registry} --set umbrella -o lock > privatelink.lock.yaml"
    }
    precondition {
      condition     = var.lock_file == null ? true : !fileexists(var.lock_file) || local.lock_is_valid
      error_message = "lock_file ${coalesce(var.lock_file, "-")} is not a lock with images. Write one with: privatelink images --registry ${local.registry} --set umbrella -o lock > privatelink.lock.yaml"
    }
    precondition {
      condition     = length(local.other_vpc_subnets) == 0
      error_message = "subnet_ids has subnets of another VPC: ${join(", ", local.other_vpc_subnets)}. List the subnets of ${coalesce(var.vpc_id, "vpc_id")} with: aws ec2 describe-subnets --filters Name=vpc-id,Values=${coalesce(var.vpc_id, "VPC")}"
    }
    precondition {
      condition     = length(local.other_vpc_route_tables) == 0
      error_message = "route_table_ids has route tables of another VPC: ${join(", ", local.other_vpc_route_tables)}. List those of ${coalesce(var.vpc_id, "vpc_id")} with: aws ec2 describe-route-tables --filters Name=vpc-id,Values=${coalesce(var.vpc_id, "VPC")}"
    }
    precondition {
      condition     = !local.creates_endpoints || length(local.zones_with_two) == 0
      error_message = "An endpoint can have one subnet in a zone. subnet_ids has more: ${join("; ", local.zones_with_two)}. Keep one of each, and tag the others cast.ai/routable=true yourself if they have nodes."
    }
    precondition {
      condition     = local.new_vpc || !local.creates_endpoints || length(local.subnets) > 0
      error_message = "No subnet of ${coalesce(var.vpc_id, "vpc_id")} was found for the endpoints: it has no private subnet in a regular zone with the tags ${jsonencode(var.subnet_tags)}. Set subnet_ids."
    }
    precondition {
      condition     = local.new_vpc || !local.creates_endpoints || alltrue(flatten([for v in data.aws_vpc.existing : [v.enable_dns_support, v.enable_dns_hostnames]]))
      error_message = "Private DNS of endpoints needs DNS support and DNS hostnames in ${coalesce(var.vpc_id, "vpc_id")}. Run: aws ec2 modify-vpc-attribute --vpc-id ${coalesce(var.vpc_id, "VPC")} --enable-dns-hostnames, and the same with --enable-dns-support; or set enable_dns_hostnames and enable_dns_support where the VPC is managed. If this apply changes them, set depends_on."
    }
    precondition {
      condition     = local.new_vpc || !local.creates_endpoints || alltrue([for v in data.aws_vpc.existing : v.owner_id == local.account])
      error_message = "${coalesce(var.vpc_id, "vpc_id")} is shared by account ${join("", data.aws_vpc.existing[*].owner_id)}, and only its owner can create endpoints. Apply the module there with create_repositories = false, and here with create_aws_endpoints = false, create_castai_endpoints = false and tag_subnets = false."
    }
    precondition {
      condition     = length(local.conflicts) == 0
      error_message = "The VPC has endpoints of these services with private DNS already. Use them with: existing_endpoints = { ${join(", ", local.conflicts)} }"
    }
    precondition {
      condition     = length(local.unusable) == 0
      error_message = "existing_endpoints cannot be used: ${join("; ", local.unusable)}."
    }
  }
}
