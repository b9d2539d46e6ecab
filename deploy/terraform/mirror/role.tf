# SPDX-License-Identifier: Apache-2.0

locals {
  lock_key = "privatelink.lock.yaml"

  # Settings of new repositories that are separate actions.
  setting_actions = concat(
    length(try(local.settings.tags, {})) > 0 ? ["ecr:TagResource"] : [],
    try(local.settings.lifecyclePolicy, null) != null ? ["ecr:PutLifecyclePolicy"] : [],
    try(local.settings.repositoryPolicy, null) != null ? ["ecr:SetRepositoryPolicy"] : [],
  )

  charts = [for s in var.chart_repository == null ? [] : [trimprefix(var.chart_repository, "s3://")] : {
    bucket  = "arn:${local.partition}:s3:::${split("/", s)[0]}"
    objects = "arn:${local.partition}:s3:::${s}/*"
  }]

  # Of a key whose alias is configured, the ARN is not known.
  kms_key   = try(local.settings.kmsKey, null)
  kms_alias = try(regex("alias/.+$", local.kms_key), null)
  kms_keys  = "arn:${local.partition}:kms:${local.registry.region}:${local.account}:key"
}

# The role of a run.
resource "aws_iam_role" "mirror" {
  name_prefix = "${substr(var.name, 0, 37)}-"
  description = "Copies images to ${local.config.registry}"
  tags        = var.tags
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "codebuild.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = { StringEquals = { "aws:SourceAccount" = local.account, "aws:SourceArn" = local.project_arn } }
    }]
  })
}

resource "aws_iam_role_policy" "mirror" {
  name = "mirror"
  role = aws_iam_role.mirror.name
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat([
      {
        Sid      = "Registry"
        Effect   = "Allow"
        Action   = ["ecr:GetAuthorizationToken", "ecr:GetAccountSetting"]
        Resource = "*"
      },
      {
        Sid    = "Repositories"
        Effect = "Allow"
        Action = concat([
          "ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:CompleteLayerUpload", "ecr:CreateRepository", "ecr:DescribeRepositories",
          "ecr:GetDownloadUrlForLayer", "ecr:InitiateLayerUpload", "ecr:PutImage", "ecr:UploadLayerPart",
        ], local.setting_actions)
        Resource = "arn:${local.partition}:ecr:${local.registry.region}:${local.account}:repository/${local.registry.prefix}/*"
      },
      {
        Sid      = "LockBucket"
        Effect   = "Allow"
        Action   = "s3:ListBucket"
        Resource = aws_s3_bucket.lock.arn
      },
      {
        Sid      = "Lock"
        Effect   = "Allow"
        Action   = ["s3:GetObject", "s3:PutObject"]
        Resource = "${aws_s3_bucket.lock.arn}/${local.lock_key}"
      },
      {
        Sid      = "News"
        Effect   = "Allow"
        Action   = "sns:Publish"
        Resource = aws_sns_topic.this.arn
      },
      {
        Sid      = "Logs"
        Effect   = "Allow"
        Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
        Resource = "${aws_cloudwatch_log_group.this.arn}:*"
      },
      ], flatten([for c in local.charts : [
        {
          Sid      = "ChartBucket"
          Effect   = "Allow"
          Action   = "s3:ListBucket"
          Resource = c.bucket
        },
        {
          Sid      = "Charts"
          Effect   = "Allow"
          Action   = ["s3:GetObject", "s3:PutObject"]
          Resource = c.objects
        },
        ]]), local.kms_key == null ? [] : [{
        Sid      = "RepositoryKey"
        Effect   = "Allow"
        Action   = ["kms:CreateGrant", "kms:DescribeKey", "kms:RetireGrant"]
        Resource = local.kms_alias != null ? "${local.kms_keys}/*" : startswith(local.kms_key, "arn:") ? local.kms_key : "${local.kms_keys}/${local.kms_key}"
        Condition = merge(
          { StringEquals = { "kms:ViaService" = "ecr.${local.registry.region}.${data.aws_partition.this.dns_suffix}" } },
          local.kms_alias == null ? {} : { "ForAnyValue:StringEquals" = { "kms:ResourceAliases" = local.kms_alias } },
        )
    }])
  })
}
