# SPDX-License-Identifier: Apache-2.0

data "aws_region" "this" {}

data "aws_caller_identity" "this" {}

data "aws_partition" "this" {}

data "aws_vpc" "this" {
  id = var.vpc_id
}

data "aws_subnet" "this" {
  id = var.subnet_id
}

data "aws_ec2_managed_prefix_list" "s3" {
  name = "com.amazonaws.${data.aws_region.this.name}.s3"
}

data "aws_ssm_parameter" "ami" {
  count = var.ami_id == null ? 1 : 0
  name  = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"
}

locals {
  region    = data.aws_region.this.name
  account   = data.aws_caller_identity.this.account_id
  partition = data.aws_partition.this.partition
  key_arn   = var.create_kms_key ? aws_kms_key.this[0].arn : var.kms_key_arn
  log_group = "/aws/ssm/${var.name}"
}

resource "terraform_data" "inputs" {
  lifecycle {
    precondition {
      condition     = var.create_kms_key != (var.kms_key_arn != null)
      error_message = "Set create_kms_key = false and kms_key_arn of a key, or neither."
    }
  }
}

resource "aws_kms_key" "this" {
  count               = var.create_kms_key ? 1 : 0
  description         = "${var.name}: disk, sessions and their log"
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
        Principal = { Service = "logs.${local.region}.${data.aws_partition.this.dns_suffix}" }
        Action    = ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"]
        Resource  = "*"
        Condition = { ArnEquals = { "kms:EncryptionContext:aws:logs:arn" = "arn:${local.partition}:logs:${local.region}:${local.account}:log-group:${local.log_group}" } }
      },
    ]
  })
}

resource "aws_cloudwatch_log_group" "sessions" {
  name              = local.log_group
  retention_in_days = var.log_retention_days
  kms_key_id        = local.key_arn
  tags              = var.tags
}

# Sessions that use this document are encrypted, logged and limited in time. The output
# operator_policy allows no other document.
resource "aws_ssm_document" "session" {
  name            = "${var.name}-session"
  document_type   = "Session"
  document_format = "JSON"
  tags            = var.tags
  content = jsonencode({
    schemaVersion = "1.0"
    description   = "A logged shell on ${var.name}"
    sessionType   = "Standard_Stream"
    inputs = {
      cloudWatchLogGroupName      = aws_cloudwatch_log_group.sessions.name
      cloudWatchEncryptionEnabled = true
      cloudWatchStreamingEnabled  = true
      kmsKeyId                    = local.key_arn
      idleSessionTimeout          = tostring(var.idle_minutes)
      s3BucketName                = ""
      s3KeyPrefix                 = ""
      s3EncryptionEnabled         = true
      runAsEnabled                = false
      runAsDefaultUser            = ""
    }
  })
}

resource "aws_iam_role" "this" {
  name_prefix = "${var.name}-"
  description = "Instance ${var.name}"
  tags        = var.tags
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "ec2.amazonaws.com" }
      Action    = "sts:AssumeRole"
    }]
  })
}

resource "aws_iam_instance_profile" "this" {
  name_prefix = "${var.name}-"
  role        = aws_iam_role.this.name
  tags        = var.tags
}

# Less than AmazonSSMManagedInstanceCore: no Run Command, no parameters, no inventory.
resource "aws_iam_role_policy" "sessions" {
  name = "sessions"
  role = aws_iam_role.this.name
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat([
      {
        Sid    = "Sessions"
        Effect = "Allow"
        Action = [
          "ssm:UpdateInstanceInformation",
          "ssmmessages:CreateControlChannel", "ssmmessages:CreateDataChannel", "ssmmessages:OpenControlChannel", "ssmmessages:OpenDataChannel",
        ]
        Resource = "*" # the actions have no resources
      },
      {
        Sid      = "SessionKey"
        Effect   = "Allow"
        Action   = "kms:Decrypt"
        Resource = local.key_arn
      },
      {
        Sid      = "SessionLog"
        Effect   = "Allow"
        Action   = ["logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams"]
        Resource = [aws_cloudwatch_log_group.sessions.arn, "${aws_cloudwatch_log_group.sessions.arn}:*"]
      },
      {
        Sid      = "FindSessionLog"
        Effect   = "Allow"
        Action   = "logs:DescribeLogGroups"
        Resource = "*"
      },
      ],
      length(var.tools) == 0 ? [] : [{
        Sid      = "Tools"
        Effect   = "Allow"
        Action   = "s3:GetObject"
        Resource = [for t in var.tools : "arn:${local.partition}:s3:::${t.bucket}/${t.key}"]
      }],
      var.cluster == null ? [] : [{
        Sid      = "Cluster"
        Effect   = "Allow"
        Action   = "eks:DescribeCluster"
        Resource = "arn:${local.partition}:eks:${local.region}:${local.account}:cluster/${var.cluster.name}"
      }],
    )
  })
}

resource "aws_security_group" "this" {
  name_prefix = "${var.name}-"
  description = "No way in; HTTPS to the VPC and to S3"
  vpc_id      = var.vpc_id
  tags        = merge(var.tags, { Name = var.name })

  egress {
    description = "HTTPS to endpoints and API servers in the VPC"
    protocol    = "tcp"
    from_port   = 443
    to_port     = 443
    cidr_blocks = [for a in data.aws_vpc.this.cidr_block_associations : a.cidr_block if a.state == "associated"]
  }
  egress {
    description     = "HTTPS to S3 by its gateway endpoint"
    protocol        = "tcp"
    from_port       = 443
    to_port         = 443
    prefix_list_ids = [data.aws_ec2_managed_prefix_list.s3.id]
  }

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_vpc_security_group_ingress_rule" "cluster" {
  count                        = var.cluster == null ? 0 : 1
  description                  = "HTTPS from ${var.name}"
  security_group_id            = var.cluster.security_group_id
  referenced_security_group_id = aws_security_group.this.id
  ip_protocol                  = "tcp"
  from_port                    = 443
  to_port                      = 443
  tags                         = merge(var.tags, { Name = var.name })
}

resource "aws_instance" "this" {
  ami                         = var.ami_id != null ? var.ami_id : data.aws_ssm_parameter.ami[0].value
  instance_type               = var.instance_type
  subnet_id                   = var.subnet_id
  vpc_security_group_ids      = [aws_security_group.this.id]
  iam_instance_profile        = aws_iam_instance_profile.this.name
  associate_public_ip_address = false
  ebs_optimized               = true
  monitoring                  = true
  user_data                   = templatefile("${path.module}/user-data.sh.tftpl", { tools = var.tools, region = local.region })
  user_data_replace_on_change = true
  tags                        = merge(var.tags, { Name = var.name })

  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  root_block_device {
    encrypted   = true
    kms_key_id  = local.key_arn
    volume_type = "gp3"
    volume_size = var.disk_gb
    tags        = merge(var.tags, { Name = var.name })
  }

  lifecycle {
    ignore_changes = [ami] # a newer Amazon Linux does not replace the instance
    precondition {
      condition     = data.aws_subnet.this.vpc_id == var.vpc_id
      error_message = "Subnet ${var.subnet_id} is in ${data.aws_subnet.this.vpc_id}, not in ${var.vpc_id}."
    }
    precondition {
      condition     = !data.aws_subnet.this.map_public_ip_on_launch
      error_message = "Subnet ${var.subnet_id} gives its instances public addresses. Set subnet_id to a private subnet."
    }
  }
}
