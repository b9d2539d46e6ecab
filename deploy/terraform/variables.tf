# SPDX-License-Identifier: Apache-2.0

variable "name" {
  description = "Prefix of resource names and of Name tags."
  type        = string
  default     = "privatelink"
}

variable "tags" {
  description = "Tags for all resources that support them."
  type        = map(string)
  default     = {}
}

variable "vpc_id" {
  description = "ID of an existing VPC, which may be a resource of the same configuration. Null to create a VPC from vpc_cidr."
  type        = string
  default     = null
}

variable "subnet_ids" {
  description = "IDs of the subnets of the existing VPC for the endpoints, at most one for each availability zone."
  type        = list(string)
  default     = []
}

variable "route_table_ids" {
  description = "IDs of the route tables of all subnets with nodes in the existing VPC, for the route to S3."
  type        = list(string)
  default     = []
}

variable "vpc_cidr" {
  description = "IPv4 CIDR block of a new VPC, /24 or larger. Null with vpc_id."
  type        = string
  default     = null

  validation {
    condition     = var.vpc_cidr == null ? true : can(cidrnetmask(var.vpc_cidr)) && try(tonumber(split("/", var.vpc_cidr)[1]), 32) <= 24
    error_message = "vpc_cidr must be an IPv4 CIDR block of /24 or larger, such as 10.0.0.0/16."
  }
}

variable "availability_zones" {
  description = "Availability zones of the new VPC, with one subnet each. EKS requires at least two."
  type        = list(string)
  default     = []
}

variable "tag_subnets" {
  description = "Tag the existing subnets cast.ai/routable=true. Set to false if another configuration manages their tags."
  type        = bool
  default     = true
}

variable "create_castai_endpoints" {
  description = "Create the endpoints of CAST AI services."
  type        = bool
  default     = true
}

variable "castai_services" {
  description = "Service names of CAST AI by short name (api, grpc, ...). They are added to those of the region in endpoints.json, and override them."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for s in values(var.castai_services) : can(regex("^com\\.amazonaws\\.vpce\\.[a-z0-9-]+\\.vpce-svc-[0-9a-f]+$", s))])
    error_message = "castai_services must have values such as com.amazonaws.vpce.eu-west-1.vpce-svc-0123456789abcdef0."
  }
}

variable "create_aws_endpoints" {
  description = "Create the endpoints of AWS services."
  type        = bool
  default     = true
}

variable "aws_services" {
  description = "AWS services to create endpoints for, such as ecr.api. Null for all of endpoints.json. Leave out those that the VPC already has: AWS rejects a second endpoint with private DNS."
  type        = set(string)
  default     = null
}

variable "s3_policy" {
  description = "Policy (JSON) of the S3 gateway. Null for full access, the default of AWS."
  type        = string
  default     = null
}

variable "control_plane" {
  description = "Security groups of an existing cluster whose nodes do not have the cluster security group: allows the control plane to reach the webhook's port 9443 on the nodes. Null for no rule."
  type = object({
    cluster_security_group_id = string
    node_security_group_id    = string
  })
  default = null

  validation {
    condition     = var.control_plane == null ? true : var.control_plane.cluster_security_group_id != null && var.control_plane.node_security_group_id != null
    error_message = "control_plane needs both cluster_security_group_id and node_security_group_id. Leave control_plane out if the nodes have the cluster security group."
  }
}

variable "create_repositories" {
  description = "Create the ECR repositories of the lock file and of the webhook."
  type        = bool
  default     = true
}

variable "lock_file" {
  description = "Path of privatelink.lock.yaml. Null for only the repository of the webhook."
  type        = string
  default     = null
}

variable "prefix" {
  description = "First part of the repository names, as in the registry ACCOUNT.dkr.ecr.REGION.amazonaws.com/PREFIX."
  type        = string
  default     = "castai"

  validation {
    condition     = can(regex("^[a-z0-9]+([._/-][a-z0-9]+)*$", var.prefix))
    error_message = "prefix must be lower case letters and digits, separated by one of . _ - /."
  }
}

variable "image_tag_mutability" {
  description = "MUTABLE, the default of privatelink mirror, or IMMUTABLE."
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
  description = "Lifecycle policy (JSON) of the repositories, as repositories.lifecyclePolicy in privatelink.yaml. Null for none: no rule takes into account which images pods use, and rules by age delete the untagged images of an index. Use privatelink prune instead."
  type        = string
  default     = null

  validation {
    condition     = var.lifecycle_policy == null ? true : can(jsondecode(var.lifecycle_policy).rules)
    error_message = "lifecycle_policy must be JSON with rules, such as jsonencode({ rules = [...] })."
  }
}

variable "force_delete" {
  description = "Allow destroy to delete repositories that contain images."
  type        = bool
  default     = false
}

variable "create_repository_template" {
  description = "Create a repository creation template for the prefix, for repositories that ECR creates when it replicates images to this region."
  type        = bool
  default     = false
}
