# SPDX-License-Identifier: Apache-2.0

# ECR copies what is pushed from now on. It replaces all rules of the registry.
resource "aws_ecr_replication_configuration" "this" {
  count = length(var.replicate_to) > 0 ? 1 : 0

  replication_configuration {
    rule {
      dynamic "destination" {
        for_each = var.replicate_to
        content {
          region      = destination.value.region
          registry_id = coalesce(destination.value.account_id, local.account)
        }
      }
      repository_filter {
        filter      = "${local.registry.prefix}/"
        filter_type = "PREFIX_MATCH"
      }
    }
  }

  depends_on = [terraform_data.inputs]
}
