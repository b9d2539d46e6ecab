# SPDX-License-Identifier: Apache-2.0

output "registry" {
  description = "Registry prefix of the images, for privatelink --registry."
  value       = local.registry
}

output "privatelink_yaml" {
  description = "Content of privatelink.yaml."
  value       = yamlencode({ apiVersion = "privatelink.cast.ai/v1alpha1", kind = "Config", registry = local.registry })
}

output "vpc_id" {
  description = "VPC of the endpoints."
  value       = local.vpc_id
}

output "subnet_ids" {
  description = "Subnets of the endpoints."
  value       = local.subnet_ids
}

output "security_group_id" {
  description = "Security group of the endpoints; null without endpoints."
  value       = one(aws_security_group.endpoints[*].id)
}

output "endpoint_ids" {
  description = "Endpoint IDs by service; those of CAST AI as castai-NAME."
  value = merge(
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
