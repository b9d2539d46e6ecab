# SPDX-License-Identifier: Apache-2.0

variable "name" {
  description = "Prefix of resource names and of Name tags."
  type        = string
  default     = "privatelink"
  nullable    = false
}

variable "tags" {
  description = "Tags for all resources that support them."
  type        = map(string)
  default     = {}
  nullable    = false
}

variable "vpc_id" {
  description = "ID of an existing VPC, which may be a resource of the same configuration. Null to create a VPC from vpc_cidr."
  type        = string
  default     = null
}

variable "subnet_ids" {
  description = "IDs of the subnets of the existing VPC for the endpoints, at most one for each availability zone. Empty: one private subnet of each regular zone is found. Required if the VPC is in the same configuration."
  type        = list(string)
  default     = []
  nullable    = false
}

variable "subnet_tags" {
  description = "Tags of the subnets to find, with subnet_ids empty. Values may have the wildcard *."
  type        = map(string)
  default     = {}
  nullable    = false
}

variable "route_table_ids" {
  description = "IDs of the route tables of all subnets with nodes in the existing VPC, for the route to S3. Empty, with subnet_ids empty: all route tables of the VPC without a route to an internet gateway."
  type        = list(string)
  default     = []
  nullable    = false
}

variable "vpc_cidr" {
  description = "IPv4 CIDR block of a new VPC, /16 to /23: each subnet is a sixteenth of it, and has an address of every endpoint. Null with vpc_id."
  type        = string
  default     = null

  validation {
    condition     = var.vpc_cidr == null ? true : can(cidrnetmask(var.vpc_cidr)) && contains(range(16, 24), try(tonumber(split("/", var.vpc_cidr)[1]), 32))
    error_message = "vpc_cidr must be an IPv4 CIDR block of /16 to /23, such as 10.0.0.0/16."
  }
}

variable "availability_zones" {
  description = "Availability zones of the new VPC, with one subnet each. EKS requires at least two. Empty: the first zone_count zones of the region."
  type        = list(string)
  default     = []
  nullable    = false
}

variable "zone_count" {
  description = "Number of zones of the new VPC, if availability_zones is empty."
  type        = number
  default     = 3
  nullable    = false

  validation {
    condition     = var.zone_count >= 2 && var.zone_count <= 8
    error_message = "zone_count must be 2 to 8: EKS requires two zones or more."
  }
}

variable "ipv6" {
  description = "Give the new VPC and its subnets IPv6 blocks of AWS."
  type        = bool
  default     = false
  nullable    = false
}

variable "flow_logs" {
  description = "Write the flow logs of the new VPC to CloudWatch Logs."
  type        = bool
  default     = false
  nullable    = false
}

variable "log_retention_days" {
  description = "Days to keep the flow logs."
  type        = number
  default     = 365
  nullable    = false
}

variable "tag_subnets" {
  description = "Tag the subnets in subnet_ids cast.ai/routable=true. Set to false if another configuration manages their tags."
  type        = bool
  default     = true
  nullable    = false
}

variable "create_castai_endpoints" {
  description = "Create the endpoints of CAST AI services."
  type        = bool
  default     = true
  nullable    = false
}

variable "castai_services" {
  description = "Service names of CAST AI by short name (api, grpc, ...). They are added to those of the region in endpoints.json, and override them."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for s in values(var.castai_services) : can(regex("^com\\.amazonaws\\.vpce\\.[a-z0-9-]+\\.vpce-svc-[0-9a-f]+$", s))])
    error_message = "castai_services must have values such as com.amazonaws.vpce.eu-west-1.vpce-svc-0123456789abcdef0."
  }
}

variable "create_aws_endpoints" {
  description = "Create the endpoints of AWS services."
  type        = bool
  default     = true
  nullable    = false
}

variable "aws_services" {
  description = "AWS services to create endpoints for, such as ecr.api. Null for all in the list aws of endpoints.json."
  type        = set(string)
  default     = null
}

variable "optional_services" {
  description = "AWS services to create endpoints for in addition: ssm and ssmmessages for Session Manager, kms for its encryption, ec2messages for SSM Agent before 3.3.40."
  type        = set(string)
  default     = []
  nullable    = false
}

variable "dual_stack_services" {
  description = "Names of interface endpoints, as in the output endpoint_ids, that get IPv4 and IPv6 addresses. All their subnets need IPv6 blocks, and the service must support it."
  type        = set(string)
  default     = []
  nullable    = false
}

variable "existing_endpoints" {
  description = "IDs of endpoints that the VPC has already, by name as in the output endpoint_ids, such as { s3 = \"vpce-0123456789abcdef0\" }. They are checked and not created."
  type        = map(string)
  default     = {}
  nullable    = false
}

