# SPDX-License-Identifier: Apache-2.0

variable "name" {
  description = "Name of what is made, in tags and names."
  type        = string
  default     = "privatelink"
}

variable "tags" {
  description = "Tags for everything that can have them."
  type        = map(string)
  default     = {}
}

variable "vpc_id" {
  description = "Existing VPC, which this configuration may make, too. Null to make one from vpc_cidr."
  type        = string
  default     = null
}

variable "subnet_ids" {
  description = "Subnets of the existing VPC that get the endpoints, at most one in each availability zone."
  type        = list(string)
  default     = []
}

variable "route_table_ids" {
  description = "Route tables of all subnets with nodes in the existing VPC; they get the route to S3."
  type        = list(string)
  default     = []
}

variable "vpc_cidr" {
  description = "IPv4 range of a new VPC, /24 or larger. Null with vpc_id."
  type        = string
  default     = null

  validation {
    condition     = var.vpc_cidr == null ? true : can(cidrnetmask(var.vpc_cidr)) && try(tonumber(split("/", var.vpc_cidr)[1]), 32) <= 24
    error_message = "vpc_cidr must be an IPv4 range of /24 or larger, such as 10.0.0.0/16."
  }
}

variable "availability_zones" {
  description = "Zones of the new VPC's subnets, one subnet each. EKS needs two or more."
  type        = list(string)
  default     = []
}

variable "tag_subnets" {
  description = "Tag the existing subnets cast.ai/routable=true. Off where another configuration owns their tags."
  type        = bool
  default     = true
}

variable "create_castai_endpoints" {
  description = "Make the endpoints of CAST AI's services."
  type        = bool
  default     = true
}

variable "castai_services" {
  description = "Service names of CAST AI by name (api, grpc, ...). Added to those of the region in endpoints.json, or instead of them. The name tells the service apart."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for s in values(var.castai_services) : can(regex("^com\\.amazonaws\\.vpce\\.[a-z0-9-]+\\.vpce-svc-[0-9a-f]+$", s))])
    error_message = "castai_services must have values such as com.amazonaws.vpce.eu-west-1.vpce-svc-0123456789abcdef0."
  }
}

variable "create_aws_endpoints" {
  description = "Make the endpoints of AWS's services."
  type        = bool
  default     = true
}

variable "aws_services" {
  description = "AWS services to make endpoints for, such as ecr.api. Null for all of endpoints.json. Leave out those that the VPC already has: a second one with private DNS is refused by AWS."
  type        = set(string)
  default     = null
}

variable "s3_policy" {
  description = "Policy (JSON) of the S3 gateway. Null for full access, as AWS has it by default."
  type        = string
  default     = null
}

variable "control_plane" {
  description = "Security groups of an existing cluster, where its nodes are not in the cluster's own: lets the control plane reach the webhook's port 9443 on nodes. Null for no rule."
  type = object({
    cluster_security_group_id = string
    node_security_group_id    = string
  })
  default = null

  validation {
    condition     = var.control_plane == null ? true : var.control_plane.cluster_security_group_id != null && var.control_plane.node_security_group_id != null
    error_message = "control_plane needs both cluster_security_group_id and node_security_group_id. Leave control_plane out where nodes are in the cluster's own group."
  }
}

variable "create_repositories" {
  description = "Make the ECR repositories of the lock file and of the webhook."
  type        = bool
  default     = true
}

variable "lock_file" {
  description = "Path of privatelink.lock.yaml. Null for the webhook's repository alone."
  type        = string
  default     = null
}

variable "prefix" {
  description = "First part of the repositories' names, as in the registry ACCOUNT.dkr.ecr.REGION.amazonaws.com/PREFIX."
  type        = string
  default     = "castai"

  validation {
    condition     = can(regex("^[a-z0-9]+([._/-][a-z0-9]+)*$", var.prefix))
    error_message = "prefix must be lower case letters and digits, separated by one of . _ - /."
  }
}

variable "image_tag_mutability" {
  description = "MUTABLE, as privatelink mirror has it by default, or IMMUTABLE."
  type        = string
  default     = "MUTABLE"

  validation {
    condition     = contains(["MUTABLE", "IMMUTABLE"], var.image_tag_mutability)
    error_message = "image_tag_mutability must be MUTABLE or IMMUTABLE."
  }
}

variable "scan_on_push" {
  description = "Scan images when they are pushed."
  type        = bool
  default     = false
}

variable "lifecycle_policy" {
  description = "Lifecycle policy (JSON) of the repositories, as repositories.lifecyclePolicy in privatelink.yaml. Null for none: no rule knows what pods still use, and rules by age take the untagged images of an index. privatelink prune knows."
  type        = string
  default     = null

  validation {
    condition     = var.lifecycle_policy == null ? true : can(jsondecode(var.lifecycle_policy).rules)
    error_message = "lifecycle_policy must be JSON with rules, such as jsonencode({ rules = [...] })."
  }
}

variable "force_delete" {
  description = "Let destroy delete repositories with images in them."
  type        = bool
  default     = false
}

variable "create_repository_template" {
  description = "Make a creation template for the prefix, for repositories that ECR makes itself when it replicates images to this region."
  type        = bool
  default     = false
}
