# SPDX-License-Identifier: Apache-2.0

variable "name" {
  description = "Name of the instance, and prefix of the names of its other resources."
  type        = string
  default     = "privatelink-bastion"
  nullable    = false
}

variable "tags" {
  description = "Tags for all resources that support them."
  type        = map(string)
  default     = {}
  nullable    = false
}

variable "vpc_id" {
  description = "ID of the VPC. It needs endpoints of ssm, ssmmessages, logs, kms and s3, and of eks and sts for aws eks update-kubeconfig."
  type        = string
  nullable    = false
}

variable "subnet_id" {
  description = "ID of a private subnet: one that gives no public addresses, and has no route to an internet gateway."
  type        = string
  nullable    = false
}

variable "instance_type" {
  description = "Type of the instance. Its architecture must be that of the AMI and of the tools."
  type        = string
  default     = "t3.micro"
  nullable    = false
}

variable "ami_id" {
  description = "AMI with SSM Agent and the AWS CLI. Null for the newest Amazon Linux 2023 for x86_64 at the time of creation."
  type        = string
  default     = null
}

variable "disk_gb" {
  description = "Size of the disk in GB, at least that of the AMI's snapshot."
  type        = number
  default     = 20
  nullable    = false
}

variable "tools" {
  description = "Programs to install in /usr/local/bin from S3, by name, such as kubectl and privatelink. Leave out those that the AMI has."
  type = map(object({
    bucket = string
    key    = string
    sha256 = string
  }))
  default  = {}
  nullable = false

  validation {
    condition     = alltrue([for n, t in var.tools : can(regex("^[a-z0-9][a-z0-9._-]*$", n)) && can(regex("^[a-z0-9][a-z0-9.-]{2,62}$", t.bucket)) && can(regex("^[A-Za-z0-9!_.*()/+=-]+$", t.key)) && can(regex("^[0-9a-f]{64}$", t.sha256))])
    error_message = "tools must have program names with a bucket, a key, and the SHA-256 of the file in hex, as sha256sum prints it."
  }
}

variable "cluster" {
  description = "EKS cluster to reach: allows eks:DescribeCluster, and HTTPS from the bastion in the cluster security group. Give the role in the output role_arn an access entry in the cluster. Null for none."
  type = object({
    name              = string
    security_group_id = string
  })
  default = null
}

variable "create_kms_key" {
  description = "Create a KMS key for the disk, the sessions and their log."
  type        = bool
  default     = true
  nullable    = false
}

variable "kms_key_arn" {
  description = "KMS key to use, with create_kms_key = false. Its policy must allow CloudWatch Logs to use it for the log group of the sessions."
  type        = string
  default     = null
}

variable "log_retention_days" {
  description = "Days to keep the log of the sessions."
  type        = number
  default     = 365
  nullable    = false
}

variable "idle_minutes" {
  description = "Minutes without input after which a session ends."
  type        = number
  default     = 20
  nullable    = false

  validation {
    condition     = var.idle_minutes >= 1 && var.idle_minutes <= 60
    error_message = "idle_minutes must be 1 to 60, the limits of Session Manager."
  }
}
