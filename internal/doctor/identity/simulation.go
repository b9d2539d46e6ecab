// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"context"
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

// simulation is the result of simulating the policies of a principal.
type simulation struct {
	denied []denial
	// inOrganization are actions that the policies of the organization do not allow in
	// the simulation, which knows none of the facts that their conditions ask for but the
	// region: real requests may be allowed.
	// https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_testing-policies.html
	inOrganization []string
	// conditional are actions that are not allowed in the simulation, which does not know
	// the values of the condition keys: real requests may be allowed.
	conditional, keys []string
}

// denial is an action that policies of the account do not allow.
type denial struct {
	action string
	kind   denialKind
	// policies are those with the statements that deny it, if IAM names them.
	policies []string
}

// denialKind is which kind of policy has to change.
type denialKind int

const (
	notAllowed     denialKind = iota // no policy allows it
	inBoundary                       // the permissions boundary does not allow it
	deniedByPolicy                   // a statement denies it, which no other can change
)

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
		s.add(r)
	}
	return err
}

// add adds a result. Of one resource, its details are those of the resource.
// https://docs.aws.amazon.com/IAM/latest/APIReference/API_EvaluationResult.html
func (s *simulation) add(r types.EvaluationResult) {
	action, boundary, missing, statements := aws.ToString(r.EvalActionName), r.PermissionsBoundaryDecisionDetail, r.MissingContextValues, r.MatchedStatements
	for _, of := range r.ResourceSpecificResults {
		missing, statements = append(missing, of.MissingContextValues...), append(statements, of.MatchedStatements...)
		if of.PermissionsBoundaryDecisionDetail != nil {
			boundary = of.PermissionsBoundaryDecisionDetail
		}
	}
	switch organization := r.OrganizationsDecisionDetail; {
	case r.EvalDecision == types.PolicyEvaluationDecisionTypeAllowed:
	case organization != nil && !organization.AllowedByOrganizations:
		s.inOrganization = append(s.inOrganization, action)
	case len(missing) > 0:
		s.conditional = append(s.conditional, action)
		s.keys = doctor.Distinct(append(s.keys, missing...))
	case boundary != nil && !boundary.AllowedByPermissionsBoundary:
		s.denied = append(s.denied, denial{action: action, kind: inBoundary})
	case r.EvalDecision == types.PolicyEvaluationDecisionTypeExplicitDeny:
		var policies []string
		for _, statement := range statements {
			if id := aws.ToString(statement.SourcePolicyId); id != "" {
				policies = append(policies, id)
			}
		}
		s.denied = append(s.denied, denial{action, deniedByPolicy, doctor.Distinct(policies)})
	default:
		s.denied = append(s.denied, denial{action: action})
	}
}

// undecided returns the finding if only conditions or policies of the organization deny
// actions, and false if there are none.
func (s simulation) undecided(principal string) (doctor.Finding, bool) {
	const try = "try it, for example with privatelink mirror --dry-run or a pod; if it is refused, "
	switch {
	case len(s.inOrganization) > 0:
		return doctor.Unknownf(try+"the administrators of the organization must change the policy",
			"policies of the organization deny %s to %s in the simulation, which does not know their conditions", doctor.List(s.inOrganization, 3), principal).With(s.inOrganization...), true
	case len(s.conditional) > 0:
		return doctor.Unknownf(try+"correct the conditions on "+strings.Join(s.keys, ", ")+" in the policies of "+principal,
			"the policies of %s do not allow %s in the simulation, which does not know %s", principal, doctor.List(s.conditional, 3), strings.Join(s.keys, ", ")).With(s.conditional...), true
	}
	return doctor.Finding{}, false
}

// actions returns the actions of denials, of one kind or of all.
func actions(denials []denial, kinds ...denialKind) (actions []string) {
	for _, d := range denials {
		if len(kinds) == 0 || slices.Contains(kinds, d.kind) {
			actions = append(actions, d.action)
		}
	}
	return actions
}

// remedies returns what to change so that a principal has the actions; grant is the remedy
// for those that no policy allows.
func remedies(principal arn.ARN, denials []denial, grant string) string {
	var lines []string
	if denied := actions(denials, notAllowed); len(denied) > 0 {
		lines = append(lines, grant)
	}
	if denied := actions(denials, inBoundary); len(denied) > 0 {
		kind := resourceKind(principal)
		lines = append(lines, fmt.Sprintf("allow %s in the permissions boundary of %s, which limits all its policies: aws iam get-%s --%s-name %s --query '*.PermissionsBoundary'",
			strings.Join(denied, ", "), owner(principal), kind, kind, resourceName(principal)))
	}
	if denied := actions(denials, deniedByPolicy); len(denied) > 0 {
		var policies []string
		for _, d := range denials {
			policies = append(policies, d.policies...)
		}
		where := ""
		if policies = doctor.Distinct(policies); len(policies) > 0 {
			where = " in " + strings.Join(policies, ", ")
		}
		lines = append(lines, fmt.Sprintf("remove the statement%s that denies %s to %s: while it is there, no policy can allow it", where, strings.Join(denied, ", "), owner(principal)))
	}
	return strings.Join(lines, "\n")
}

// owner names what has the policies of a principal.
func owner(principal arn.ARN) string {
	if set, ok := permissionSet(principal); ok {
		return "the permission set " + set + " of IAM Identity Center"
	}
	return "the " + resourceKind(principal) + " " + resourceName(principal)
}

// permissionSet returns the permission set of a role that IAM Identity Center has created,
// and false for another principal. IAM refuses changes of such roles.
// https://docs.aws.amazon.com/singlesignon/latest/userguide/identity-center-and-iam-roles.html
func permissionSet(principal arn.ARN) (name string, ok bool) {
	name, ok = strings.CutPrefix(resourceName(principal), "AWSReservedSSO_")
	if i := strings.LastIndex(name, "_"); i > 0 { // before a suffix of IAM Identity Center
		name = name[:i]
	}
	return name, ok && resourceKind(principal) == "role"
}
