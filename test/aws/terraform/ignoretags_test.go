// SPDX-License-Identifier: Apache-2.0

//go:build aws

package terraform

import (
	"fmt"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// ignoring is the configuration of an organization that tags subnets by other means.
const ignoring = `terraform {
  required_version = ">= 1.5"
}
provider "aws" {
  region = "us-east-1"
  ignore_tags {
    keys         = ["cast.ai/routable"]
    key_prefixes = ["kubernetes.io/"]
  }
}
module "new" {
  source                  = "../.."
  name                    = "privatelink-new"
  prefix                  = "new"
  vpc_cidr                = "10.0.0.0/16"
  create_aws_endpoints    = false
  create_castai_endpoints = false
}
module "existing" {
  source                  = "../.."
  name                    = "privatelink-existing"
  prefix                  = "existing"
  vpc_id                  = %q
  subnet_ids              = [%q]
  create_aws_endpoints    = false
  create_castai_endpoints = false
}
`

// A provider that ignores the module's tags sets them all the same, and the second plan is
// empty.
func TestIgnoredTags(t *testing.T) {
	w := newFixture(t, "new-vpc")
	v := w.createVPC(t)
	w.configure(t, fmt.Sprintf(ignoring, v.id, v.private[0]))
	w.apply(t)
	out, err := w.ec2.DescribeSubnets(t.Context(), &ec2.DescribeSubnetsInput{Filters: []types.Filter{{Name: aws.String("tag:cast.ai/routable"), Values: []string{"true"}}}})
	if err != nil || len(out.Subnets) != 4 {
		t.Errorf("%d subnets are tagged, %v", len(out.Subnets), err)
	}
	w.destroy(t)
}
