# SPDX-License-Identifier: Apache-2.0

data "aws_region" "this" {}

data "aws_caller_identity" "this" {}

data "aws_partition" "this" {}

locals {
  region    = data.aws_region.this.name
  account   = data.aws_caller_identity.this.account_id
  partition = data.aws_partition.this.partition

  config   = yamldecode(var.config)
  settings = try(local.config.repositories, {})
  registry = regex("^(?P<account>[0-9]{12})\\.dkr[.-]ecr(?:-fips)?\\.(?P<region>[a-z0-9-]+)\\.[^/]+/(?P<prefix>.+)$", local.config.registry)

  # The roles name the project and the schedule group, which in turn need the roles.
  project_arn        = "arn:${local.partition}:codebuild:${local.region}:${local.account}:project/${var.name}"
  schedule_group_arn = "arn:${local.partition}:scheduler:${local.region}:${local.account}:schedule-group/default"
}

resource "terraform_data" "inputs" {
  lifecycle {
    precondition {
      condition     = local.registry.account == local.account
      error_message = "The registry of config is in account ${local.registry.account}, and this is ${local.account}. Apply the module in the account of the registry; replicate_to copies to others."
    }
    precondition {
      condition     = var.chart_repository == null || contains(var.arguments, "--track")
      error_message = "chart_repository gets the versions of charts that --track has mirrored. Add --track to arguments."
    }
    precondition {
      condition     = length(var.replicate_to) == 0 || var.replaces_all_rules
      error_message = "A registry has one set of replication rules, and replicate_to replaces it. Run: aws ecr describe-registry --query replicationConfiguration.rules. If it prints [], set replaces_all_rules = true. If not, add the destinations to the configuration that has the other rules."
    }
    precondition {
      condition     = length(var.replicate_to) == 0 || local.registry.region == local.region
      error_message = "replicate_to changes the registry of region ${local.region}, and config names that of ${local.registry.region}. Apply the module with a provider of that region."
    }
    precondition {
      condition     = alltrue([for d in var.replicate_to : d.region != local.region || coalesce(d.account_id, local.account) != local.account])
      error_message = "replicate_to names the registry of config itself. Leave it out."
    }
  }
}
