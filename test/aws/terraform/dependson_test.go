// SPDX-License-Identifier: Apache-2.0

//go:build aws

package terraform

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// dependent uses the module twice, after a resource that has changes.
const dependent = `terraform {
  required_version = ">= 1.5"
}
provider "aws" {
  region = "us-east-1"
}
variable "trigger" {
  type = string
}
resource "terraform_data" "before" {
  input = var.trigger
}
module "new" {
  source         = "../.."
  name           = "privatelink-new"
  prefix         = "new"
  vpc_cidr       = "10.0.0.0/16"
  aws_services   = ["ecr.dkr", "sts", "s3"]
  flow_logs      = true
  create_kms_key = true
  depends_on     = [terraform_data.before]
}
module "existing" {
  source                  = "../.."
  name                    = "privatelink-existing"
  vpc_id                  = %q
  aws_services            = ["ecr.api", "ec2", "s3"]
  create_castai_endpoints = false
  endpoint_policies       = true
  depends_on              = [terraform_data.before]
}
`

// With depends_on, Terraform reads the data sources of the module during apply. A plan
// with a change of the dependency must not replace anything.
func TestDependsOn(t *testing.T) {
	w := newFixture(t, "new-vpc")
	v := w.createVPC(t)
	w.configure(t, fmt.Sprintf(dependent, v.id))
	w.apply(t, "-var=trigger=1")
	out := w.must(t, "plan", "-input=false", "-no-color", "-var=trigger=2")
	summary := regexp.MustCompile(`Plan: \d+ to add, \d+ to change, 0 to destroy`).FindString(out)
	if summary == "" || !strings.HasPrefix(summary, "Plan: 0 to add") {
		t.Errorf("a change of the dependency leads to\n%s", out)
	}
	w.apply(t, "-var=trigger=2")
	w.destroy(t, "-var=trigger=2")
}
