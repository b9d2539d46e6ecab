# SPDX-License-Identifier: Apache-2.0

# Plans of healthy customers, without AWS.

mock_provider "aws" {
  source = "./tests/aws"
}

run "zones_are_found_for_a_new_vpc" {
  command = plan
  variables {
    vpc_cidr = "10.0.0.0/16"
  }
  assert {
    condition     = [for s in aws_subnet.this : s.availability_zone] == ["us-east-1a", "us-east-1b", "us-east-1c"] && length(aws_vpc_endpoint.interface) == 15
    error_message = "The first three zones, in alphabetical order."
  }
  assert {
    condition     = aws_vpc.this[0].assign_generated_ipv6_cidr_block == null && length(aws_default_security_group.this) == 1 && length(aws_flow_log.this) == 0
    error_message = "No IPv6, a closed default group, no flow logs."
  }
  assert {
    condition     = !contains(keys(aws_vpc_endpoint.interface), "ec2messages")
    error_message = "AWS retires ec2messages: it is not made by default."
  }
}

run "ipv6" {
  command = plan
  variables {
    vpc_cidr            = "10.0.0.0/16"
    availability_zones  = ["us-east-1a", "us-east-1c"]
    ipv6                = true
    dual_stack_services = ["ecr.api", "ecr.dkr"]
  }
  override_resource {
    target          = aws_vpc.this
    values          = { ipv6_cidr_block = "2600:1f18:1234:5600::/56", cidr_block = "10.0.0.0/16" }
    override_during = plan
  }
  assert {
    condition     = [for s in aws_subnet.this : s.ipv6_cidr_block] == ["2600:1f18:1234:5600::/64", "2600:1f18:1234:5601::/64"] && aws_vpc.this[0].assign_generated_ipv6_cidr_block
    error_message = "A /64 for each subnet."
  }
  assert {
    condition     = alltrue([for n in ["ecr.api", "ecr.dkr"] : aws_vpc_endpoint.interface[n].ip_address_type == "dualstack"])
    error_message = "The endpoints that were named are dual-stack."
  }
  assert {
    condition     = one(aws_security_group.endpoints[0].ingress).ipv6_cidr_blocks == tolist(["2600:1f18:1234:5600::/56"])
    error_message = "The endpoints allow the IPv6 block of the VPC."
  }
}

run "secondary_cidr" {
  command = plan
  variables {
    vpc_id          = "vpc-1"
    subnet_ids      = ["subnet-a", "subnet-d"]
    route_table_ids = ["rtb-1"]
  }
  override_data {
    target = data.aws_subnet.given[0]
    values = { id = "subnet-a", vpc_id = "vpc-1", availability_zone = "us-east-1a" }
  }
  override_data {
    target = data.aws_subnet.given[1]
    values = { id = "subnet-d", vpc_id = "vpc-1", availability_zone = "us-east-1d" }
  }
  override_data {
    target = data.aws_route_table.given[0]
    values = { vpc_id = "vpc-1" }
  }
  override_data {
    target = data.aws_vpc_endpoint_service.this["logs"]
    values = { availability_zones = ["us-east-1a", "us-east-1d"] }
  }
  override_data {
    target = data.aws_vpc_endpoint_service.this["ec2"]
    values = { availability_zones = [] }
  }
  assert {
    condition     = one(aws_security_group.endpoints[0].ingress).cidr_blocks == tolist(["10.0.0.0/16", "100.64.0.0/16"])
    error_message = "The endpoints allow every range that is associated, and no other."
  }
  assert {
    condition     = aws_vpc_endpoint.interface["sts"].subnet_ids == toset(["subnet-a"]) && alltrue([for n in ["logs", "ec2"] : aws_vpc_endpoint.interface[n].subnet_ids == toset(["subnet-a", "subnet-d"])])
    error_message = "Each endpoint is in the zones that its service is offered in."
  }
  assert {
    condition     = length(aws_ec2_tag.routable) == 2 && local.policies["s3"] == null
    error_message = "The subnets are tagged, and policies are off in an existing VPC."
  }
}

