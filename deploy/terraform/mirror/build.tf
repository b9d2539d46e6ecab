# SPDX-License-Identifier: Apache-2.0

resource "aws_cloudwatch_log_group" "this" {
  name              = "/aws/codebuild/${var.name}"
  retention_in_days = var.log_retention_days
  tags              = var.tags
}

# The image of privatelink has no shell, which CodeBuild needs, so that a run downloads the
# program into an image of AWS. There is no VPC: a run needs the public registries.
resource "aws_codebuild_project" "this" {
  name                   = var.name
  description            = "Copies new images of CAST AI to ${local.config.registry}"
  service_role           = aws_iam_role.mirror.arn
  concurrent_build_limit = 1
  build_timeout          = 55 # minutes
  queued_timeout         = 5
  tags                   = var.tags

  artifacts {
    type = "NO_ARTIFACTS"
  }

  environment {
    type         = "LINUX_CONTAINER"
    compute_type = "BUILD_GENERAL1_SMALL"
    image        = "aws/codebuild/amazonlinux-x86_64-standard:5.0"

    dynamic "environment_variable" {
      for_each = {
        ARGUMENTS       = join(" ", var.arguments)
        CHARTS          = var.chart_repository == null ? "" : var.chart_repository
        CHART_SETS      = join(" ", [for a in var.arguments : a if startswith(a, "--set=")])
        LOCK            = "s3://${aws_s3_bucket.lock.id}/${local.lock_key}"
        RELEASE_SHA256  = var.release.sha256
        RELEASE_URL     = var.release_url
        RELEASE_VERSION = var.release.version
        ROLE            = aws_iam_role.mirror.arn
        TOPIC           = aws_sns_topic.this.arn
      }
      content {
        name  = environment_variable.key
        value = environment_variable.value
      }
    }
  }

  # The configuration is no environment variable, because all of them together may have
  # 5,500 characters. A subshell keeps set -e away from the shell of CodeBuild.
  source {
    type = "NO_SOURCE"
    buildspec = yamlencode({
      version = 0.2
      env     = { shell = "bash" }
      phases = { build = { commands = [
        "printf %s ${base64encode(var.config)} | base64 -d > privatelink.yaml",
        "(\n${file("${path.module}/run.sh")})",
      ] } }
    })
  }

  logs_config {
    cloudwatch_logs {
      group_name = aws_cloudwatch_log_group.this.name
    }
  }

  depends_on = [terraform_data.inputs, aws_iam_role_policy.mirror]
}
