# SPDX-License-Identifier: Apache-2.0

output "instance_id" {
  description = "ID of the instance, for aws ssm start-session --target."
  value       = aws_instance.this.id
}

output "document_name" {
  description = "Session document, for aws ssm start-session --document-name."
  value       = aws_ssm_document.session.name
}

output "role_arn" {
  description = "Role of the instance, for an access entry of the EKS cluster."
  value       = aws_iam_role.this.arn
}

output "security_group_id" {
  description = "Security group of the instance."
  value       = aws_security_group.this.id
}

output "log_group" {
  description = "Log group of the sessions."
  value       = aws_cloudwatch_log_group.sessions.name
}

output "operator_policy" {
  description = "IAM policy (JSON) for those who may open sessions: on this instance, with the logged document, and end their own."
  value = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "Start"
        Effect    = "Allow"
        Action    = "ssm:StartSession"
        Resource  = [aws_instance.this.arn, "arn:${local.partition}:ssm:${local.region}:${local.account}:document/${aws_ssm_document.session.name}"]
        Condition = { BoolIfExists = { "ssm:SessionDocumentAccessCheck" = "true" } }
      },
      {
        Sid      = "OwnSessions"
        Effect   = "Allow"
        Action   = ["ssm:TerminateSession", "ssm:ResumeSession"]
        Resource = "arn:${local.partition}:ssm:*:*:session/$${aws:userid}-*"
      },
      {
        Sid      = "SessionKey"
        Effect   = "Allow"
        Action   = "kms:GenerateDataKey"
        Resource = local.key_arn
      },
    ]
  })
}
