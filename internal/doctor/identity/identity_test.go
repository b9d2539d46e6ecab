// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws/arn"

	"github.com/castai/privatelink-webhook/internal/doctor"
)

func parse(t *testing.T, text string) arn.ARN {
	t.Helper()
	parsed, err := arn.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

func testConfig() Config {
	return Config{Account: "123456789012", Region: "us-east-1", Partition: "aws", Prefix: "castai"}
}

// expect compares a finding, of whose remedy and details only a part is given.
func expect(t *testing.T, got doctor.Finding, status doctor.Status, found, remedy, detail string) {
	t.Helper()
	if got.Status != status || got.Found != found || !strings.Contains(got.Remedy, remedy) || (remedy == "") != (got.Remedy == "") ||
		!strings.Contains(strings.Join(got.Details, "\n"), detail) || (detail == "") != (len(got.Details) == 0) {
		t.Errorf("%s: %s\n%q\n%s", got.Status, got.Found, got.Details, got.Remedy)
	}
}

func TestPrincipal(t *testing.T) {
	for name, c := range map[string]struct {
		caller, name string
		ok           bool
	}{
		"a user":             {"arn:aws:iam::123456789012:user/ann", "ann", true},
		"a user with a path": {"arn:aws-cn:iam::123456789012:user/platform/ci/ann", "ann", true},
		"the root user":      {"arn:aws:iam::123456789012:root", "", false},
		"a federated user":   {"arn:aws:sts::123456789012:federated-user/ann", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			got, ok := newChecker(Config{}).principal(t.Context(), parse(t, c.caller))
			if ok != c.ok || ok && (got.String() != c.caller || resourceName(got) != c.name) {
				t.Errorf("%s %v", got, ok)
			}
		})
	}
}

func TestRepositories(t *testing.T) {
	for name, c := range map[string]struct {
		config Config
		want   string
	}{
		"a prefix":  {Config{Account: "123456789012", Region: "us-east-1", Prefix: "castai"}, "arn:aws:ecr:us-east-1:123456789012:repository/castai/*"},
		"no prefix": {Config{Account: "123456789012", Region: "us-east-1"}, "arn:aws:ecr:us-east-1:123456789012:repository/*"},
		"in China":  {Config{Account: "123456789012", Region: "cn-north-1", Partition: "aws-cn", Prefix: "a/b"}, "arn:aws-cn:ecr:cn-north-1:123456789012:repository/a/b/*"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := newChecker(c.config).repositories(); got != c.want {
				t.Error(got)
			}
		})
	}
}

func TestReportCaller(t *testing.T) {
	const ann, other = "arn:aws:iam::123456789012:user/ann", "arn:aws:iam::210987654321:user/ann"
	expect(t, testConfig().reportCaller(parse(t, ann)), doctor.OK, ann+", in the account of the registry", "", "")
	expect(t, testConfig().reportCaller(parse(t, other)), doctor.OK, other+"; the registry is in another account, 123456789012", "", repositoryPoliciesApply)
}

// deny returns the actions as those that no policy allows.
func deny(actions ...string) (denied []denial) {
	for _, a := range actions {
		denied = append(denied, denial{action: a})
	}
	return denied
}

