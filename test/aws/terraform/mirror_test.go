// SPDX-License-Identifier: Apache-2.0

//go:build aws

package terraform

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/castai/privatelink-webhook/internal/testutil/fakeecr"
	"github.com/castai/privatelink-webhook/test/aws/emulator"
	"github.com/castai/privatelink-webhook/test/integration/docs"
)

// The module as on the page: applied, run, and destroyed. The run is the one that CodeBuild
// would make, as the role that Terraform created, with what its policy allows.
func TestScheduledMirror(t *testing.T) {
	w := newFixture(t, "scheduled-mirror")
	p := newPublic(t)
	w.configure(t, providers+strings.NewReplacer(
		`"./deploy/terraform/mirror"`, `"../../mirror"`,
		strings.Repeat("0", 64), p.sha256,
		"\n}", fmt.Sprintf("\n  release_url   = %q\n  arguments     = [\"--track\", \"--no-webhook-image\"]\n  chart_repository = \"s3://%s/%s\"\n  force_destroy = true\n}", p.releases.URL, chartBucket, chartPrefix),
	).Replace(pageFence(t, `module "mirror"`)))
	w.writeConfig(t, p.config)
	w.pageCommands(t, "docs/guide/upgrade.md", "terraform apply")
	w.planNothing(t)

	b := w.newBuild(t, p)
	if _, err := b.s3.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String(chartBucket)}); err != nil {
		t.Fatal(err)
	}
	w.pageCommands(t, "deploy/terraform/mirror/README.md", "aws sns subscribe")
	t.Run("a run copies and publishes", func(t *testing.T) {
		g := b.newGateway(t)
		out := b.mustRun(t, g)
		if len(g.published) != 1 || !strings.Contains(g.published[0].Get("Message"), registry+"/"+p.name("new")+":v1") || g.published[0].Get("Subject") != "privatelink mirror: 2 new images" {
			t.Errorf("published %q\n%s", g.published, out)
		}
		for _, name := range []string{"new", "old"} {
			if g.ecr.Tag("castai/"+p.name(name), "v1") == "" {
				t.Errorf("%s was not copied\n%s", name, out)
			}
		}
		for _, r := range g.ecr.Log() {
			if r.Repository != "" && !strings.HasPrefix(r.Repository, "castai/") {
				t.Errorf("a request outside of the prefix: %s", r)
			}
		}
		b.checkCharts(t)
		g.published = nil
		if out := b.mustRun(t, g); len(g.published) > 0 || !strings.Contains(out, `"state":"present"`) {
			t.Errorf("without news, published %q\n%s", g.published, out)
		}
	})
	t.Run("an archive with another checksum does not run", func(t *testing.T) {
		g := b.newGateway(t)
		if out, err := b.run(t, g, "RELEASE_SHA256="+strings.Repeat("1", 64)); err == nil || !strings.Contains(out, "did NOT match") || len(g.ecr.Log()) > 0 {
			t.Errorf("%v, %d requests\n%s", err, len(g.ecr.Log()), out)
		}
	})
	t.Run("images that were copied are news if others fail", func(t *testing.T) {
		g := b.newGateway(t)
		g.ecr.Inject(fakeecr.Fault{Match: func(r fakeecr.Request) bool {
			return r.Action == fakeecr.PutImage && strings.HasSuffix(r.Repository, "/old")
		}, Status: 403, Code: "DENIED"})
		if out, err := b.run(t, g); err == nil || len(g.published) != 1 || g.published[0].Get("Subject") != "privatelink mirror: 1 new images" {
			t.Errorf("%v, published %q\n%s", err, g.published, out)
		}
	})
	b.checkPolicy(t)
	w.destroy(t)
	w.checkNothingIsLeft(t)
}

// pageCommands runs the commands of the fence of a page that has a text, as on the page but
// for the approval of an apply.
func (w *fixture) pageCommands(t *testing.T, page, text string) {
	t.Helper()
	fences, err := docs.Fences(repository, page)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(fences, func(f docs.Fence) bool { return strings.Contains(strings.Join(f.Lines, "\n"), text) })
	if i < 0 {
		t.Fatalf("%s has no fence with %s", page, text)
	}
	python, err := emulator.Install(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", strings.Join(fences[i].Lines, "\n"))
	c.Dir = w.example
	c.Env = append(w.withoutProfile(), "TF_CLI_ARGS_apply=-auto-approve -input=false", "AWS_DEFAULT_REGION="+region, "PATH="+filepath.Dir(python)+string(os.PathListSeparator)+os.Getenv("PATH"))
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", fences[i], err, out)
	}
}

