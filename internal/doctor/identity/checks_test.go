// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/castai/privatelink-webhook/internal/doctor"
	"github.com/castai/privatelink-webhook/internal/testutil/fakeaws"
)

// healthyAccount returns the responses for a caller and nodes with all
// permissions. The nodes' roles are found in three ways.
func healthyAccount() map[string]string {
	return map[string]string{
		"sts:GetCallerIdentity":       `<Arn>arn:aws:sts::123456789012:assumed-role/mirror/ci</Arn>`,
		"iam:GetRole":                 `<Role><Arn>arn:aws:iam::123456789012:role/platform/mirror</Arn></Role>`,
		"iam:SimulatePrincipalPolicy": `<EvaluationResults><member><EvalActionName>ecr:PutImage</EvalActionName><EvalDecision>allowed</EvalDecision></member></EvaluationResults>`,
		"eks:DescribeCluster":         `{"cluster": {"computeConfig": {"nodeRoleArn": "arn:aws:iam::123456789012:role/auto"}}}`,
		"eks:ListNodegroups":          `{"nodegroups": ["workers"]}`,
		"eks:DescribeNodegroup":       `{"nodegroup": {"nodeRole": "arn:aws:iam::123456789012:role/workers"}}`,
		"ec2:DescribeInstances": `<reservationSet><item><instancesSet><item><instanceId>i-1</instanceId>` +
			`<iamInstanceProfile><arn>arn:aws:iam::123456789012:instance-profile/castai</arn></iamInstanceProfile></item></instancesSet></item></reservationSet>`,
		"iam:GetInstanceProfile": `<InstanceProfile><Roles><member><Arn>arn:aws:iam::123456789012:role/castai</Arn></member></Roles></InstanceProfile>`,
	}
}

func runChecks(t *testing.T, cluster string, responses map[string]string) map[string]doctor.Result {
	t.Helper()
	c := testConfig()
	c.AWS, c.Cluster = fakeaws.Serve(t, responses), cluster
	results, err := doctor.Run(t.Context(), append(Checks(c), NodeRole(c)), doctor.Options{})
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]doctor.Result{}
	for _, r := range results {
		byName[r.Name] = r
	}
	return byName
}

func TestChecksOfHealthyAccount(t *testing.T) {
	const repositories = "arn:aws:ecr:us-east-1:123456789012:repository/castai/*"
	for name, c := range map[string]struct {
		remove    string // a response that is not necessary
		principal string
	}{
		"a role with a path":          {"", "arn:aws:iam::123456789012:role/platform/mirror"},
		"a role that may not be read": {"iam:GetRole", "arn:aws:iam::123456789012:role/mirror"},
	} {
		t.Run(name, func(t *testing.T) {
			responses := healthyAccount()
			delete(responses, c.remove)
			results := runChecks(t, "prod", responses)
			for name, want := range map[string]string{
				"caller":             "arn:aws:sts::123456789012:assumed-role/mirror/ci, in the account of the registry",
				"mirror-permissions": c.principal + " has all 13 permissions on " + repositories,
				"node-role":          "3 roles may pull from " + repositories,
			} {
				if r := results[name]; r.Status != doctor.OK || r.Found != want {
					t.Errorf("%s is %s: %s", name, r.Status, r.Found)
				}
			}
		})
	}
}

