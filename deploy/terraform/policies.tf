# SPDX-License-Identifier: Apache-2.0

# Policies of the endpoints. They are not made by data sources, which may be read during
# apply.

locals {
  restricts = var.endpoint_policies == null ? local.new_vpc : var.endpoint_policies

  own_principals = var.principal_org_id != null ? { "aws:PrincipalOrgID" = var.principal_org_id } : { "aws:PrincipalAccount" = local.account }
  own_resources  = var.resource_org_id != null ? { "aws:ResourceOrgID" = var.resource_org_id } : { "aws:ResourceAccount" = local.account }

  ecr_arn = "arn:${local.partition}:ecr"
  ecr_repositories = var.ecr_repositories != null ? var.ecr_repositories : [
    "${local.ecr_arn}:${local.region}:${local.account}:repository/*",
  ]

  allow_own_principals = [{
    Sid       = "OwnPrincipals"
    Effect    = "Allow"
    Principal = "*"
    Action    = "*"
    Resource  = "*"
    Condition = { StringEquals = local.own_principals }
  }]

  ecr_statements = [
    {
      Sid       = "Token"
      Effect    = "Allow"
      Principal = "*"
      Action    = "ecr:GetAuthorizationToken"
      Resource  = "*"
      Condition = { StringEquals = local.own_principals }
    },
    {
      Sid       = "OwnRepositories"
      Effect    = "Allow"
      Principal = "*"
      Action    = "ecr:*"
      Resource  = local.ecr_repositories
      Condition = { StringEquals = local.own_principals }
    },
    # Images of EKS's own add-ons are in accounts of AWS, one or more for each region.
    {
      Sid       = "AddOns"
      Effect    = "Allow"
      Principal = "*"
      Action    = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
      Resource  = [for name in var.ecr_add_on_repositories : "${local.ecr_arn}:*:*:repository/${name}"]
      Condition = { StringEquals = local.own_principals }
    },
  ]

  # Requests with a web identity have no AWS principal.
  sts_statements = concat(local.allow_own_principals, [{
    Sid       = "WebIdentities"
    Effect    = "Allow"
    Principal = "*"
    Action    = ["sts:AssumeRoleWithWebIdentity", "sts:AssumeRoleWithSAML"]
    Resource  = var.resource_org_id != null ? "*" : "arn:${local.partition}:iam::${local.account}:role/*"
    Condition = { StringEquals = local.own_resources }
  }])

  # ECR signs the addresses of layers itself, so the principal is not yours.
  s3_layers = {
    Sid       = "EcrLayers"
    Effect    = "Allow"
    Principal = "*"
    Action    = "s3:GetObject"
    Resource  = "arn:${local.partition}:s3:::prod-${local.region}-starport-layer-bucket/*"
  }
  s3_statements = concat([local.s3_layers],
    length(var.s3_readable_objects) == 0 ? [] : [merge(local.s3_layers, { Sid = "ReadableObjects", Resource = var.s3_readable_objects })],
    [for b in aws_s3_bucket.charts : merge(local.s3_layers, { Sid = "Charts", Resource = "${b.arn}/*" })],
    [{
      Sid       = "OwnBuckets"
      Effect    = "Allow"
      Principal = "*"
      Action    = "s3:*"
      Resource  = "*"
      Condition = { StringEquals = merge(local.own_principals, local.own_resources) }
    }],
  )

  # Endpoints of CAST AI have no policies.
  statements = {
    for n in concat(keys(local.needed_interfaces), keys(local.needed_gateways)) : n => (
      n == "s3" ? jsonencode(local.s3_statements) : n == "sts" ? jsonencode(local.sts_statements) :
      startswith(n, "ecr.") ? jsonencode(local.ecr_statements) : jsonencode(local.allow_own_principals)
    )
  }
  policies = {
    for n, s in local.statements : n =>
    !local.restricts || startswith(n, "castai-") ? null : jsonencode({ Version = "2012-10-17", Statement = jsondecode(s) })
  }
}
