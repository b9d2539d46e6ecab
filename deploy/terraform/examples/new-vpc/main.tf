# SPDX-License-Identifier: Apache-2.0

terraform {
  required_version = ">= 1.5"
}

provider "aws" {
  region = "us-east-1"
}

module "privatelink" {
  source             = "../.."
  vpc_cidr           = "10.0.0.0/16"
  availability_zones = ["us-east-1a", "us-east-1b"]
  lock_file          = var.lock_file
}

variable "lock_file" {
  description = "Path of privatelink.lock.yaml."
  type        = string
  default     = null
}

output "registry" {
  value = module.privatelink.registry
}

output "privatelink_yaml" {
  value = module.privatelink.privatelink_yaml
}
