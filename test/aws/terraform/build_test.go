// SPDX-License-Identifier: Apache-2.0

//go:build aws

package terraform

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"sigs.k8s.io/yaml"

	"github.com/castai/privatelink-webhook/internal/testutil/fakeecr"
	"github.com/castai/privatelink-webhook/internal/testutil/fakeregistry"
	"github.com/castai/privatelink-webhook/test/aws/emulator"
)

const (
	repository = "../../.."
	// chartBucket and chartPrefix are where a build writes charts.
	chartBucket = "acme-charts"
	chartPrefix = "castai"
	providers   = "provider \"aws\" {\n  region = \"us-east-1\"\n}\n"
)

// pageFence returns the configuration on the page that begins with a text.
func pageFence(t *testing.T, begin string) string {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(repository, "docs", "guide", "upgrade.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(page), "```hcl\n"+begin)
	text, _, closed := strings.Cut(rest, "```")
	if !found || !closed {
		t.Fatalf("the page has no fence %s", begin)
	}
	return begin + text
}

// writeConfig writes privatelink.yaml of the current example.
func (w *fixture) writeConfig(t *testing.T, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(w.example, "privatelink.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// public is what a run reads of the internet: a registry with two images, a repository with
// the chart that has them, and the releases of privatelink.
type public struct {
	registry *fakeregistry.Server
	releases *httptest.Server
	config   string // privatelink.yaml
	sha256   string // of the release
}

func newPublic(t *testing.T) *public {
	t.Helper()
	p := &public{registry: fakeregistry.Start(t)}
	var pod strings.Builder
	pod.WriteString("apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  containers:\n")
	for i, name := range []string{"old", "new"} {
		fakeregistry.Push(t, p.registry.Host+"/library/"+name+":v1", fakeregistry.MultiArch(t, 1000, uint64(i)))
		fmt.Fprintf(&pod, "  - {name: %s, image: \"%s/library/%[1]s:v1\"}\n", name, p.host())
	}
	chart := archive(t, map[string]string{"agent/Chart.yaml": "apiVersion: v2\nname: agent\nversion: 1.0.0\n", "agent/templates/pod.yaml": pod.String()})
	charts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/index.yaml" {
			fmt.Fprint(w, "apiVersion: v1\nentries:\n  agent:\n  - {name: agent, version: 1.0.0, urls: [agent.tgz]}\n")
			return
		}
		_, _ = w.Write(chart)
	}))
	t.Cleanup(charts.Close)
	p.config = fmt.Sprintf("registry: %s\ntrack: {repository: %q, charts: [agent]}\n", registry, charts.URL)

	// The program in the archive starts the real one, which is large.
	program := filepath.Join(t.TempDir(), "privatelink")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "../../../cmd/privatelink").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	release := archive(t, map[string]string{"LICENSE": "a license", "privatelink": fmt.Sprintf("#!/bin/sh\nexec %s \"$@\"\n", program)})
	p.sha256 = fmt.Sprintf("%x", sha256.Sum256(release))
	p.releases = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v0.2.0/privatelink_0.2.0_linux_amd64.tar.gz" {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(release)
	}))
	t.Cleanup(p.releases.Close)
	return p
}

// host is the registry's, by an address that is not taken for this machine.
func (p *public) host() string { return strings.Replace(p.registry.Host, "127.0.0.1", "0.0.0.0", 1) }

// name is that of an image's repository below the prefix.
func (p *public) name(image string) string {
	return strings.Replace(p.host(), ":", "_", 1) + "/library/" + image
}

// archive returns a .tar.gz of executable files.
func archive(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	w := tar.NewWriter(zip)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(files[name]))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(files[name])); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := zip.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// build is the project that Terraform has created.
type build struct {
	*fixture
	s3       *s3.Client
	public   *public
	commands []string
	env      map[string]string // of the project
	setup    []string          // environment of the machine
}

func (w *fixture) newBuild(t *testing.T, p *public) *build {
	t.Helper()
	project := w.attributes(t, "aws_codebuild_project", "this")
	if project["concurrent_build_limit"] != 1.0 || len(project["vpc_config"].([]any)) > 0 {
		t.Errorf("project %v", project)
	}
	b := &build{fixture: w, public: p, env: map[string]string{}, s3: s3.NewFromConfig(w.config, func(o *s3.Options) { o.UsePathStyle = true })}
	var spec struct {
		Phases map[string]struct{ Commands []string }
	}
	source := project["source"].([]any)[0].(map[string]any)["buildspec"].(string)
	if err := yaml.UnmarshalStrict([]byte(source), &struct{ Version, Env, Phases any }{}); err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal([]byte(source), &spec); err != nil || len(spec.Phases["build"].Commands) == 0 {
		t.Fatalf("%v\n%s", err, source)
	}
	b.commands = spec.Phases["build"].Commands
	for _, v := range project["environment"].([]any)[0].(map[string]any)["environment_variable"].([]any) {
		variable := v.(map[string]any)
		b.env[variable["name"].(string)] = variable["value"].(string)
	}

	b.checkBucket(t)
	b.checkAlerts(t)
	b.setup = b.newSetup(t)
	return b
}

