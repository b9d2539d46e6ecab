# SPDX-License-Identifier: Apache-2.0

data "aws_region" "this" {}

data "aws_caller_identity" "this" {}

data "aws_partition" "this" {}

# With depends_on on the module, Terraform reads the data sources during apply while a
# dependency has changes. Names of services would then be unknown during the plan, and
# Terraform would replace every endpoint. The state keeps the values of the first apply.
resource "terraform_data" "context" {
  input = {
    region     = data.aws_region.this.name
    account    = data.aws_caller_identity.this.account_id
    partition  = data.aws_partition.this.partition
    dns_suffix = data.aws_partition.this.dns_suffix
  }

  lifecycle {
    ignore_changes = [input]
  }
}

locals {
  region    = terraform_data.context.input.region
  account   = terraform_data.context.input.account
  partition = terraform_data.context.input.partition
}