// unobserved are actions that the emulators do not ask for.
var unobserved = map[string]string{
	"ecr:UploadLayerPart":        "ECR counts the content of an upload as this action: https://docs.aws.amazon.com/AmazonECR/latest/userguide/service-quotas.html",
	"ecr:GetDownloadUrlForLayer": "needed to mount layers: https://docs.aws.amazon.com/AmazonECR/latest/userguide/blob-mounting.html",
	"logs:CreateLogStream":       "CodeBuild writes the log: https://docs.aws.amazon.com/codebuild/latest/userguide/setting-up-service-role.html",
	"logs:PutLogEvents":          "CodeBuild writes the log",
}

// inErrors are actions that an error names by other words: those of the SDK, or because the
// response to a HEAD request has none.
var inErrors = map[string]string{
	"s3:ListBucket":                   "HeadBucket",
	"ecr:BatchGetImage":               "the role lacks an IAM action",
	"ecr:BatchCheckLayerAvailability": "the role lacks an IAM action",
}

// checkPolicy removes each action of the role's policy in turn. The run then fails and
// names what it lacks, except for a setting that it can do without.
func (b *build) checkPolicy(t *testing.T) {
	text := b.attributes(t, "aws_iam_role_policy", "mirror")["policy"].(string)
	actions := quoted(text, "ecr:", "s3:", "sns:", "logs:")
	if len(actions) < 15 {
		t.Fatalf("%d actions in %s", len(actions), text)
	}
	for _, action := range actions {
		if unobserved[action] != "" {
			continue
		}
		t.Run("without "+action, func(t *testing.T) {
			b.putPolicy(t, strings.ReplaceAll(text, `"`+action+`"`, `"sts:GetCallerIdentity"`))
			out, err := b.run(t, b.newGateway(t))
			_, named, _ := strings.Cut(action, ":")
			if other := inErrors[action]; other != "" {
				named = other
			}
			if optional := action == "ecr:GetAccountSetting"; (err == nil) != optional || !strings.Contains(out, named) {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
	for _, sid := range []string{"ChartBucket", "Charts"} {
		t.Run("without "+sid, func(t *testing.T) {
			b.putPolicy(t, without(t, text, sid))
			out, err := b.run(t, b.newGateway(t))
			if err == nil || !strings.Contains(out, "the role needs s3:ListBucket on "+chartBucket) {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
	b.putPolicy(t, text)
	for resource, action := range map[string]string{
		"arn:aws:ecr:us-east-1:123456789012:repository/castai-other/a": "ecr:PutImage",
		"arn:aws:ecr:us-east-1:123456789012:repository/other":          "ecr:CreateRepository",
		"arn:aws:ecr:us-east-2:123456789012:repository/castai/a":       "ecr:PutImage",
		"arn:aws:s3:::" + b.bucket() + "/other":                        "s3:PutObject",
		"arn:aws:s3:::" + chartBucket + "/other":                       "s3:PutObject",
		"arn:aws:s3:::" + chartBucket + "/castai/index.yaml":           "s3:DeleteObject",
		"arn:aws:sns:us-east-1:123456789012:other":                     "sns:Publish",
	} {
		if b.allowed(t, action, resource) {
			t.Errorf("%s on %s is allowed", action, resource)
		}
	}
}

// without returns a policy without one of its statements.
func without(t *testing.T, policy, sid string) string {
	t.Helper()
	var p map[string]any
	if err := json.Unmarshal([]byte(policy), &p); err != nil {
		t.Fatal(err)
	}
	all := p["Statement"].([]any)
	kept := slices.DeleteFunc(slices.Clone(all), func(s any) bool { return s.(map[string]any)["Sid"] == sid })
	if len(kept) != len(all)-1 {
		t.Fatalf("no statement %s in %s", sid, policy)
	}
	p["Statement"] = kept
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// checkCharts requires that the run has written the chart whose images it has copied.
func (b *build) checkCharts(t *testing.T) {
	t.Helper()
	out, err := b.s3.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: aws.String(chartBucket)})
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for _, o := range out.Contents {
		keys = append(keys, *o.Key)
	}
	if !slices.Equal(keys, []string{chartPrefix + "/agent-1.0.0.tgz", chartPrefix + "/index.yaml"}) {
		t.Errorf("charts: %q", keys)
	}
}

func (b *build) putPolicy(t *testing.T, text string) {
	t.Helper()
	_, err := iam.NewFromConfig(b.config).PutRolePolicy(t.Context(), &iam.PutRolePolicyInput{RoleName: aws.String(roleName(b.env["ROLE"])), PolicyName: aws.String("mirror"), PolicyDocument: &text})
	if err != nil {
		t.Fatal(err)
	}
}

// quoted returns the strings in JSON that begin with one of the prefixes.
func quoted(text string, prefixes ...string) (found []string) {
	for s := range strings.SplitSeq(text, `"`) {
		if slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(s, p) }) {
			found = append(found, s)
		}
	}
	return found
}

// checkNothingIsLeft asks for what destroy does not look for in other tests.
func (w *fixture) checkNothingIsLeft(t *testing.T) {
	t.Helper()
	roles, err := iam.NewFromConfig(w.config).ListRoles(t.Context(), &iam.ListRolesInput{})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range roles.Roles {
		if strings.HasPrefix(*r.RoleName, "privatelink") {
			t.Errorf("the role %s is left", *r.RoleName)
		}
	}
}

// The example with a second region, and what its inputs refuse.
func TestScheduledMirrorWithReplication(t *testing.T) {
	w := newFixture(t, "scheduled-mirror")
	// The other test applies it. The provider waits for it for a minute.
	without := "resource \"aws_s3_bucket_lifecycle_configuration\" \"lock\" {\n  count = 0\n}\n"
	if err := os.WriteFile(filepath.Join(w.dir, "terraform", "mirror", "zz_override.tf"), []byte(without), 0o600); err != nil {
		t.Fatal(err)
	}
	vars := []string{"-var=config_file=privatelink.yaml", fmt.Sprintf(`-var=release={"version":"v0.2.0","sha256":%q}`, strings.Repeat("a", 64))}
	all := append(slices.Clone(vars), "-var=replaces_all_rules=true")
	plan := func(vars []string) string {
		out, _, _ := w.run(t.Context(), append([]string{"plan", "-input=false", "-no-color"}, vars...)...)
		return flat(out)
	}
	lifecycle := `{"rules":[]}`
	w.writeConfig(t, "registry: "+registry+"\nrepositories:\n  tagMutability: IMMUTABLE\n  tags: {team: a}\n  lifecyclePolicy: '"+lifecycle+"'\n  encryption: KMS\n  kmsKey: alias/images\n")
	if out := plan(vars); !strings.Contains(out, "If it prints [], set replaces_all_rules = true") {
		t.Error(out)
	}
	for name, tc := range map[string]struct{ config, want string }{
		"another account": {"registry: 210987654321.dkr.ecr.us-east-1.amazonaws.com/castai\n", "is in account 210987654321"},
		"another region":  {"registry: 123456789012.dkr.ecr.eu-west-1.amazonaws.com/castai\n", "names that of eu-west-1"},
		"no ECR":          {"registry: registry.example.com/castai\n", "config must be YAML with a registry"},
		"no prefix":       {"registry: 123456789012.dkr.ecr.us-east-1.amazonaws.com\n", "config must be YAML with a registry"},
	} {
		other := filepath.Join(t.TempDir(), "privatelink.yaml")
		if err := os.WriteFile(other, []byte(tc.config), 0o600); err != nil {
			t.Fatal(err)
		}
		if out := plan(append([]string{"-var=config_file=" + other}, all[1:]...)); !strings.Contains(out, tc.want) {
			t.Errorf("%s: %s", name, out)
		}
	}
	w.apply(t, all...)
	out, err := w.ecr.DescribeRegistry(t.Context(), &ecr.DescribeRegistryInput{})
	if err != nil || len(out.ReplicationConfiguration.Rules) != 1 {
		t.Fatalf("%v %v", out, err)
	}
	rule := out.ReplicationConfiguration.Rules[0]
	if *rule.Destinations[0].Region != "us-east-2" || *rule.Destinations[0].RegistryId != "123456789012" || *rule.RepositoryFilters[0].Filter != "castai/" {
		t.Errorf("%+v", rule)
	}
	template := w.attributes(t, "aws_ecr_repository_creation_template", "this")
	if template["prefix"] != "castai" || template["image_tag_mutability"] != "IMMUTABLE" || template["lifecycle_policy"] != lifecycle {
		t.Errorf("template %v", template)
	}
	policy := w.attributes(t, "aws_iam_role_policy", "mirror")["policy"].(string)
	for _, want := range []string{"ecr:TagResource", "ecr:PutLifecyclePolicy", "kms:CreateGrant", `"kms:ResourceAliases":"alias/images"`} {
		if !strings.Contains(policy, want) {
			t.Errorf("the policy lacks %s: %s", want, policy)
		}
	}
	if strings.Contains(policy, "ecr:SetRepositoryPolicy") {
		t.Errorf("an action for a setting that is not configured: %s", policy)
	}
	w.destroy(t, all...)
}
