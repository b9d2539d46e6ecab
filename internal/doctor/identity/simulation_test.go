// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/google/go-cmp/cmp"
)

func TestWhatDeniesAnAction(t *testing.T) {
	const allowed, implicit, explicit = types.PolicyEvaluationDecisionTypeAllowed, types.PolicyEvaluationDecisionTypeImplicitDeny, types.PolicyEvaluationDecisionTypeExplicitDeny
	bounded := &types.PermissionsBoundaryDecisionDetail{}
	within := &types.PermissionsBoundaryDecisionDetail{AllowedByPermissionsBoundary: true}
	freeze := []types.Statement{{SourcePolicyId: aws.String("freeze")}}
	for name, tc := range map[string]struct {
		result types.EvaluationResult
		want   simulation
	}{
		"nothing":                {types.EvaluationResult{EvalDecision: allowed, MissingContextValues: []string{"aws:SourceVpc"}}, simulation{}},
		"the lack of a policy":   {types.EvaluationResult{EvalDecision: implicit, PermissionsBoundaryDecisionDetail: within}, simulation{denied: []denial{{action: "a"}}}},
		"a permissions boundary": {types.EvaluationResult{EvalDecision: implicit, PermissionsBoundaryDecisionDetail: bounded}, simulation{denied: []denial{{action: "a", kind: inBoundary}}}},
		"a permissions boundary, of the resource": {
			types.EvaluationResult{EvalDecision: implicit, ResourceSpecificResults: []types.ResourceSpecificResult{{PermissionsBoundaryDecisionDetail: bounded}}},
			simulation{denied: []denial{{action: "a", kind: inBoundary}}},
		},
		"a statement": {
			types.EvaluationResult{EvalDecision: explicit, MatchedStatements: freeze, ResourceSpecificResults: []types.ResourceSpecificResult{{MatchedStatements: freeze}}},
			simulation{denied: []denial{{"a", deniedByPolicy, []string{"freeze"}}}},
		},
		"a condition":      {types.EvaluationResult{EvalDecision: explicit, MissingContextValues: []string{"aws:SourceVpc", "aws:SourceVpc"}}, simulation{conditional: []string{"a"}, keys: []string{"aws:SourceVpc"}}},
		"the organization": {types.EvaluationResult{EvalDecision: explicit, OrganizationsDecisionDetail: &types.OrganizationsDecisionDetail{}}, simulation{inOrganization: []string{"a"}}},
	} {
		t.Run(name, func(t *testing.T) {
			var got simulation
			tc.result.EvalActionName = aws.String("a")
			got.add(tc.result)
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(simulation{}, denial{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestPermissionSet(t *testing.T) {
	for resource, want := range map[string]string{
		"role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_Admin_0123456789abcdef":         "Admin",
		"role/aws-reserved/sso.amazonaws.com/eu-west-1/AWSReservedSSO_A_B_0123456789abcdef": "A_B",
		"role/AWSReservedSSO_Admin_0123456789abcdef":                                        "Admin", // where iam:GetRole is not allowed
		"role/platform/mirror":                       "",
		"user/AWSReservedSSO_Admin_0123456789abcdef": "",
	} {
		principal := parse(t, "arn:aws:iam::123456789012:"+resource)
		if got, ok := permissionSet(principal); ok != (want != "") || ok && got != want {
			t.Errorf("%s: %q, %t", resource, got, ok)
		}
	}
}
