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
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

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

// simulation is the result of simulating the policies of a principal.
type simulation struct {
	denied []string // actions that policies of the account do not allow
	// inOrganization are actions that the policies of the organization do not allow in
	// the simulation, which knows none of the facts that their conditions ask for but the
	// region: real requests may be allowed.
	// https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_testing-policies.html
	inOrganization []string
}

// simulateAll simulates loginAction, and the given actions on the repositories.
func (c *checker) simulateAll(ctx context.Context, principal string, actions []string) (simulation, error) {
	var s simulation
	err := c.simulate(ctx, &s, principal, []string{loginAction}, "*")
	if err == nil {
		err = c.simulate(ctx, &s, principal, actions, c.repositories())
	}
	return s, err
}

func (c *checker) simulate(ctx context.Context, s *simulation, principal string, actions []string, resource string) error {
	pages := iam.NewSimulatePrincipalPolicyPaginator(c.iam, &iam.SimulatePrincipalPolicyInput{
		PolicySourceArn: &principal, ActionNames: actions, ResourceArns: []string{resource},
		ContextEntries: []types.ContextEntry{{ContextKeyName: aws.String("aws:RequestedRegion"), ContextKeyType: types.ContextKeyTypeEnumString, ContextKeyValues: []string{c.Region}}},
	})
	results, err := awsapi.Collect(ctx, "iam:SimulatePrincipalPolicy", pages, func(p *iam.SimulatePrincipalPolicyOutput) []types.EvaluationResult { return p.EvaluationResults })
	for _, r := range results {
		action := aws.ToString(r.EvalActionName)
		switch organization := r.OrganizationsDecisionDetail; {
		case r.EvalDecision == types.PolicyEvaluationDecisionTypeAllowed:
		case organization != nil && !organization.AllowedByOrganizations:
			s.inOrganization = append(s.inOrganization, action)
		default:
			s.denied = append(s.denied, action)
		}
	}
	return err
}

// deniedInOrganization is the finding if only policies of the organization deny actions.
func deniedInOrganization(principal string, actions []string) doctor.Finding {
	return doctor.Unknownf("try it, for example with privatelink mirror --dry-run or a pod; if it is refused, the administrators of the organization must change the policy",
		"policies of the organization deny %s to %s in the simulation, which does not know their conditions", doctor.List(actions, 3), principal).With(actions...)
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
	if f := c.reportMirrorPermissions(principal, s.denied); f.Status != doctor.OK || len(s.inOrganization) == 0 {
		return f
	}
	return deniedInOrganization(principal.String(), s.inOrganization)
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

func (c Config) reportMirrorPermissions(principal arn.ARN, denied []string) doctor.Finding {
	var notes []string
	if principal.AccountID != c.Account {
		notes = append(notes, repositoryPoliciesApply)
	}
	denied = slices.DeleteFunc(slices.Clone(denied), func(action string) bool {
		isForPrune := slices.Contains(pruneActions(), action)
		if isForPrune {
			notes = append(notes, action+" is not allowed; only privatelink prune needs it")
		}
		return isForPrune
	})
	if len(denied) == 0 {
		return doctor.OKf("%s has all %d permissions on %s", principal, len(mirrorActions())+1, c.repositories()).With(notes...)
	}
	kind, _, _ := strings.Cut(principal.Resource, "/")
	return doctor.Failf(fmt.Sprintf("aws iam put-%s-policy --%s-name %s --policy-name privatelink-mirror --policy-document '%s'", kind, kind, resourceName(principal), c.mirrorPolicy()),
		"%s has no permission for %s", principal, doctor.List(denied, 5)).With(append(denied, notes...)...)
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