// checkBucket requires a private bucket with versions, and then removes its policy: moto
// ignores the condition in it, and refuses all requests.
func (b *build) checkBucket(t *testing.T) {
	t.Helper()
	ctx, name := t.Context(), aws.String(b.bucket())
	versions, err := b.s3.GetBucketVersioning(ctx, &s3.GetBucketVersioningInput{Bucket: name})
	if err != nil || versions.Status != "Enabled" {
		t.Errorf("versions: %+v %v", versions, err)
	}
	access, err := b.s3.GetPublicAccessBlock(ctx, &s3.GetPublicAccessBlockInput{Bucket: name})
	if err != nil {
		t.Fatal(err)
	}
	if c := access.PublicAccessBlockConfiguration; !*c.BlockPublicAcls || !*c.BlockPublicPolicy || !*c.IgnorePublicAcls || !*c.RestrictPublicBuckets {
		t.Errorf("public access: %+v", c)
	}
	policy := b.attributes(t, "aws_s3_bucket_policy", "lock")["policy"].(string)
	if !strings.Contains(policy, `"Condition":{"Bool":{"aws:SecureTransport":"false"}}`) || !strings.Contains(policy, `"Effect":"Deny"`) || strings.Contains(policy, "Allow") {
		t.Errorf("policy %s", policy)
	}
	if _, err := b.s3.DeleteBucketPolicy(ctx, &s3.DeleteBucketPolicyInput{Bucket: name}); err != nil {
		t.Fatal(err)
	}
}

// checkAlerts requires that each end of a run without success is sent, and the lack of runs.
func (b *build) checkAlerts(t *testing.T) {
	t.Helper()
	var pattern struct {
		Source []string
		Type   []string `json:"detail-type"`
		Detail map[string][]string
	}
	if err := json.Unmarshal([]byte(b.attributes(t, "aws_cloudwatch_event_rule", "failed")["event_pattern"].(string)), &pattern); err != nil {
		t.Fatal(err)
	}
	// https://docs.aws.amazon.com/codebuild/latest/APIReference/API_Build.html
	ends := []string{"FAILED", "FAULT", "STOPPED", "TIMED_OUT"}
	if !slices.Equal(pattern.Detail["build-status"], ends) || !slices.Equal(pattern.Detail["project-name"], []string{"privatelink-mirror"}) || !slices.Equal(pattern.Type, []string{"CodeBuild Build State Change"}) {
		t.Errorf("%+v", pattern)
	}
	alarm := b.attributes(t, "aws_cloudwatch_metric_alarm", "stale")
	if alarm["treat_missing_data"] != "breaching" || alarm["metric_name"] != "SucceededBuilds" || alarm["evaluation_periods"] != 3.0 || alarm["period"] != 3600.0 {
		t.Errorf("%v", alarm)
	}
	var policy struct {
		Statement []struct {
			Principal map[string]string
			Condition map[string]any
		}
	}
	if err := json.Unmarshal([]byte(b.attributes(t, "aws_sns_topic_policy", "this")["policy"].(string)), &policy); err != nil {
		t.Fatal(err)
	}
	for _, s := range policy.Statement {
		if service := s.Principal["Service"]; (service == "events.amazonaws.com") != (len(s.Condition) == 0) {
			t.Errorf("%s publishes with the conditions %v", service, s.Condition)
		}
	}
	trust := b.attributes(t, "aws_iam_role", "schedule")["assume_role_policy"].(string)
	if !strings.Contains(trust, "arn:aws:scheduler:us-east-1:123456789012:schedule-group/default") {
		t.Errorf("the source is not the group of the schedule: %s", trust)
	}
}

// tools of the image of CodeBuild that the script may call:
// https://github.com/aws/aws-codebuild-docker-images/blob/master/al/x86_64/standard/5.0/Dockerfile
var tools = []string{"aws", "base64", "curl", "gzip", "head", "jq", "sha256sum", "tar", "tee", "wc"}

