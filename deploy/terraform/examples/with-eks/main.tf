# SPDX-License-Identifier: Apache-2.0

terraform {
  required_version = ">= 1.5"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.95" # of version 20 of terraform-aws-modules/eks
    }
  }
}

variable "region" {
  type    = string
  default = "us-east-1"
}

variable "cluster_name" {
  type    = string
  default = "isolated"
}

variable "kubernetes_version" {
  type    = string
  default = "1.36"
}

variable "admin_role_arn" {
  description = "IAM role that administers the cluster. Null for the caller."
  type        = string
  default     = null
}

variable "tools" {
  description = "Programs in S3 to install on the bastion, by name."
  type        = map(object({ bucket = string, key = string, sha256 = string }))
  default     = {}
}

variable "ami_id" {
  description = "AMI of the bastion that has the programs. Null for Amazon Linux 2023, which has neither kubectl nor privatelink."
  type        = string
  default     = null
}

variable "lock_file" {
  type    = string
  default = null
}

provider "aws" {
  region = var.region
}

module "privatelink" {
  source            = "../.."
  vpc_cidr          = "10.0.0.0/16"
  optional_services = ["ssm", "ssmmessages", "kms"]
  lock_file         = var.lock_file
}

# subnet_ids is there once the endpoints are, without which nodes cannot start.
module "eks" {
  source  = "terraform-aws-modules/eks/aws"
  version = "~> 20.37"

  cluster_name                    = var.cluster_name
  cluster_version                 = var.kubernetes_version
  vpc_id                          = module.privatelink.vpc_id
  subnet_ids                      = module.privatelink.subnet_ids
  cluster_endpoint_private_access = true
  cluster_endpoint_public_access  = false

  enable_cluster_creator_admin_permissions = var.admin_role_arn == null
  access_entries = {
    for name, arn in { bastion = module.bastion.role_arn, admin = var.admin_role_arn } : name => {
      principal_arn            = arn
      policy_associations = {
        admin = {
          policy_arn   = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy"
          access_scope = { type = "cluster" }
        }
      }
    } if name == "bastion" || var.admin_role_arn != null
  }

  # Their images are in registries of AWS, which the endpoints of ECR reach.
  cluster_addons = {
    vpc-cni = {
      before_compute       = true
      configuration_values = jsonencode({ enableNetworkPolicy = "true" })
    }
    kube-proxy             = {}
    coredns                = {}
    eks-pod-identity-agent = { before_compute = true }
  }

  # Nodes that CAST AI does not provision: without one, neither its agents nor the webhook
  # can start. The module opens port 9443 of the nodes to the control plane.
  eks_managed_node_groups = {
    own = {
      ami_type       = "AL2023_x86_64_STANDARD"
      instance_types = ["m6i.large"]
      min_size       = 2
      max_size       = 3
      desired_size   = 2
    }
  }
}

# The API server has a private address only.
module "bastion" {
  source    = "../../modules/bastion"
  vpc_id    = module.privatelink.vpc_id
  subnet_id = module.privatelink.subnet_ids[0]
  ami_id    = var.ami_id
  tools     = var.tools
  cluster = {
    name              = var.cluster_name
    security_group_id = module.eks.cluster_security_group_id
  }
}

output "registry" {
  value = module.privatelink.registry
}

output "privatelink_yaml" {
  value = module.privatelink.privatelink_yaml
}

output "start_session" {
  value = "aws ssm start-session --region ${var.region} --target ${module.bastion.instance_id} --document-name ${module.bastion.document_name}"
}