run "subnets_are_found" {
  command = plan
  variables {
    vpc_id      = "vpc-1"
    subnet_tags = { "kubernetes.io/role/internal-elb" = "1" }
  }
  override_data {
    target = data.aws_subnets.zone["0"]
    values = { ids = ["subnet-2", "subnet-1"] }
  }
  override_data {
    target = data.aws_subnets.zone["1"]
    values = { ids = ["subnet-3"] }
  }
  override_data {
    target = data.aws_subnets.zone["2"]
    values = { ids = [] }
  }
  override_data {
    target = data.aws_subnets.zone["3"]
    values = { ids = ["subnet-4"] }
  }
  override_data {
    target = data.aws_route_tables.all
    values = { ids = ["rtb-public", "rtb-2", "rtb-1"] }
  }
  override_data {
    target = data.aws_route_tables.public
    values = { ids = ["rtb-public"] }
  }
  assert {
    condition     = [for i in ["0", "1", "2", "3", "4"] : one(one([for f in data.aws_subnets.zone[i].filter : f if f.name == "availability-zone"]).values)] == ["us-east-1a", "us-east-1b", "us-east-1c", "us-east-1d", "none"]
    error_message = "Every regular zone is searched."
  }
  assert {
    condition     = aws_vpc_endpoint.interface["ecr.api"].subnet_ids == toset(["subnet-1", "subnet-3"]) && aws_vpc_endpoint.gateway["s3"].route_table_ids == toset(["rtb-1", "rtb-2"])
    error_message = "One subnet of each zone that the service is offered in, and the private route tables."
  }
  assert {
    condition     = length(aws_ec2_tag.routable) == 0
    error_message = "Subnets that were found are not tagged."
  }
}

run "a_shared_vpc_without_endpoints" {
  command = plan
  variables {
    vpc_id                  = "vpc-1"
    create_aws_endpoints    = false
    create_castai_endpoints = false
    tag_subnets             = false
  }
  override_data {
    target = data.aws_vpc.existing
    values = { owner_id = "210987654321", enable_dns_hostnames = false, cidr_block_associations = [] }
  }
  assert {
    condition     = length(aws_vpc_endpoint.interface) + length(aws_security_group.endpoints) == 0 && length(aws_ecr_repository.this) == 1
    error_message = "The participant of a shared VPC gets repositories only."
  }
}

run "services_that_aws_may_not_have" {
  command = plan
  variables {
    vpc_cidr          = "10.0.0.0/16"
    aws_services      = ["ecr.api", "ecr.dkr", "s3", "sts", "ec2"]
    optional_services = ["ssm", "ssmmessages", "ec2messages", "kms"]
  }
  assert {
    condition     = setsubtract(keys(aws_vpc_endpoint.interface), [for n in ["api", "grpc", "api-grpc", "artifacts", "kvisor", "telemetry"] : "castai-${n}"]) == toset(["ecr.api", "ecr.dkr", "sts", "ec2", "ssm", "ssmmessages", "ec2messages", "kms"])
    error_message = "The names of Session Manager are accepted."
  }
}

run "policies_for_an_organization" {
  command = plan
  variables {
    vpc_cidr            = "10.0.0.0/16"
    principal_org_id    = "o-a1b2c3d4e5"
    resource_org_id     = "o-a1b2c3d4e5"
    ecr_repositories    = ["arn:aws:ecr:us-east-1:123456789012:repository/castai/*"]
    s3_readable_objects = ["arn:aws:s3:::al2023-repos-us-east-1-de612dc2/*"]
  }
  assert {
    condition = { for s in jsondecode(aws_vpc_endpoint.gateway["s3"].policy).Statement : s.Sid => try(s.Condition, null) } == {
      EcrLayers       = null
      ReadableObjects = null
      OwnBuckets      = { StringEquals = { "aws:PrincipalOrgID" = "o-a1b2c3d4e5", "aws:ResourceOrgID" = "o-a1b2c3d4e5" } }
    }
    error_message = "Layers have no condition, and buckets those of the organization: ${aws_vpc_endpoint.gateway["s3"].policy}"
  }
  assert {
    condition = { for s in jsondecode(aws_vpc_endpoint.interface["sts"].policy).Statement : s.Sid => s.Condition.StringEquals } == {
      OwnPrincipals = { "aws:PrincipalOrgID" = "o-a1b2c3d4e5" }
      WebIdentities = { "aws:ResourceOrgID" = "o-a1b2c3d4e5" }
    }
    error_message = "Requests with a web identity have no principal."
  }
  assert {
    condition     = one([for s in jsondecode(aws_vpc_endpoint.interface["ecr.dkr"].policy).Statement : s if s.Sid == "OwnRepositories"]).Resource == ["arn:aws:ecr:us-east-1:123456789012:repository/castai/*"]
    error_message = "The repositories that were named."
  }
  assert {
    condition     = local.policies["castai-api"] == null && local.policies["sts"] != null
    error_message = "Services of others have no policies."
  }
}

