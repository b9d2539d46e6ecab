// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"fmt"

	"github.com/castai/privatelink-webhook/internal/doctor/awsapi"
)

// account returns the ID of the caller's account.
func (c *checker) account(ctx context.Context) (string, error) {
	return c.accountOnce.Get(ctx, func(ctx context.Context) (string, error) { return awsapi.Account(ctx, c.AWS) })
}

// foreignVPCError is returned for a list that may be empty only because the VPC is
// shared with the caller's account.
type foreignVPCError struct{ vpc, owner, what, remedy string }

func (e *foreignVPCError) Error() string {
	return fmt.Sprintf("%s belongs to account %s, which alone sees all of its %s", e.vpc, e.owner, e.what)
}

// Remedy returns the next step.
func (e *foreignVPCError) Remedy() string { return e.remedy }

// foreignVPC returns an error if the VPC belongs to another account than the caller,
// and nil if not: only the owner of a shared VPC sees all that is in it.
// https://docs.aws.amazon.com/vpc/latest/userguide/vpc-sharing.html
func (c *checker) foreignVPC(ctx context.Context, what string) error {
	v, err := c.vpc(ctx)
	if err != nil {
		return err
	}
	account, err := c.account(ctx)
	if err != nil || v.owner == "" || v.owner == account {
		return err
	}
	return &foreignVPCError{v.id, v.owner, what, fmt.Sprintf(
		"run it with credentials of account %s: privatelink doctor --only %s --region %s --vpc %s --profile PROFILE, with --subnet for each subnet of the nodes", v.owner, Group, c.region, v.id)}
}
