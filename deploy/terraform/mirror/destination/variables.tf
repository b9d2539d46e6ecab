# SPDX-License-Identifier: Apache-2.0

variable "config" {
  description = "Content of privatelink.yaml, as for the module mirror. Its prefix and its settings of repositories apply here as well."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[^/]+/.+$", yamldecode(var.config).registry))
    error_message = "config must be YAML with a registry such as 123456789012.dkr.ecr.us-east-1.amazonaws.com/castai."
  }
}

variable "source_account_id" {
  description = "Account whose registry is copied. Null for this account."
  type        = string
  default     = null

  validation {
    condition     = var.source_account_id == null ? true : can(regex("^[0-9]{12}$", var.source_account_id))
    error_message = "source_account_id must have 12 digits."
  }
}

variable "replaces_registry_policy" {
  description = "A registry has one policy, and source_account_id replaces it. Set to true after: aws ecr get-registry-policy"
  type        = bool
  default     = false
  nullable    = false
}
