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

// login is what every client of ECR does first. It knows no resource.
const login = "ecr:GetAuthorizationToken"

var (
	// pulls are what a node does in a repository.
	pulls = []string{"ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"}
	// mirrors are what the mirror does in a repository. Referrers are listed with
	// the permission for BatchGetImage, and layers mounted with those of pulls.
	mirrors = append([]string{
		"ecr:DescribeRepositories", "ecr:CreateRepository", "ecr:TagResource", "ecr:PutLifecyclePolicy", "ecr:SetRepositoryPolicy",
		"ecr:DescribeImages", "ecr:BatchCheckLayerAvailability", "ecr:InitiateLayerUpload", "ecr:UploadLayerPart", "ecr:CompleteLayerUpload", "ecr:PutImage",
	}, pulls...)
)

// prunes is what only privatelink prune does.
const prunes = "ecr:BatchDeleteImage"

// refused are the actions that a principal may not do.
type refused struct {
	login   bool
	actions []string
}

func (r refused) any() bool { return r.login || len(r.actions) > 0 }

func (r refused) all() []string {
	if r.login {
		return append([]string{login}, r.actions...)
	}
	return r.actions
}

// simulate asks IAM what a principal may not do of login and some actions on the
// repositories.
func (a *asker) simulate(ctx context.Context, principal string, actions []string) (no refused, err error) {
	if no.actions, err = a.evaluate(ctx, principal, actions, a.repositories()); err != nil {
		return refused{}, err
	}
	logins, err := a.evaluate(ctx, principal, []string{login}, "*")
	no.login = len(logins) > 0
	return no, err
}

func (a *asker) evaluate(ctx context.Context, principal string, actions []string, resource string) (no []string, err error) {
	pages := iam.NewSimulatePrincipalPolicyPaginator(a.iam, &iam.SimulatePrincipalPolicyInput{PolicySourceArn: &principal, ActionNames: actions, ResourceArns: []string{resource}})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, r := range page.EvaluationResults {
			if r.EvalDecision != types.PolicyEvaluationDecisionTypeAllowed {
				no = append(no, aws.ToString(r.EvalActionName))
			}
		}
	}
	return no, nil
}

// mirrorPolicy is all that mirroring takes, and not only what lacks: put under
// its name once more, it must not take away what it gave before.
func (a *asker) mirrorPolicy() string {
	type statement struct {
		Effect   string
		Action   []string
		Resource string
	}
	text, err := json.Marshal(struct {
		Version   string
		Statement []statement
	}{"2012-10-17", []statement{{"Allow", []string{login}, "*"}, {"Allow", mirrors, a.repositories()}}})
	if err != nil {
		panic(err) // strings alone
	}
	return string(text)
}

func (a *asker) mirrorPermissions(ctx context.Context) doctor.Finding {
	caller, err := a.whoAsks(ctx)
	if err != nil {
		return awsapi.Unseen("sts:GetCallerIdentity", err)
	}
	principal, name, ok := a.principal(ctx, caller)
	if !ok {
		return doctor.Unknownf("use a user or a role of IAM", "IAM does not simulate what %s may do", caller)
	}
	no, err := a.simulate(ctx, principal, append(slices.Clone(mirrors), prunes))
	if err != nil {
		return awsapi.Unseen("iam:SimulatePrincipalPolicy", err)
	}
	var notes []string
	if caller.AccountID != a.Account {
		notes = append(notes, otherAccount)
	}
	if i := slices.Index(no.actions, prunes); i >= 0 {
		no.actions = slices.Delete(no.actions, i, i+1)
		notes = append(notes, "without "+prunes+", which only privatelink prune needs")
	}
	if no.any() {
		kind := "role"
		if strings.Contains(principal, ":user/") {
			kind = "user"
		}
		return doctor.Failf(fmt.Sprintf("aws iam put-%s-policy --%s-name %s --policy-name privatelink-mirror --policy-document '%s'", kind, kind, name, a.mirrorPolicy()),
			"%s lacks %s", principal, doctor.List(no.all(), 5)).With(append(no.all(), notes...)...)
	}
	return doctor.OKf("%s may do all %d actions on %s", principal, len(mirrors)+1, a.repositories()).With(notes...)
}

// principal is the user or role that policies are attached to. The ARN of a
// session has the name of its role, without the path.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html
func (a *asker) principal(ctx context.Context, caller arn.ARN) (full, name string, ok bool) {
	kind, rest, _ := strings.Cut(caller.Resource, "/")
	switch kind {
	case "user", "role":
		return caller.String(), rest[strings.LastIndex(rest, "/")+1:], true
	case "assumed-role":
		name, _, _ = strings.Cut(rest, "/")
		if out, err := a.iam.GetRole(ctx, &iam.GetRoleInput{RoleName: &name}); err == nil {
			return aws.ToString(out.Role.Arn), name, true
		}
		// Most roles have no path.
		caller.Service, caller.Resource = "iam", "role/"+name
		return caller.String(), name, true
	}
	return "", "", false // the account itself, or a federated user
}