variable "find_existing_endpoints" {
  description = "Search an existing VPC for endpoints of the same services, and refuse the plan with their IDs. The VPC must exist before the plan, and depends_on must not name anything with changes."
  type        = bool
  default     = false
  nullable    = false
}

variable "endpoint_policies" {
  description = "Limit the endpoints of AWS services to your account or organization. Null: true in a VPC that the module creates, false in an existing one."
  type        = bool
  default     = null
}

variable "principal_org_id" {
  description = "Organization whose principals may use the endpoints, such as o-a1b2c3d4e5. Null for the account alone."
  type        = string
  default     = null

  validation {
    condition     = var.principal_org_id == null ? true : can(regex("^o-[a-z0-9]{10,32}$", var.principal_org_id))
    error_message = "principal_org_id must be the ID of an organization, such as o-a1b2c3d4e5. Read it with: aws organizations describe-organization --query Organization.Id"
  }
}

variable "resource_org_id" {
  description = "Organization whose S3 buckets and roles may be used through the endpoints. Null for the account alone."
  type        = string
  default     = null

  validation {
    condition     = var.resource_org_id == null ? true : can(regex("^o-[a-z0-9]{10,32}$", var.resource_org_id))
    error_message = "resource_org_id must be the ID of an organization, such as o-a1b2c3d4e5. Read it with: aws organizations describe-organization --query Organization.Id"
  }
}

variable "ecr_repositories" {
  description = "ARNs of the repositories that may be used through the endpoints of ECR. Null for all of the account in this region."
  type        = list(string)
  default     = null
}

variable "ecr_add_on_repositories" {
  description = "Repositories of any account that may be read through the endpoints of ECR: those of EKS's add-ons and of Bottlerocket."
  type        = list(string)
  default     = ["eks/*", "eks-distro/*", "amazon-k8s-cni", "amazon-k8s-cni-init", "amazon/*", "bottlerocket-admin", "bottlerocket-control"]
  nullable    = false
}

variable "s3_readable_objects" {
  description = "ARNs of S3 objects of others that may be read through the S3 gateway, without credentials as well, such as arn:aws:s3:::al2023-repos-us-east-1-de612dc2/*."
  type        = list(string)
  default     = []
  nullable    = false
}

variable "create_chart_repository" {
  description = "Create a bucket for privatelink chart-repository. Its charts are read through the S3 gateway of the VPC, without credentials."
  type        = bool
  default     = false
  nullable    = false
}

variable "chart_readers" {
  description = "IDs of the S3 gateways of other VPCs that may read the charts as well, such as vpce-0123456789abcdef0."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for id in var.chart_readers : can(regex("^vpce-[0-9a-f]+$", id))])
    error_message = "chart_readers must be IDs of endpoints such as vpce-0123456789abcdef0. List them with: aws ec2 describe-vpc-endpoints --filters Name=vpc-endpoint-type,Values=Gateway"
  }
}

variable "s3_policy" {
  description = "Policy (JSON) of the S3 gateway instead of that of endpoint_policies. It must allow s3:GetObject on the charts of create_chart_repository as well, to every principal."
  type        = string
  default     = null
}

variable "control_plane" {
  description = "Security groups of an existing cluster whose nodes do not have the cluster security group: allows the control plane to reach the webhook's port 9443 on the nodes. The variant host-network listens on 19443, which needs a rule of your own. Null for no rule."
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
  nullable    = false
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
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9]+([._/-][a-z0-9]+)*$", var.prefix))
    error_message = "prefix must be lower case letters and digits, separated by one of . _ - /."
  }
}

variable "image_tag_mutability" {
  description = "MUTABLE, the default of privatelink mirror, or IMMUTABLE."
  type        = string
  default     = "MUTABLE"
  nullable    = false

  validation {
    condition     = contains(["MUTABLE", "IMMUTABLE"], var.image_tag_mutability)
    error_message = "image_tag_mutability must be MUTABLE or IMMUTABLE."
  }
}

variable "scan_on_push" {
  description = "Scan images when they are pushed."
  type        = bool
  default     = true
  nullable    = false
}

variable "create_kms_key" {
  description = "Create a KMS key for the repositories and the flow logs. A change replaces the repositories."
  type        = bool
  default     = false
  nullable    = false
}

variable "kms_key_arn" {
  description = "KMS key of the repositories and the flow logs. Null for the keys of AWS. A change replaces the repositories. For flow logs, its policy must allow CloudWatch Logs."
  type        = string
  default     = null
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
  description = "Allow destroy to delete repositories that contain images, and the bucket of charts with its versions."
  type        = bool
  default     = false
  nullable    = false
}

variable "create_repository_template" {
  description = "Create a repository creation template for the prefix, for repositories that ECR creates when it replicates images to this region."
  type        = bool
  default     = false
  nullable    = false
}
