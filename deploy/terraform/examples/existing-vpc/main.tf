# SPDX-License-Identifier: Apache-2.0

terraform {
  required_version = ">= 1.5"
}

variable "region" {
  type    = string
  default = "us-east-1"
}

variable "vpc_id" {
  type = string
}

variable "subnet_ids" {
  type = list(string)
}

variable "route_table_ids" {
  type = list(string)
}

variable "control_plane" {
  type    = object({ cluster_security_group_id = string, node_security_group_id = string })
  default = null
}

variable "lock_file" {
  type    = string
  default = null
}

provider "aws" {
  region = var.region
}

module "privatelink" {
  source          = "../.."
  vpc_id          = var.vpc_id
  subnet_ids      = var.subnet_ids
  route_table_ids = var.route_table_ids
  control_plane   = var.control_plane
  lock_file       = var.lock_file
}

output "registry" {
  value = module.privatelink.registry
}

output "privatelink_yaml" {
  value = module.privatelink.privatelink_yaml
}
