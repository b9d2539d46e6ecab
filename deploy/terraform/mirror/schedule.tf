# SPDX-License-Identifier: Apache-2.0

resource "aws_scheduler_schedule" "this" {
  name                = var.name
  description         = "Starts the CodeBuild project ${var.name}"
  schedule_expression = var.schedule

  flexible_time_window {
    mode = "OFF"
  }

  target {
    arn      = local.project_arn
    role_arn = aws_iam_role.schedule.arn

    # CodeBuild refuses a second build at the same time, and the next one is not far. The
    # default is 185 attempts within a day.
    retry_policy {
      maximum_event_age_in_seconds = 300
      maximum_retry_attempts       = 2
    }
  }

  depends_on = [aws_codebuild_project.this, aws_iam_role_policy.schedule]
}

# The source is the group of the schedule. The ARN of the schedule itself would not match:
# https://docs.aws.amazon.com/scheduler/latest/UserGuide/cross-service-confused-deputy-prevention.html
resource "aws_iam_role" "schedule" {
  name_prefix = "${substr(var.name, 0, 28)}-schedule-"
  description = "Starts the CodeBuild project ${var.name}"
  tags        = var.tags
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "scheduler.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = { StringEquals = { "aws:SourceAccount" = local.account, "aws:SourceArn" = local.schedule_group_arn } }
    }]
  })
}

resource "aws_iam_role_policy" "schedule" {
  name = "start"
  role = aws_iam_role.schedule.name
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect   = "Allow"
      Action   = "codebuild:StartBuild"
      Resource = local.project_arn
    }]
  })
}
