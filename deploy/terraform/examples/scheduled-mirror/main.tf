# SPDX-License-Identifier: Apache-2.0

# A schedule mirrors new images to the registry of one region, and ECR copies them to
# another. For one region, leave out the second provider, the module destination,
# replicate_to and replaces_all_rules.

terraform {
  required_version = ">= 1.5"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.61"
    }
  }
}

variable "config_file" {
  description = "Path of privatelink.yaml."
  type        = string
}

variable "release" {
  description = "Release of privatelink, with the SHA-256 of its archive for linux_amd64."
  type        = object({ version = string, sha256 = string })
}

variable "source_region" {
  type    = string
  default = "us-east-1"
}

variable "destination_region" {
  type    = string
  default = "us-east-2"
}

variable "replaces_all_rules" {
  description = "See the input of the module mirror."
  type        = bool
  default     = false
}

provider "aws" {
  region = var.source_region
}

provider "aws" {
  alias  = "destination"
  region = var.destination_region
}

module "destination" {
  source    = "../../mirror/destination"
  providers = { aws = aws.destination }
  config    = file(var.config_file)
}

module "mirror" {
  source             = "../../mirror"
  config             = file(var.config_file)
  release            = var.release
  replicate_to       = [module.destination.registry]
  replaces_all_rules = var.replaces_all_rules
}

output "topic_arn" {
  description = "Subscribe to it."
  value       = module.mirror.topic_arn
}

output "start" {
  description = "Starts a run at once."
  value       = module.mirror.start
}
