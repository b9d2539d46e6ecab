# SPDX-License-Identifier: Apache-2.0

# The lock has the digests of all images that were copied. A run replaces it only if no
# other has replaced it meanwhile, and its older versions are kept for a while.
resource "aws_s3_bucket" "lock" {
  bucket_prefix = "${var.name}-"
  force_destroy = var.force_destroy
  tags          = var.tags
}

resource "aws_s3_bucket_versioning" "lock" {
  bucket = aws_s3_bucket.lock.id
  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "lock" {
  bucket = aws_s3_bucket.lock.id
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
  depends_on = [aws_s3_bucket_versioning.lock]
}

resource "aws_s3_bucket_public_access_block" "lock" {
  bucket                  = aws_s3_bucket.lock.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_policy" "lock" {
  bucket = aws_s3_bucket.lock.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "TlsOnly"
      Effect    = "Deny"
      Principal = "*"
      Action    = "s3:*"
      Resource  = [aws_s3_bucket.lock.arn, "${aws_s3_bucket.lock.arn}/*"]
      Condition = { Bool = { "aws:SecureTransport" = "false" } }
    }]
  })
  depends_on = [aws_s3_bucket_public_access_block.lock] # AWS refuses concurrent changes
}
