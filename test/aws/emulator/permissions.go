// SPDX-License-Identifier: Apache-2.0

package emulator

import (
	"context"
	"errors"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/iam"
)

// UseAll changes a customer so that the checks need all that they may ask for: the caller
// is a role with a path, a policy names the organization, a private zone has a record of
// a needed host, and an endpoint lacks a zone.
func (c *Customer) UseAll(ctx context.Context) error {
	s3 := "s3." + c.Region + ".amazonaws.com"
	if err := errors.Join(c.assumeRole(ctx), c.createOrganization(ctx), c.createZone(ctx, s3, "*."+s3)); err != nil {
		return err
	}
	ours := map[string]map[string]string{"StringEquals": {"aws:PrincipalOrgID": c.Organization}}
	return errors.Join(
		c.setPolicy(ctx, "ecr.api", statement{Effect: "Allow", Principal: "*", Action: []string{"*"}, Resource: []string{"*"}, Condition: ours}),
		c.modifyEndpoint(ctx, "logs", ec2.ModifyVpcEndpointInput{RemoveSubnetIds: c.Subnets[2:]}),
	)
}

// Enforce makes moto check signatures and permissions until it ends, and returns the
// configuration of a user that may do all.
func (c *Customer) Enforce(ctx context.Context) (admin aws.Config, err error) {
	name := aws.String("admin")
	if _, err := c.iam.CreateUser(ctx, &iam.CreateUserInput{UserName: name}); err != nil {
		return admin, err
	}
	text := policyDocument(statement{Effect: "Allow", Action: []string{"*"}, Resource: []string{"*"}})
	if _, err := c.iam.PutUserPolicy(ctx, &iam.PutUserPolicyInput{UserName: name, PolicyName: name, PolicyDocument: &text}); err != nil {
		return admin, err
	}
	key, err := c.iam.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: name})
	if err != nil {
		return admin, err
	}
	return c.sdkConfig(*key.AccessKey.AccessKeyId, *key.AccessKey.SecretAccessKey, ""), Enforce(ctx, c.URL)
}

// Allow replaces what the caller, a role, may do besides mirroring.
func (c *Customer) Allow(ctx context.Context, admin aws.Config, actions []string) error {
	text := policyDocument(statement{Effect: "Allow", Action: actions, Resource: []string{"*"}})
	_, err := iam.NewFromConfig(admin).PutRolePolicy(ctx, &iam.PutRolePolicyInput{RoleName: aws.String(mirrorRole), PolicyName: aws.String("doctor"), PolicyDocument: &text})
	return err
}