// Each missing permission makes the checks that need it unknown, with the
// permission in the remedy.
func TestChecksWithoutPermission(t *testing.T) {
	for action, want := range map[string][]string{
		"sts:GetCallerIdentity":       {"caller"},
		"iam:SimulatePrincipalPolicy": {"mirror-permissions", "node-role"},
		"eks:DescribeCluster":         {"node-role"},
		"eks:ListNodegroups":          {"node-role"},
		"eks:DescribeNodegroup":       {"node-role"},
		"ec2:DescribeInstances":       {"node-role"},
		"iam:GetInstanceProfile":      {"node-role"},
	} {
		t.Run(action, func(t *testing.T) {
			responses := healthyAccount()
			delete(responses, action)
			var got []string
			for name, r := range runChecks(t, "prod", responses) {
				if r.Status == doctor.OK || r.Cause != "" {
					continue
				}
				got = append(got, name)
				if r.Status != doctor.Unknown || !strings.Contains(r.Remedy, action) {
					t.Errorf("%s is %s: %s; %s", name, r.Status, r.Found, r.Remedy)
				}
			}
			slices.Sort(got)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestChecksFindFaults(t *testing.T) {
	const missingKey = `<ResourceSpecificResults><member><EvalResourceName>*</EvalResourceName><EvalResourceDecision>explicitDeny</EvalResourceDecision>` +
		`<MissingContextValues><member>aws:SourceVpc</member></MissingContextValues></member></ResourceSpecificResults>`
	for name, c := range map[string]struct {
		action, old, new string
		check            string
		status           doctor.Status
		found            string
	}{
		"a denied action":     {"iam:SimulatePrincipalPolicy", "<EvalDecision>allowed", "<EvalDecision>implicitDeny", "mirror-permissions", doctor.Failed, "has no permission for ecr:PutImage"},
		"denied to the nodes": {"iam:SimulatePrincipalPolicy", "<EvalDecision>allowed", "<EvalDecision>explicitDeny", "node-role", doctor.Failed, "no permission to pull from arn:aws:ecr:us-east-1:123456789012:repository/castai/*: auto, castai, workers"},
		"an action that only the organization denies": {"iam:SimulatePrincipalPolicy", "<EvalDecision>allowed</EvalDecision>", "<EvalDecision>explicitDeny</EvalDecision><OrganizationsDecisionDetail><AllowedByOrganizations>false</AllowedByOrganizations></OrganizationsDecisionDetail>",
			"mirror-permissions", doctor.Unknown, "policies of the organization deny ecr:PutImage"},
		"the same for nodes": {"iam:SimulatePrincipalPolicy", "<EvalDecision>allowed</EvalDecision>", "<EvalDecision>explicitDeny</EvalDecision><OrganizationsDecisionDetail><AllowedByOrganizations>false</AllowedByOrganizations></OrganizationsDecisionDetail>",
			"node-role", doctor.Unknown, "to arn:aws:iam::123456789012:role/auto in the simulation"},
		"an action that a condition may allow": {"iam:SimulatePrincipalPolicy", "<EvalDecision>allowed</EvalDecision>", "<EvalDecision>explicitDeny</EvalDecision>" + missingKey, "mirror-permissions", doctor.Unknown, "do not allow ecr:PutImage, ecr:PutImage in the simulation, which does not know aws:SourceVpc"},
		"the same for pulls":                   {"iam:SimulatePrincipalPolicy", "<EvalDecision>allowed</EvalDecision>", "<EvalDecision>implicitDeny</EvalDecision>" + missingKey, "node-role", doctor.Unknown, ", which does not know aws:SourceVpc"},
		"an action that the account denies": {"iam:SimulatePrincipalPolicy", "<EvalDecision>allowed</EvalDecision>", "<EvalDecision>implicitDeny</EvalDecision><OrganizationsDecisionDetail><AllowedByOrganizations>true</AllowedByOrganizations></OrganizationsDecisionDetail>",
			"mirror-permissions", doctor.Failed, "has no permission for ecr:PutImage"},
		"the root user":            {"sts:GetCallerIdentity", "sts::123456789012:assumed-role/mirror/ci", "iam::123456789012:root", "mirror-permissions", doctor.Unknown, "IAM cannot simulate the permissions of arn:aws:iam::123456789012:root"},
		"an ARN that is not valid": {"sts:GetCallerIdentity", "arn:", "", "caller", doctor.Unknown, "sts:GetCallerIdentity: arn: invalid prefix"},
	} {
		t.Run(name, func(t *testing.T) {
			responses := healthyAccount()
			responses[c.action] = strings.ReplaceAll(responses[c.action], c.old, c.new)
			if r := runChecks(t, "prod", responses)[c.check]; r.Status != c.status || !strings.Contains(r.Found, c.found) {
				t.Errorf("%s: %s", r.Status, r.Found)
			}
		})
	}
}

func TestNodeRoleNeedsNodes(t *testing.T) {
	responses := healthyAccount()
	responses["eks:DescribeCluster"], responses["eks:ListNodegroups"], responses["ec2:DescribeInstances"] = `{"cluster": {}}`, `{"nodegroups": []}`, ""
	if r := runChecks(t, "prod", responses)["node-role"]; r.Status != doctor.Unknown || !strings.Contains(r.Remedy, "start a node") {
		t.Errorf("%s: %s; %s", r.Status, r.Found, r.Remedy)
	}
	if r := runChecks(t, "", responses)["node-role"]; r.Status != doctor.Skipped || !strings.Contains(r.Found, "--eks-cluster") {
		t.Errorf("%s: %s", r.Status, r.Found)
	}
}
