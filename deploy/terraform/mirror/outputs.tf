# SPDX-License-Identifier: Apache-2.0

output "topic_arn" {
  description = "SNS topic of new images, failed runs and the alarm. Subscribe to it."
  value       = aws_sns_topic.this.arn
}

output "lock" {
  description = "The lock, for privatelink --lock."
  value       = "s3://${aws_s3_bucket.lock.id}/${local.lock_key}"
}

output "role_arn" {
  description = "Role of the runs."
  value       = aws_iam_role.mirror.arn
}

output "log_group" {
  description = "Log group of the runs."
  value       = aws_cloudwatch_log_group.this.name
}

output "start" {
  description = "Command that starts a run at once."
  value       = "aws codebuild start-build --project-name ${aws_codebuild_project.this.name} --region ${local.region}"
}
