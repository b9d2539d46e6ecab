# SPDX-License-Identifier: Apache-2.0

# Images are mirrored to the registry of one region, and ECR copies them to another, where
# a second cluster pulls them through its own endpoints.

terraform {
  required_version = ">= 1.5"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.61"
    }
  }
}

variable "source_region" {
  type    = string
  default = "us-east-1"
}

variable "destination_region" {
  type    = string
  default = "us-east-2"
}

variable "prefix" {
  type    = string
  default = "castai"
}

variable "lock_file" {
  type    = string
  default = null
}

variable "replaces_all_rules" {
  description = "A registry has one set of replication rules, and this configuration replaces it. Set to true after: aws ecr describe-registry --query replicationConfiguration.rules"
  type        = bool
  default     = false

  validation {
    condition     = var.replaces_all_rules
    error_message = "A registry has one set of replication rules, and this configuration replaces it. Run: aws ecr describe-registry --query replicationConfiguration.rules. If it prints [], set replaces_all_rules = true. If not, add the rule of this example to the configuration that has the others."
  }
}

provider "aws" {
  region = var.source_region
}

provider "aws" {
  alias  = "destination"
  region = var.destination_region
}

module "source" {
  source    = "../.."
  vpc_cidr  = "10.0.0.0/16"
  prefix    = var.prefix
  lock_file = var.lock_file
}

# ECR creates the repositories when it copies the first image. It does not copy their
# settings: the template has them.
module "destination" {
  source                     = "../.."
  providers                  = { aws = aws.destination }
  vpc_cidr                   = "10.1.0.0/16"
  prefix                     = var.prefix
  create_repositories        = false
  create_repository_template = true
}

data "aws_caller_identity" "this" {}

resource "aws_ecr_replication_configuration" "this" {
  replication_configuration {
    rule {
      destination {
        region      = var.destination_region
        registry_id = data.aws_caller_identity.this.account_id
      }
      repository_filter {
        filter      = "${var.prefix}/"
        filter_type = "PREFIX_MATCH"
      }
    }
  }

  depends_on = [module.destination] # the template must exist before the first copy

  lifecycle {
    precondition {
      condition     = var.source_region != var.destination_region
      error_message = "source_region and destination_region must differ."
    }
  }
}

output "registry" {
  description = "Mirror to this registry."
  value       = module.source.registry
}

output "destination_registry" {
  description = "The second cluster pulls from this one."
  value       = module.destination.registry
}