func TestReportMirrorPermissions(t *testing.T) {
	const user, role, other = "arn:aws:iam::123456789012:user/ci/ann", "arn:aws:iam::123456789012:role/platform/mirror", "arn:aws:iam::210987654321:user/ann"
	const sso = "arn:aws:iam::123456789012:role/aws-reserved/sso.amazonaws.com/eu-west-1/AWSReservedSSO_Platform_Admins_0123456789abcdef"
	const all = " has all 13 permissions on arn:aws:ecr:us-east-1:123456789012:repository/castai/*"
	for name, c := range map[string]struct {
		principal             string
		denied                []denial
		status                doctor.Status
		found, remedy, detail string
	}{
		"all":                    {user, nil, doctor.OK, user + all, "", ""},
		"all but prune":          {user, deny(pruneActions()...), doctor.OK, user + all, "", "only privatelink prune needs it"},
		"all in another account": {other, nil, doctor.OK, other + all, "", repositoryPoliciesApply},
		"a user without one": {user, deny(append([]string{"ecr:PutImage"}, pruneActions()...)...), doctor.Failed, user + " has no permission for ecr:PutImage",
			"aws iam put-user-policy --user-name ann --policy-name privatelink-mirror --policy-document '{\"Version\":\"2012-10-17\",", "ecr:PutImage\necr:BatchDeleteImage is not allowed; only privatelink prune needs it\necr:DescribeImages is not allowed; only privatelink prune needs it"},
		"a role that may not log in": {role, deny(loginAction), doctor.Failed, role + " has no permission for " + loginAction, "aws iam put-role-policy --role-name mirror ", loginAction},
		"a permission set, whose role IAM does not change": {sso, deny("ecr:PutImage"), doctor.Failed, sso + " has no permission for ecr:PutImage",
			"add this to the inline policy of the permission set Platform_Admins of IAM Identity Center, and provision it to account 123456789012 again: {", "ecr:PutImage"},
		"a permissions boundary": {role, []denial{{"ecr:PutImage", inBoundary, nil}}, doctor.Failed, role + " has no permission for ecr:PutImage",
			"allow ecr:PutImage in the permissions boundary of the role mirror, which limits all its policies: aws iam get-role --role-name mirror --query '*.PermissionsBoundary'", "ecr:PutImage"},
		"a statement that denies": {user, []denial{{"ecr:PutImage", deniedByPolicy, []string{"readers"}}}, doctor.Failed, user + " has no permission for ecr:PutImage",
			"remove the statement in readers that denies ecr:PutImage to the user ann: while it is there, no policy can allow it", "ecr:PutImage"},
	} {
		t.Run(name, func(t *testing.T) {
			f := testConfig().reportMirrorPermissions(parse(t, c.principal), c.denied)
			expect(t, f, c.status, c.found, c.remedy, c.detail)
			if canGrant := strings.Contains(c.remedy, "-policy --"); strings.Contains(f.Remedy, "put-") != canGrant {
				t.Errorf("it grants what cannot be granted: %s", f.Remedy)
			}
		})
	}
}

func TestReportNodeRoles(t *testing.T) {
	const repositories = "arn:aws:ecr:us-east-1:123456789012:repository/castai/*"
	node := nodeRole{arn: "arn:aws:iam::123456789012:role/eks/node", source: "node group workers"}
	denied, other := node, node
	denied.denied, other.arn = deny(loginAction, "ecr:BatchGetImage"), "arn:aws:iam::210987654321:role/node"
	bounded := node
	bounded.denied = []denial{{"ecr:BatchGetImage", inBoundary, nil}}
	for name, c := range map[string]struct {
		roles                 []nodeRole
		status                doctor.Status
		found, remedy, detail string
	}{
		"all may pull":    {[]nodeRole{node}, doctor.OK, "1 roles may pull from " + repositories, "", ""},
		"another account": {[]nodeRole{node, other}, doctor.OK, "2 roles may pull from " + repositories, "", repositoryPoliciesApply},
		"a boundary": {[]nodeRole{bounded}, doctor.Failed, "no permission to pull from " + repositories + ": node",
			"allow ecr:BatchGetImage in the permissions boundary of the role node", "ecr:BatchGetImage"},
		"one may not": {[]nodeRole{node, denied}, doctor.Failed, "no permission to pull from " + repositories + ": node",
			"aws iam attach-role-policy --role-name node --policy-arn arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPullOnly\nTerraform: ",
			"arn:aws:iam::123456789012:role/eks/node (node group workers): ecr:GetAuthorizationToken, ecr:BatchGetImage"},
	} {
		t.Run(name, func(t *testing.T) {
			expect(t, testConfig().reportNodeRoles(c.roles), c.status, c.found, c.remedy, c.detail)
		})
	}
}

// The guide lists what the check simulates, and nothing that prune alone needs. The policy of
// deploy/terraform/mirror, with the same actions, is tested to suffice.
func TestTheGuideHasTheActionsOfMirror(t *testing.T) {
	page, err := os.ReadFile("../../../docs/guide/mirroring.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "`mirror`, `check` and `import` need this policy")
	_, section, _ = strings.Cut(section, `"Effect": "Allow",`+"\n")
	list, _, _ := strings.Cut(section, "]")
	got := regexp.MustCompile(`ecr:\w+`).FindAllString(list, -1)
	want := mirrorActions()
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) || len(want) < 10 {
		t.Errorf("the guide lists\n%q, want\n%q", got, want)
	}
}
