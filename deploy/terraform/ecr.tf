# SPDX-License-Identifier: Apache-2.0

locals {
  registry_host = "${data.aws_caller_identity.this.account_id}.dkr.ecr.${local.region}.${data.aws_partition.this.dns_suffix}"
  registry      = "${local.registry_host}/${var.prefix}"

  targets = var.lock_file == null ? [] : yamldecode(file(var.lock_file)).images[*].target
  # A target is HOST/NAME:TAG or HOST/NAME@DIGEST. ECR hosts have no port.
  names        = [for t in local.targets : regex("^[^/]+/([^:@]+)", t)[0]]
  repositories = var.create_repositories ? toset(concat(local.names, ["${var.prefix}/privatelink-webhook"])) : toset([])
}

resource "aws_ecr_repository" "this" {
  for_each             = local.repositories
  name                 = each.value
  image_tag_mutability = var.image_tag_mutability
  force_delete         = var.force_delete
  tags                 = var.tags

  image_scanning_configuration {
    scan_on_push = var.scan_on_push
  }

  lifecycle {
    precondition {
      condition     = alltrue([for t in local.targets : startswith(t, "${local.registry}/")])
      error_message = "The lock file has targets that are not below ${local.registry}. Create it again with this registry, or set prefix, account and region to those of the file."
    }
  }
}

resource "aws_ecr_lifecycle_policy" "this" {
  for_each   = var.lifecycle_policy != null ? aws_ecr_repository.this : {}
  repository = each.value.name
  policy     = var.lifecycle_policy
}

resource "aws_ecr_repository_creation_template" "this" {
  count                = var.create_repository_template ? 1 : 0
  prefix               = var.prefix
  description          = "Repositories below ${var.prefix}"
  applied_for          = ["REPLICATION"]
  image_tag_mutability = var.image_tag_mutability
  lifecycle_policy     = var.lifecycle_policy
}
