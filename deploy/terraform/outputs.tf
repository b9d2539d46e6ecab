# SPDX-License-Identifier: Apache-2.0

locals {
  repository_settings = merge(
    { tagMutability = var.image_tag_mutability, scanOnPush = var.scan_on_push },
    local.encrypts ? { encryption = "KMS", kmsKey = local.kms_key_arn } : {},
    var.lifecycle_policy != null ? { lifecyclePolicy = var.lifecycle_policy } : {},
    length(var.tags) > 0 ? { tags = var.tags } : {},
  )
}

output "registry" {
  description = "Registry prefix of the images, for privatelink --registry."
  value       = local.registry
}

# yamlencode would quote the keys, and sed -n 's/^registry: *//p' would find nothing.
output "privatelink_yaml" {
  description = "Content of privatelink.yaml. privatelink mirror creates repositories with the same settings as the module."
  value = join("\n", concat(
    ["apiVersion: privatelink.cast.ai/v1alpha1", "kind: Config", "registry: ${local.registry}", "repositories:"],
    [for name, value in local.repository_settings : "  ${name}: ${can(regex("^[A-Za-z_]+$", value)) ? value : jsonencode(value)}"],
    [""],
  ))
}

output "vpc_id" {
  description = "VPC of the endpoints."
  value       = local.vpc_id
}

output "subnet_ids" {
  description = "Subnets of the endpoints. A cluster that is created in them waits for the endpoints, without which its nodes cannot start."
  value       = local.subnet_ids
  depends_on  = [aws_vpc_endpoint.interface, aws_vpc_endpoint.gateway, aws_route_table_association.this]
}

output "route_table_ids" {
  description = "Route tables with a route to S3."
  value       = local.route_table_ids
}

output "security_group_id" {
  description = "Security group of the endpoints; null without endpoints."
  value       = one(aws_security_group.endpoints[*].id)
}

output "endpoint_ids" {
  description = "Endpoint IDs by service; those of CAST AI as castai-NAME."
  value = merge(
    var.existing_endpoints,
    { for n, e in aws_vpc_endpoint.interface : n => e.id },
    { for n, e in aws_vpc_endpoint.gateway : n => e.id },
  )
}

output "endpoint_dns_names" {
  description = "DNS names of the interface endpoints by service."
  value       = { for n, e in aws_vpc_endpoint.interface : n => e.dns_entry[*].dns_name }
}

output "repository_urls" {
  description = "URLs of the repositories by name."
  value       = { for n, r in aws_ecr_repository.this : n => r.repository_url }
}

output "kms_key_arn" {
  description = "Key of the repositories and the flow logs; null if they have the keys of AWS."
  value       = local.kms_key_arn
}

output "chart_repository" {
  description = "Repository of charts, for privatelink chart-repository and the input of the module mirror; null without one."
  value       = one([for b in aws_s3_bucket.charts : "s3://${b.id}"])
}

output "chart_repository_url" {
  description = "URL of the repository of charts inside the VPC, for helmRepoURL; null without one."
  value       = one([for b in aws_s3_bucket.charts : "https://${b.bucket_regional_domain_name}"])
}
