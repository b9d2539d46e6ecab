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
  description = "Subnets of the nodes, at most one in a zone. Empty: one private subnet of each zone is found, and none is tagged."
  type        = list(string)
  default     = []
}

variable "route_table_ids" {
  description = "Route tables of all subnets with nodes. Empty, with subnet_ids empty: those without a route to an internet gateway."
  type        = list(string)
  default     = []
}

variable "existing_endpoints" {
  type    = map(string)
  default = {}
}

variable "control_plane" {
  type    = object({ cluster_security_group_id = string, node_security_group_id = string })
  default = null
}

variable "lock_file" {
  type    = string
  default = null
}

variable "force_delete" {
  description = "Let destroy delete repositories that hold images."
  type        = bool
  default     = false
}

provider "aws" {
  region = var.region
}

module "privatelink" {
  source                  = "../.."
  vpc_id                  = var.vpc_id
  subnet_ids              = var.subnet_ids
  route_table_ids         = var.route_table_ids
  existing_endpoints      = var.existing_endpoints
  find_existing_endpoints = true
  control_plane           = var.control_plane
  lock_file               = var.lock_file
  force_delete            = var.force_delete
}

output "registry" {
  value = module.privatelink.registry
}

output "privatelink_yaml" {
  value = module.privatelink.privatelink_yaml
}

output "subnet_ids" {
  value = module.privatelink.subnet_ids
}
