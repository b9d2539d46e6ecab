# SPDX-License-Identifier: Apache-2.0

terraform {
  required_version = ">= 1.5"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.61"
    }
    helm = {
      source  = "hashicorp/helm"
      version = ">= 3.1, < 4.0"
    }
  }
}

variable "registry" {
  description = "Prefix of your images in ECR, such as 123456789012.dkr.ecr.us-east-1.amazonaws.com/castai."
  type        = string
  validation {
    condition     = can(regex("^[0-9]{12}\\.dkr\\.ecr(-fips)?\\.[a-z0-9-]+\\.amazonaws\\.com(\\.cn)?/[a-z0-9/._-]*[a-z0-9]$", var.registry))
    error_message = "registry must be ACCOUNT.dkr.ecr.REGION.amazonaws.com/PATH, without a scheme and without a slash at its end."
  }
}

variable "chart_version" {
  description = "Version of the chart that privatelink chart --push wrote, such as 0.2.0."
  type        = string
}

variable "values" {
  description = "Further values of the chart, as YAML. Write those of a privatelink.yaml with privatelink chart values."
  type        = string
  default     = ""
}

variable "kubeconfig" {
  description = "Path of the kubeconfig file."
  type        = string
  default     = "~/.kube/config"
}

variable "kube_context" {
  description = "Context in the kubeconfig file; null for the current one."
  type        = string
  default     = null
}

locals {
  host    = split("/", var.registry)[0]
  account = split(".", local.host)[0]
  region  = regex("\\.ecr(?:-fips)?\\.([a-z0-9-]+)\\.", local.host)[0]
}

provider "aws" {
  region = local.region
}

# A token is valid for 12 hours, and is read in each run. It is an input of the provider
# and not of the release: there it would be a change in each plan, and a stale one would
# be used if changes were ignored.
data "aws_ecr_authorization_token" "this" {
  registry_id = local.account
}

provider "helm" {
  kubernetes = {
    config_path    = var.kubeconfig
    config_context = var.kube_context
  }
  registries = [{
    url      = "oci://${local.host}"
    username = data.aws_ecr_authorization_token.this.user_name
    password = data.aws_ecr_authorization_token.this.password
  }]
}

resource "helm_release" "webhook" {
  name             = "privatelink-webhook"
  namespace        = "castai-privatelink"
  create_namespace = true
  repository       = "oci://${var.registry}/charts"
  chart            = "privatelink-webhook"
  version          = var.chart_version
  values           = compact([yamlencode({ registry = var.registry }), var.values])
}
