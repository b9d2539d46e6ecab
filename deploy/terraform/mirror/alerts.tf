# SPDX-License-Identifier: Apache-2.0

# Messages have names of images and links to logs. The key alias/aws/sns would keep
# EventBridge and CloudWatch from sending any.
resource "aws_sns_topic" "this" {
  name = var.name
  tags = var.tags
}

# EventBridge publishes to no topic whose policy has a condition for it:
# https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-use-resource-based.html#eb-sns-permissions
resource "aws_sns_topic_policy" "this" {
  arn = aws_sns_topic.this.arn
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "FailedRuns"
        Effect    = "Allow"
        Principal = { Service = "events.amazonaws.com" }
        Action    = "sns:Publish"
        Resource  = aws_sns_topic.this.arn
      },
      {
        Sid       = "Alarm"
        Effect    = "Allow"
        Principal = { Service = "cloudwatch.amazonaws.com" }
        Action    = "sns:Publish"
        Resource  = aws_sns_topic.this.arn
        Condition = { ArnEquals = { "aws:SourceArn" = aws_cloudwatch_metric_alarm.stale.arn }, StringEquals = { "aws:SourceAccount" = local.account } }
      },
    ]
  })
}

# A run that ended without success.
resource "aws_cloudwatch_event_rule" "failed" {
  name        = "${var.name}-failed"
  description = "A run of ${var.name} failed, was stopped or timed out"
  tags        = var.tags
  event_pattern = jsonencode({
    source      = ["aws.codebuild"]
    detail-type = ["CodeBuild Build State Change"]
    detail = {
      build-status = ["FAILED", "FAULT", "STOPPED", "TIMED_OUT"]
      project-name = [var.name]
    }
  })
}

resource "aws_cloudwatch_event_target" "failed" {
  rule = aws_cloudwatch_event_rule.failed.name
  arn  = aws_sns_topic.this.arn

  input_transformer {
    input_paths = {
      project = "$.detail.project-name"
      status  = "$.detail.build-status"
      logs    = "$.detail.additional-information.logs.deep-link"
    }
    input_template = "\"<project>: a run ended with <status>. Logs: <logs>\""
  }
}

# No success for hours, for whatever reason: a schedule that is off, a role that may not start
# builds, or builds that fail.
resource "aws_cloudwatch_metric_alarm" "stale" {
  alarm_name          = "${var.name}-stale"
  alarm_description   = "No run of ${var.name} has succeeded for ${var.alarm_after_hours} hours"
  namespace           = "AWS/CodeBuild"
  metric_name         = "SucceededBuilds"
  dimensions          = { ProjectName = var.name }
  statistic           = "Sum"
  period              = 3600
  evaluation_periods  = var.alarm_after_hours
  comparison_operator = "LessThanThreshold"
  threshold           = 1
  treat_missing_data  = "breaching"
  alarm_actions       = [aws_sns_topic.this.arn]
  ok_actions          = [aws_sns_topic.this.arn]
  tags                = var.tags
}
