# SPDX-License-Identifier: Apache-2.0

terraform {
  required_version = ">= 1.5"
}

variable "region" {
  type    = string
  default = "us-east-1"
}

variable "lock_file" {
  description = "Path of privatelink.lock.yaml."
  type        = string
  default     = null
}

variable "force_delete" {
  description = "Let destroy delete repositories that hold images."
  type        = bool
  default     = false
}

provider "aws" {
  region = var.region
}

# In the first three zones of the region.
module "privatelink" {
  source       = "../.."
  vpc_cidr     = "10.0.0.0/16"
  lock_file    = var.lock_file
  force_delete = var.force_delete
}

output "registry" {
  value = module.privatelink.registry
}

output "privatelink_yaml" {
  value = module.privatelink.privatelink_yaml
}