run "no_policies" {
  command = plan
  variables {
    vpc_cidr          = "10.0.0.0/16"
    endpoint_policies = false
    s3_policy         = "{\"Version\":\"2012-10-17\",\"Statement\":[]}"
  }
  assert {
    condition     = alltrue([for p in local.policies : p == null]) && jsondecode(aws_vpc_endpoint.gateway["s3"].policy).Statement == []
    error_message = "No policies but that of s3_policy."
  }
}

run "encryption_and_flow_logs" {
  command = plan
  variables {
    vpc_cidr       = "10.0.0.0/16"
    create_kms_key = true
    flow_logs      = true
  }
  override_resource {
    target          = aws_kms_key.this
    values          = { arn = "arn:aws:kms:us-east-1:123456789012:key/1" }
    override_during = plan
  }
  assert {
    condition     = alltrue([for r in aws_ecr_repository.this : one(r.encryption_configuration).kms_key == "arn:aws:kms:us-east-1:123456789012:key/1" && one(r.image_scanning_configuration).scan_on_push])
    error_message = "Repositories are encrypted and scanned."
  }
  assert {
    condition     = aws_kms_key.this[0].enable_key_rotation && aws_cloudwatch_log_group.flow[0].kms_key_id == "arn:aws:kms:us-east-1:123456789012:key/1" && aws_cloudwatch_log_group.flow[0].retention_in_days == 365
    error_message = "The key rotates, and flow logs are encrypted and kept for a year."
  }
  assert {
    condition     = strcontains(output.privatelink_yaml, "\n  encryption: KMS\n  kmsKey: \"arn:aws:kms:us-east-1:123456789012:key/1\"\n")
    error_message = "privatelink mirror creates repositories with the same key: ${output.privatelink_yaml}"
  }
}

run "charts_for_several_vpcs" {
  command = plan
  variables {
    vpc_id                  = "vpc-1"
    subnet_ids              = ["subnet-a", "subnet-b"]
    route_table_ids         = ["rtb-1"]
    endpoint_policies       = true
    existing_endpoints      = { s3 = "vpce-0aa" }
    create_chart_repository = true
    chart_readers           = ["vpce-0cc", "vpce-0bb", "vpce-0aa"]
  }
  override_data {
    target = data.aws_subnet.given[0]
    values = { id = "subnet-a", vpc_id = "vpc-1", availability_zone = "us-east-1a" }
  }
  override_data {
    target = data.aws_subnet.given[1]
    values = { id = "subnet-b", vpc_id = "vpc-1", availability_zone = "us-east-1b" }
  }
  override_data {
    target = data.aws_route_table.given[0]
    values = { vpc_id = "vpc-1" }
  }
  override_data {
    target = data.aws_vpc_endpoint.existing["s3"]
    values = { id = "vpce-0aa", vpc_id = "vpc-1", state = "available", service_name = "com.amazonaws.us-east-1.s3", route_table_ids = ["rtb-1"] }
  }
  override_resource {
    target          = aws_s3_bucket.charts
    values          = { id = "charts", arn = "arn:aws:s3:::charts", bucket_regional_domain_name = "charts.s3.us-east-1.amazonaws.com" }
    override_during = plan
  }
  assert {
    condition     = one([for s in jsondecode(aws_s3_bucket_policy.charts[0].policy).Statement : s if s.Effect == "Allow"]).Condition == { StringEquals = { "aws:SourceVpce" = ["vpce-0aa", "vpce-0bb", "vpce-0cc"] } }
    error_message = "The gateway that exists and those of others, each once: ${aws_s3_bucket_policy.charts[0].policy}"
  }
  assert {
    condition     = output.chart_repository == "s3://charts" && output.chart_repository_url == "https://charts.s3.us-east-1.amazonaws.com"
    error_message = "The outputs name the bucket."
  }
}
