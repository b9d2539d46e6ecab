# SPDX-License-Identifier: Apache-2.0

locals {
  flow_log_group = "/aws/vpc/${var.name}/flow-logs"
  flow_logs      = var.flow_logs && local.new_vpc ? 1 : 0
}

resource "aws_cloudwatch_log_group" "flow" {
  count             = local.flow_logs
  name              = local.flow_log_group
  retention_in_days = var.log_retention_days
  kms_key_id        = local.kms_key_arn
  tags              = var.tags
}

resource "aws_iam_role" "flow" {
  count       = local.flow_logs
  name_prefix = "${var.name}-flow-logs-"
  description = "Writes the flow logs of the VPC ${var.name}"
  tags        = var.tags
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "vpc-flow-logs.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = { StringEquals = { "aws:SourceAccount" = local.account } }
    }]
  })
}

resource "aws_iam_role_policy" "flow" {
  count = local.flow_logs
  name  = "write"
  role  = aws_iam_role.flow[0].name
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect   = "Allow"
        Action   = ["logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams"]
        Resource = ["${aws_cloudwatch_log_group.flow[0].arn}:*", aws_cloudwatch_log_group.flow[0].arn]
      },
      {
        Effect   = "Allow"
        Action   = "logs:DescribeLogGroups"
        Resource = "*" # it lists groups
      },
    ]
  })
}

resource "aws_flow_log" "this" {
  count           = local.flow_logs
  vpc_id          = local.vpc_id
  traffic_type    = "ALL"
  iam_role_arn    = aws_iam_role.flow[0].arn
  log_destination = aws_cloudwatch_log_group.flow[0].arn
  tags            = merge(var.tags, { Name = var.name })
}
