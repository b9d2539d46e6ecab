// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/castai/privatelink-webhook/internal/doctor"
	"github.com/castai/privatelink-webhook/internal/doctor/awsapi"
)

// Actions returns the IAM actions that the checks need.
func Actions() []string {
	return []string{
		"ec2:DescribeInstances", "eks:DescribeCluster", "eks:DescribeNodegroup", "eks:ListNodegroups", "iam:GetInstanceProfile", "iam:GetRole",
		"iam:SimulatePrincipalPolicy", "sts:GetCallerIdentity",
	}
}

// loginAction is needed by every ECR client. It applies to no resource.
const loginAction = "ecr:GetAuthorizationToken"

// pruneActions returns the actions on a repository that privatelink prune needs, and mirror
// does not.
func pruneActions() []string { return []string{"ecr:BatchDeleteImage", "ecr:DescribeImages"} }

// pullActions returns the actions of a node on a repository.
func pullActions() []string {
	return []string{"ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"}
}

// mirrorActions returns the actions of privatelink mirror on a repository.
// BatchGetImage also permits listing referrers, and the pull actions permit
// mounting layers.
func mirrorActions() []string {
	return append([]string{
		"ecr:DescribeRepositories", "ecr:CreateRepository", "ecr:TagResource", "ecr:PutLifecyclePolicy", "ecr:SetRepositoryPolicy",
		"ecr:BatchCheckLayerAvailability", "ecr:InitiateLayerUpload", "ecr:UploadLayerPart", "ecr:CompleteLayerUpload", "ecr:PutImage",
	}, pullActions()...)
}

func (c *checker) checkMirrorPermissions(ctx context.Context) doctor.Finding {
	caller, err := c.caller(ctx)
	if err != nil {
		return awsapi.Unknown(err)
	}
	principal, ok := c.principal(ctx, caller)
	if !ok {
		return doctor.Unknownf("use an IAM user or role", "IAM cannot simulate the permissions of %s", caller)
	}
	s, err := c.simulateAll(ctx, principal.String(), append(mirrorActions(), pruneActions()...))
	if err != nil {
		return awsapi.Unknown(err)
	}
	f := c.reportMirrorPermissions(principal, s.denied)
	if undecided, ok := s.undecided(principal.String()); ok && f.Status == doctor.OK {
		return undecided
	}
	return f
}

// principal returns the user or role that has the policies of a caller, and false
// if there is none: for the root user and for federated users.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html
func (c *checker) principal(ctx context.Context, caller arn.ARN) (principal arn.ARN, ok bool) {
	kind, rest, _ := strings.Cut(caller.Resource, "/")
	switch kind {
	case "user", "role":
		return caller, true
	case "assumed-role":
		// The ARN of a session has the name of the role, without its path.
		name, _, _ := strings.Cut(rest, "/")
		if out, err := c.iam.GetRole(ctx, &iam.GetRoleInput{RoleName: &name}); err == nil {
			if role, err := arn.Parse(aws.ToString(out.Role.Arn)); err == nil {
				return role, true
			}
		}
		caller.Service, caller.Resource = "iam", "role/"+name // most roles have no path
		return caller, true
	}
	return arn.ARN{}, false
}

func (c Config) reportMirrorPermissions(principal arn.ARN, denied []denial) doctor.Finding {
	var notes []string
	if principal.AccountID != c.Account {
		notes = append(notes, repositoryPoliciesApply)
	}
	denied = slices.DeleteFunc(slices.Clone(denied), func(d denial) bool {
		isForPrune := slices.Contains(pruneActions(), d.action)
		if isForPrune {
			notes = append(notes, d.action+" is not allowed; only privatelink prune needs it")
		}
		return isForPrune
	})
	if len(denied) == 0 {
		return doctor.OKf("%s has all %d permissions on %s", principal, len(mirrorActions())+1, c.repositories()).With(notes...)
	}
	return doctor.Failf(remedies(principal, denied, c.grantMirror(principal)),
		"%s has no permission for %s", principal, doctor.List(actions(denied), 5)).With(append(actions(denied), notes...)...)
}

// grantMirror returns how to give a principal all permissions to mirror.
func (c Config) grantMirror(principal arn.ARN) string {
	if _, ok := permissionSet(principal); ok {
		return fmt.Sprintf("add this to the inline policy of %s, and provision it to account %s again: %s", owner(principal), principal.AccountID, c.mirrorPolicy())
	}
	kind := resourceKind(principal)
	return fmt.Sprintf("aws iam put-%s-policy --%s-name %s --policy-name privatelink-mirror --policy-document '%s'", kind, kind, resourceName(principal), c.mirrorPolicy())
}

// resourceKind returns the first element of the resource: role or user.
func resourceKind(a arn.ARN) string {
	kind, _, _ := strings.Cut(a.Resource, "/")
	return kind
}

// resourceName returns the last element of the resource: the name without the path.
func resourceName(a arn.ARN) string { return a.Resource[strings.LastIndex(a.Resource, "/")+1:] }

// mirrorPolicy returns a policy with all permissions to mirror, and not only the
// missing ones: put under a name that exists, it replaces the old one.
func (c Config) mirrorPolicy() string {
	type statement struct {
		Effect   string
		Action   []string
		Resource string
	}
	text, err := json.Marshal(struct {
		Version   string
		Statement []statement
	}{"2012-10-17", []statement{{"Allow", []string{loginAction}, "*"}, {"Allow", mirrorActions(), c.repositories()}}})
	if err != nil {
		panic(err) // strings can always be marshaled
	}
	return string(text)
}
