# SPDX-License-Identifier: Apache-2.0

# A repository of charts for what reads it by HTTPS without credentials: CAST AI's operator,
# with its helmRepoURL. privatelink chart-repository writes it.

locals {
  # Requests through these endpoints may read charts.
  chart_endpoints = distinct(concat(
    [for n, e in aws_vpc_endpoint.gateway : e.id if n == "s3"],
    compact([lookup(var.existing_endpoints, "s3", "")]),
    sort(var.chart_readers),
  ))
}

resource "aws_s3_bucket" "charts" {
  count         = var.create_chart_repository ? 1 : 0
  bucket_prefix = "${lower(replace(substr(var.name, 0, 29), "/[^A-Za-z0-9-]/", "-"))}-charts-"
  force_destroy = var.force_delete
  tags          = var.tags
}

# S3 refuses changes of a bucket at the same time, so that each waits for the one before.
resource "aws_s3_bucket_versioning" "charts" {
  count  = length(aws_s3_bucket.charts)
  bucket = aws_s3_bucket.charts[0].id
  versioning_configuration {
    status = "Enabled"
  }
}

# A key of yours would need credentials to read.
resource "aws_s3_bucket_server_side_encryption_configuration" "charts" {
  count  = length(aws_s3_bucket.charts)
  bucket = aws_s3_bucket.charts[0].id
  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm = "AES256"
    }
  }
  depends_on = [aws_s3_bucket_versioning.charts]
}

# Older versions are those of the index: an archive is never replaced.
resource "aws_s3_bucket_lifecycle_configuration" "charts" {
  count  = length(aws_s3_bucket.charts)
  bucket = aws_s3_bucket.charts[0].id
  rule {
    id     = "older-versions"
    status = "Enabled"
    filter {}
    noncurrent_version_expiration {
      noncurrent_days = 90
    }
    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }
  }
  depends_on = [aws_s3_bucket_server_side_encryption_configuration.charts]
}

# A policy is not public if it allows fixed endpoints alone:
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-control-block-public-access.html#access-control-block-public-access-policy-status
resource "aws_s3_bucket_public_access_block" "charts" {
  count                   = length(aws_s3_bucket.charts)
  bucket                  = aws_s3_bucket.charts[0].id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
  depends_on              = [aws_s3_bucket_lifecycle_configuration.charts]
}

# There is no Deny for other endpoints: it would keep out the run that writes, and whatever
# manages the bucket.
resource "aws_s3_bucket_policy" "charts" {
  count  = length(aws_s3_bucket.charts)
  bucket = aws_s3_bucket.charts[0].id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "TlsOnly"
        Effect    = "Deny"
        Principal = "*"
        Action    = "s3:*"
        Resource  = [aws_s3_bucket.charts[0].arn, "${aws_s3_bucket.charts[0].arn}/*"]
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      },
      {
        Sid       = "ReadThroughEndpoints"
        Effect    = "Allow"
        Principal = "*"
        Action    = "s3:GetObject"
        Resource  = "${aws_s3_bucket.charts[0].arn}/*"
        Condition = { StringEquals = { "aws:SourceVpce" = local.chart_endpoints } }
      },
    ]
  })
  depends_on = [aws_s3_bucket_public_access_block.charts]
}