// linkTools returns a folder with the tools alone.
func linkTools(t *testing.T, python string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for _, name := range tools {
		file := filepath.Join(filepath.Dir(python), name)
		if name != "aws" {
			var err error
			if file, err = exec.LookPath(name); err != nil {
				t.Fatalf("%v; install it", err)
			}
		}
		if err := os.Symlink(file, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// newSetup returns the environment of the machine of a build, without what a gateway adds.
func (b *build) newSetup(t *testing.T) []string {
	t.Helper()
	python, err := emulator.Install(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	authority := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(authority, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: b.public.releases.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	session, err := sts.NewFromConfig(b.config).AssumeRole(t.Context(), &sts.AssumeRoleInput{RoleArn: aws.String(b.env["ROLE"]), RoleSessionName: aws.String("AWSCodeBuild-1")})
	if err != nil {
		t.Fatal(err)
	}
	return append(b.withoutProfile(),
		"PATH="+linkTools(t, python), "HOME="+t.TempDir(), "AWS_DEFAULT_REGION="+region, "XDG_CACHE_HOME=", "CURL_CA_BUNDLE="+authority,
		"AWS_ACCESS_KEY_ID="+*session.Credentials.AccessKeyId, "AWS_SECRET_ACCESS_KEY="+*session.Credentials.SecretAccessKey, "AWS_SESSION_TOKEN="+*session.Credentials.SessionToken,
		"PRIVATELINK_PLAIN_HTTP="+b.public.host()+","+strings.Split(registry, "/")[0], "NO_PROXY=127.0.0.1,0.0.0.0")
}

// withoutProfile is the environment for the AWS CLI, which takes an empty profile for a name.
func (w *fixture) withoutProfile() []string {
	return slices.DeleteFunc(slices.Clone(w.env), func(v string) bool { return strings.HasPrefix(v, "AWS_PROFILE=") })
}

// bucket is that of the lock.
func (b *build) bucket() string { return strings.Split(b.env["LOCK"], "/")[2] }

// allowed reports whether the role's policy allows an action.
func (b *build) allowed(t *testing.T, action, resource string) bool {
	t.Helper()
	out, err := iam.NewFromConfig(b.config).SimulatePrincipalPolicy(t.Context(), &iam.SimulatePrincipalPolicyInput{PolicySourceArn: aws.String(b.env["ROLE"]), ActionNames: []string{action}, ResourceArns: []string{resource}})
	if err != nil || len(out.EvaluationResults) != 1 {
		t.Fatalf("%v %v", out, err)
	}
	return out.EvaluationResults[0].EvalDecision == "allowed"
}

// run runs the commands of a build in an empty folder, with more variables.
func (b *build) run(t *testing.T, g *gateway, env ...string) (out string, err error) {
	t.Helper()
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), bash, "-ec", strings.Join(b.commands, "\n"))
	c.Dir, c.Env = t.TempDir(), append(slices.Clone(b.setup), "AWS_ENDPOINT_URL="+g.URL, "HTTP_PROXY="+g.URL)
	for name, value := range b.env {
		c.Env = append(c.Env, name+"="+value)
	}
	c.Env = append(c.Env, env...)
	text, err := c.CombinedOutput()
	return string(text), err
}

func (b *build) mustRun(t *testing.T, g *gateway) string {
	t.Helper()
	out, err := b.run(t, g)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return out
}

// ecrActions are those that the fake ECR asks for.
var ecrActions = []string{
	"GetAuthorizationToken", "GetAccountSetting", "DescribeRepositories", "CreateRepository", fakeecr.BatchCheckLayerAvailability,
	fakeecr.BatchGetImage, fakeecr.InitiateLayerUpload, fakeecr.CompleteLayerUpload, fakeecr.PutImage,
}

// newGateway starts an empty registry, in which one of the two repositories exists. The lock
// stays.
func (b *build) newGateway(t *testing.T) *gateway {
	t.Helper()
	g := &gateway{ecr: fakeecr.New(fakeecr.Options{Region: region})}
	g.ecr.Create("castai/" + b.public.name("old"))
	repositories := "arn:aws:ecr:" + region + ":123456789012:repository/castai/a"
	g.ecr.Set(func(s *fakeecr.Switches) {
		for _, action := range ecrActions {
			resource := repositories
			if action == "GetAuthorizationToken" || action == "GetAccountSetting" {
				resource = "*"
			}
			if !b.allowed(t, "ecr:"+action, resource) {
				s.Denied = append(s.Denied, action)
			}
		}
	})
	bucket := "arn:aws:s3:::" + b.bucket()
	g.denied = map[string]bool{
		"sns:Publish":   !b.allowed(t, "sns:Publish", b.env["TOPIC"]),
		"s3:ListBucket": !b.allowed(t, "s3:ListBucket", bucket),
		"s3:GetObject":  !b.allowed(t, "s3:GetObject", bucket+"/privatelink.lock.yaml"),
		"s3:PutObject":  !b.allowed(t, "s3:PutObject", bucket+"/privatelink.lock.yaml"),
	}
	for action, resource := range map[string]string{"s3:ListBucket": "", "s3:GetObject": "/" + chartPrefix + "/index.yaml", "s3:PutObject": "/" + chartPrefix + "/index.yaml"} {
		g.denied[action+" "+chartBucket] = !b.allowed(t, action, "arn:aws:s3:::"+chartBucket+resource)
	}
	g.start(t, *b.config.BaseEndpoint)
	return g
}
