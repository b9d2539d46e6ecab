// SPDX-License-Identifier: Apache-2.0

package transfer

import (
	"context"

	"github.com/castai/privatelink-webhook/internal/exitcode"
	"github.com/castai/privatelink-webhook/internal/registry/awsecr"
)

// checkRole returns an error if the AWS caller is not the expected role. private is nil
// if the private registry is not ECR.
func (o Options) checkRole(ctx context.Context, private *awsecr.Registry) error {
	if o.ExpectRole == (awsecr.Role{}) {
		return nil
	}
	if private == nil {
		return exitcode.Usagef("--expect-role: the registry %s is not ECR: leave the flag out", o.Rules.Registry())
	}
	return private.CheckRole(ctx, o.ExpectRole)
}
