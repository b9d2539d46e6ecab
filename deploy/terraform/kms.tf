# SPDX-License-Identifier: Apache-2.0

locals {
  encrypts    = var.create_kms_key || var.kms_key_arn != null
  kms_key_arn = var.create_kms_key ? aws_kms_key.this[0].arn : var.kms_key_arn
}

# ECR works with grants, which the creator of a repository makes with the permissions
# of the account. CloudWatch Logs needs a statement of its own.
resource "aws_kms_key" "this" {
  count               = var.create_kms_key ? 1 : 0
  description         = "${var.name}: repositories and flow logs"
  enable_key_rotation = true
  tags                = merge(var.tags, { Name = var.name })
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "Account"
        Effect    = "Allow"
        Principal = { AWS = "arn:${local.partition}:iam::${local.account}:root" }
        Action    = "kms:*"
        Resource  = "*"
      },
      {
        Sid       = "Logs"
        Effect    = "Allow"
        Principal = { Service = "logs.${local.region}.${terraform_data.context.input.dns_suffix}" }
        Action    = ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"]
        Resource  = "*"
        Condition = { ArnEquals = { "kms:EncryptionContext:aws:logs:arn" = "arn:${local.partition}:logs:${local.region}:${local.account}:log-group:${local.flow_log_group}" } }
      },
    ]
  })
}
