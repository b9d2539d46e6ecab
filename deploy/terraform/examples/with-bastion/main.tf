# SPDX-License-Identifier: Apache-2.0

terraform {
  required_version = ">= 1.5"
}

variable "region" {
  type    = string
  default = "us-east-1"
}

variable "tools" {
  description = "Programs in S3 to install on the bastion, by name."
  type        = map(object({ bucket = string, key = string, sha256 = string }))
  default     = {}
}

variable "cluster" {
  description = "EKS cluster to reach, once there is one."
  type        = object({ name = string, security_group_id = string })
  default     = null
}

variable "ami_id" {
  type    = string
  default = null
}

provider "aws" {
  region = var.region
}

module "privatelink" {
  source            = "../.."
  vpc_cidr          = "10.0.0.0/16"
  optional_services = ["ssm", "ssmmessages", "kms"]
}

module "bastion" {
  source    = "../../modules/bastion"
  vpc_id    = module.privatelink.vpc_id
  subnet_id = module.privatelink.subnet_ids[0]
  ami_id    = var.ami_id
  tools     = var.tools
  cluster   = var.cluster
}

output "privatelink_yaml" {
  value = module.privatelink.privatelink_yaml
}

output "registry" {
  value = module.privatelink.registry
}

output "start_session" {
  description = "Command that opens a session."
  value       = "aws ssm start-session --region ${var.region} --target ${module.bastion.instance_id} --document-name ${module.bastion.document_name}"
}

output "bastion_role_arn" {
  value = module.bastion.role_arn
}

output "operator_policy" {
  value = module.bastion.operator_policy
}
