# SPDX-License-Identifier: Apache-2.0

output "registry" {
  description = "An entry of replicate_to. The rule is created after what it needs here."
  value       = { region = data.aws_region.this.name, account_id = local.account }
  depends_on  = [aws_ecr_repository_creation_template.this, aws_ecr_registry_policy.this]
}
