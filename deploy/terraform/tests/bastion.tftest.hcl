# SPDX-License-Identifier: Apache-2.0

mock_provider "aws" {
  source = "./tests/aws"
}

run "a_bastion_for_a_cluster" {
  command = plan
  module {
    source = "./modules/bastion"
  }
  variables {
    vpc_id         = "vpc-1"
    subnet_id      = "subnet-1"
    ami_id         = "ami-1"
    create_kms_key = false
    kms_key_arn    = "arn:aws:kms:us-east-1:123456789012:key/1"
    cluster        = { name = "prod", security_group_id = "sg-1" }
  }
  override_data {
    target = data.aws_subnet.this
    values = { vpc_id = "vpc-1", map_public_ip_on_launch = false }
  }
  override_resource {
    target          = aws_cloudwatch_log_group.sessions
    values          = { arn = "arn:aws:logs:us-east-1:123456789012:log-group:/aws/ssm/privatelink-bastion" }
    override_during = plan
  }
  assert {
    condition     = aws_vpc_security_group_ingress_rule.cluster[0].security_group_id == "sg-1" && aws_vpc_security_group_ingress_rule.cluster[0].from_port == 443
    error_message = "The cluster lets the bastion in."
  }
  assert {
    condition     = length([for s in jsondecode(aws_iam_role_policy.sessions.policy).Statement : s if s.Sid == "Cluster" && try(endswith(s.Resource, ":cluster/prod"), false) && s.Action == "eks:DescribeCluster"]) == 1
    error_message = "The bastion may describe its cluster only."
  }
  assert {
    condition     = aws_instance.this.ami == "ami-1" && length(aws_kms_key.this) == 0 && one(aws_instance.this.root_block_device).kms_key_id == "arn:aws:kms:us-east-1:123456789012:key/1"
    error_message = "The AMI and the key that were given."
  }
}

run "a_public_subnet_is_refused" {
  command = plan
  module {
    source = "./modules/bastion"
  }
  variables {
    vpc_id    = "vpc-1"
    subnet_id = "subnet-1"
    ami_id    = "ami-1"
  }
  override_data {
    target = data.aws_subnet.this
    values = { vpc_id = "vpc-1", map_public_ip_on_launch = true }
  }
  expect_failures = [aws_instance.this]
}

run "a_subnet_of_another_vpc_is_refused" {
  command = plan
  module {
    source = "./modules/bastion"
  }
  variables {
    vpc_id    = "vpc-1"
    subnet_id = "subnet-1"
    ami_id    = "ami-1"
  }
  override_data {
    target = data.aws_subnet.this
    values = { vpc_id = "vpc-2", map_public_ip_on_launch = false }
  }
  expect_failures = [aws_instance.this]
}

run "wrong_inputs_are_refused" {
  command = plan
  module {
    source = "./modules/bastion"
  }
  variables {
    vpc_id         = "vpc-1"
    subnet_id      = "subnet-1"
    ami_id         = "ami-1"
    create_kms_key = true
    kms_key_arn    = "arn:aws:kms:us-east-1:123456789012:key/1"
  }
  override_data {
    target = data.aws_subnet.this
    values = { vpc_id = "vpc-1", map_public_ip_on_launch = false }
  }
  expect_failures = [terraform_data.inputs]
}

run "wrong_tools_are_refused" {
  command = plan
  module {
    source = "./modules/bastion"
  }
  variables {
    vpc_id       = "vpc-1"
    subnet_id    = "subnet-1"
    idle_minutes = 600
    tools        = { kubectl = { bucket = "tools", key = "kubectl'; reboot", sha256 = "latest" } }
  }
  expect_failures = [var.tools, var.idle_minutes]
}
