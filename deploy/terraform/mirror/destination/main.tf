# SPDX-License-Identifier: Apache-2.0

# A registry that ECR copies images to. Apply it with a provider of its region and account,
# before the rule that copies: a repository that exists keeps its settings.

data "aws_region" "this" {}

data "aws_caller_identity" "this" {}

data "aws_partition" "this" {}

locals {
  account       = data.aws_caller_identity.this.account_id
  partition     = data.aws_partition.this.partition
  settings      = try(yamldecode(var.config).repositories, {})
  prefix        = regex("^[^/]+/(.+)$", yamldecode(var.config).registry)[0]
  other_account = var.source_account_id != null && var.source_account_id != local.account
}

resource "terraform_data" "inputs" {
  lifecycle {
    precondition {
      condition     = !local.other_account || var.replaces_registry_policy
      error_message = "A registry has one policy, and this one is replaced. Run: aws ecr get-registry-policy. If it reports RegistryPolicyNotFoundException, set replaces_registry_policy = true. If not, add the statement of this module to the configuration that has the others."
    }
  }
}

# ECR does not copy the settings of repositories.
resource "aws_ecr_repository_creation_template" "this" {
  prefix               = local.prefix
  description          = "Repositories below ${local.prefix}"
  applied_for          = ["REPLICATION"]
  image_tag_mutability = try(local.settings.tagMutability, "MUTABLE")
  lifecycle_policy     = try(local.settings.lifecyclePolicy, null)
  repository_policy    = try(local.settings.repositoryPolicy, null)
}

resource "aws_ecr_registry_policy" "this" {
  count = local.other_account ? 1 : 0
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "Replication"
      Effect    = "Allow"
      Principal = { AWS = "arn:${local.partition}:iam::${var.source_account_id}:root" }
      Action    = ["ecr:CreateRepository", "ecr:ReplicateImage"]
      Resource  = "arn:${local.partition}:ecr:${data.aws_region.this.name}:${local.account}:repository/${local.prefix}/*"
    }]
  })
  depends_on = [terraform_data.inputs]
}
