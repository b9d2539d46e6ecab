# SPDX-License-Identifier: Apache-2.0

variable "name" {
  description = "Name of the project and of the schedule, and prefix of the names of the other resources."
  type        = string
  default     = "privatelink-mirror"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,34}[a-z0-9]$", var.name))
    error_message = "name must be 3 to 36 lower case letters, digits and hyphens: it is a part of the name of a bucket."
  }
}

variable "tags" {
  description = "Tags for all resources that support them."
  type        = map(string)
  default     = {}
  nullable    = false
}

variable "config" {
  description = "Content of privatelink.yaml, such as file(\"privatelink.yaml\"). Its registry is where images are copied to: in ECR, in this account, with a prefix."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[0-9]{12}\\.dkr[.-]ecr(-fips)?\\.[a-z0-9-]+\\.[a-z0-9.-]+/[a-z0-9._/-]+$", yamldecode(var.config).registry))
    error_message = "config must be YAML with a registry such as 123456789012.dkr.ecr.us-east-1.amazonaws.com/castai."
  }
}

variable "release" {
  description = "Release of privatelink to run: its version, such as v0.2.0, and the SHA-256 of privatelink_VERSION_linux_amd64.tar.gz in its checksums.txt."
  type = object({
    version = string
    sha256  = string
  })
  nullable = false

  validation {
    condition     = can(regex("^v[0-9]+\\.[0-9]+\\.[0-9]+(-[0-9A-Za-z.-]+)?$", var.release.version)) && can(regex("^[0-9a-f]{64}$", var.release.sha256))
    error_message = "release must have a version such as v0.2.0, and a sha256 of 64 hexadecimal digits, from checksums.txt of that release."
  }
}

variable "release_url" {
  description = "Folder with a folder for each release, such as v0.2.0."
  type        = string
  default     = "https://github.com/castai/privatelink-webhook/releases/download"
  nullable    = false

  validation {
    condition     = can(regex("^https://[^ ?#]+[^ ?#/]$", var.release_url))
    error_message = "release_url must be an https:// address without a slash at its end."
  }
}

variable "arguments" {
  description = "Flags of privatelink mirror that select the images."
  type        = list(string)
  default     = ["--set=umbrella", "--track"]
  nullable    = false

  validation {
    condition     = length(var.arguments) > 0 && alltrue([for a in var.arguments : can(regex("^--[a-z][a-z-]*(=[^[:space:]]+)?$", a))])
    error_message = "arguments must be flags such as --track or --set=umbrella, without spaces."
  }
}

variable "chart_repository" {
  description = "Where to write the tracked charts once their images are copied, such as the output chart_repository of the module of the network: s3://BUCKET or s3://BUCKET/PREFIX, in this account and region. Null for nowhere."
  type        = string
  default     = null

  validation {
    condition     = var.chart_repository == null ? true : can(regex("^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$", var.chart_repository))
    error_message = "chart_repository must be s3://BUCKET or s3://BUCKET/PREFIX, without a slash at its end."
  }
}

variable "schedule" {
  description = "When to run, as an expression of EventBridge Scheduler in UTC, such as rate(1 hour) or cron(17 * * * ? *)."
  type        = string
  default     = "rate(1 hour)"
  nullable    = false

  validation {
    condition     = can(regex("^(rate|cron)\\(.+\\)$", var.schedule))
    error_message = "schedule must be rate(...) or cron(...)."
  }
}

variable "alarm_after_hours" {
  description = "Hours without a successful run after which an alarm is sent. More than the time between two runs."
  type        = number
  default     = 3
  nullable    = false

  validation {
    condition     = var.alarm_after_hours >= 1 && var.alarm_after_hours <= 168 && floor(var.alarm_after_hours) == var.alarm_after_hours
    error_message = "alarm_after_hours must be 1 to 168: CloudWatch evaluates at most seven days."
  }
}

variable "log_retention_days" {
  description = "Days to keep the logs of runs."
  type        = number
  default     = 365
  nullable    = false
}

variable "force_destroy" {
  description = "Allow destroy to delete the bucket with the lock and its versions."
  type        = bool
  default     = false
  nullable    = false
}

variable "replicate_to" {
  description = "Registries that ECR copies the images to: other regions, or other accounts. Each needs the module destination first. account_id is null for this account."
  type = list(object({
    region     = string
    account_id = optional(string)
  }))
  default  = []
  nullable = false

  validation {
    condition     = length(var.replicate_to) <= 25 && alltrue([for d in var.replicate_to : can(regex("^[a-z]+(-[a-z0-9]+)+$", d.region)) && (d.account_id == null ? true : can(regex("^[0-9]{12}$", d.account_id)))])
    error_message = "replicate_to must have at most 25 entries such as { region = \"us-east-2\" }, with an account_id of 12 digits for another account."
  }
}

variable "replaces_all_rules" {
  description = "A registry has one set of replication rules, and replicate_to replaces it. Set to true after: aws ecr describe-registry --query replicationConfiguration.rules"
  type        = bool
  default     = false
  nullable    = false
}
