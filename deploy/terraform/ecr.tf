# SPDX-License-Identifier: Apache-2.0

locals {
  registry_host = "${local.account}.dkr.ecr.${local.region}.${terraform_data.context.input.dns_suffix}"
  registry      = "${local.registry_host}/${var.prefix}"

  lock = var.lock_file == null ? null : try(yamldecode(file(var.lock_file)), null)
  # A target is HOST/NAME, HOST/NAME:TAG or HOST/NAME@DIGEST. ECR hosts have no port.
  target_pattern = "^[^/]+/([^:@]+)(?:[:@]|$)"
  lock_is_valid = var.lock_file == null ? true : try(
    local.lock.kind == "Lock" && length(local.lock.images) > 0 && alltrue([for i in local.lock.images : can(regex(local.target_pattern, i.target))]),
    false,
  )
  targets      = var.lock_file != null && local.lock_is_valid ? [for i in local.lock.images : i.target] : []
  names        = [for t in local.targets : regex(local.target_pattern, t)[0]]
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

  dynamic "encryption_configuration" {
    for_each = local.encrypts ? [local.kms_key_arn] : []
    content {
      encryption_type = "KMS"
      kms_key         = encryption_configuration.value
    }
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
