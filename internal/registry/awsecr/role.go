// SPDX-License-Identifier: Apache-2.0

package awsecr

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// Role is the ARN of an IAM role, such as arn:aws:iam::123456789012:role/path/name. The
// zero value is none.
type Role struct{ arn.ARN }

// Set implements flag.Value. Empty text, as of a variable that is not set, is an error:
// it would allow any role.
func (r *Role) Set(text string) error {
	role, err := arn.Parse(text)
	if err != nil || role.Service != "iam" || !strings.HasPrefix(role.Resource, "role/") || strings.HasSuffix(role.Resource, "/") {
		return fmt.Errorf("%q is not the ARN of an IAM role: use the form arn:aws:iam::123456789012:role/NAME, without a session", text)
	}
	r.ARN = role
	return nil
}

// String implements flag.Value.
func (r *Role) String() string {
	if *r == (Role{}) {
		return ""
	}
	return r.ARN.String()
}

// Type implements pflag.Value.
func (*Role) Type() string { return "ARN" }

// isSessionOf reports whether the ARN of a caller is that of a session of the role.
// It has no path: names of roles are unique in an account.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html#identifiers-arns
func isSessionOf(caller arn.ARN, role Role) bool {
	name := role.Resource[strings.LastIndex(role.Resource, "/")+1:]
	return caller.Partition == role.Partition && caller.Service == "sts" && caller.AccountID == role.AccountID &&
		strings.HasPrefix(caller.Resource, "assumed-role/"+name+"/")
}

// callerDelays are the times between requests for the caller. The agent of EKS Pod
// Identity may start after a pod on a new node:
// https://github.com/aws/eks-pod-identity-agent/issues/159
var callerDelays = []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 15 * time.Second}

// CheckRole returns an error unless the caller of AWS is a session of the role. Without
// it, a pod whose own credentials were not injected would use the role of its node.
func (r *Registry) CheckRole(ctx context.Context, role Role) error {
	return checkRole(ctx, role, r.caller)
}

// checkRole asks for the caller again while there are no credentials.
func checkRole(ctx context.Context, role Role, caller func(context.Context) (string, error)) error {
	text, err := caller(ctx)
	for _, delay := range callerDelays {
		if err == nil || !isCredentialsError(err) {
			break
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(delay):
		}
		text, err = caller(ctx)
	}
	if err != nil {
		return fmt.Errorf("the AWS caller must be the role %s, and is not known: sts:GetCallerIdentity: %w", &role, err)
	}
	got, err := arn.Parse(text)
	if err != nil || !isSessionOf(got, role) {
		return fmt.Errorf("the AWS caller is %s, and must be a session of the role %s: nothing was written: check the pod identity association, the annotation of the service account, or the profile", text, &role)
	}
	return nil
}

// isCredentialsError reports whether there were no credentials for a request.
func isCredentialsError(err error) bool {
	_, ok := errors.AsType[*credentialsError](err)
	return ok
}

// caller returns the ARN of the caller, by the STS endpoint of the registry's region.
func (r *Registry) caller(ctx context.Context) (string, error) {
	out, err := sts.NewFromConfig(r.config).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return "", err
	}
	return aws.ToString(out.Arn), nil
}
