// SPDX-License-Identifier: Apache-2.0

package suite_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/castai/privatelink-webhook/internal/doctor"
	"github.com/castai/privatelink-webhook/internal/doctor/suite"
	"github.com/castai/privatelink-webhook/internal/exitcode"
	"github.com/castai/privatelink-webhook/internal/kubeconfig"
	"github.com/castai/privatelink-webhook/internal/output"
	"github.com/castai/privatelink-webhook/internal/rewrite"
	"github.com/castai/privatelink-webhook/internal/testutil/fakeaws"
)

// options returns options without a cluster, a lock file and credentials.
func options(t *testing.T, registry string) suite.Options {
	t.Helper()
	missing := filepath.Join(t.TempDir(), "none")
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_PROFILE": "", "AWS_CONFIG_FILE": missing, "AWS_SHARED_CREDENTIALS_FILE": missing,
		"AWS_EC2_METADATA_DISABLED": "true", "AWS_WEB_IDENTITY_TOKEN_FILE": "", "HOME": filepath.Dir(missing),
	} {
		t.Setenv(name, value)
	}
	rules, err := rewrite.New(rewrite.Config{Registry: registry})
	if err != nil {
		t.Fatal(err)
	}
	o := suite.Options{Rules: rules, Cluster: kubeconfig.Options{File: missing}, LockFile: missing, Probe: true}
	o.Run.Skip = []string{"registry/login", "registry/repositories", "registry/images", "registry/platforms", "registry/webhook-image"}
	return o
}

const ecr = "123456789012.dkr.ecr.us-east-1.amazonaws.com/castai"

func TestRunWithoutAccessReportsUnknown(t *testing.T) {
	for name, registry := range map[string]string{"ECR": ecr, "another registry": "registry.example.com/castai"} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			if err := suite.Run(t.Context(), &out, "json", options(t, registry)); exitcode.Code(err) != exitcode.Failed {
				t.Fatalf("error %v: %s", err, &out)
			}
			var report struct{ Checks []struct{ ID, Status string } }
			if err := json.Unmarshal(out.Bytes(), &report); err != nil {
				t.Fatal(err)
			}
			for _, c := range report.Checks {
				if c.Status != "unknown" {
					t.Errorf("%s is %s", c.ID, c.Status)
				}
			}
		})
	}
}

// A profile that does not exist concerns AWS only: the checks of the cluster run.
func TestRunWithAProfileThatDoesNotExist(t *testing.T) {
	o := options(t, ecr)
	o.AWS.Profile, o.Run.Skip = "none", nil
	var out bytes.Buffer
	if err := suite.Run(t.Context(), &out, "json", o); exitcode.Code(err) != exitcode.Failed {
		t.Fatalf("error %v: %s", err, &out)
	}
	var report struct {
		Checks []struct{ ID, Status, Found, Cause string }
	}
	if err := json.Unmarshal(out.Bytes(), &report); err != nil {
		t.Fatal(err)
	}
	named := 0
	for _, c := range report.Checks {
		isAWS := strings.HasPrefix(c.ID, "network/") || strings.HasPrefix(c.ID, "identity/") || strings.HasPrefix(c.ID, "registry/")
		isNamed := strings.Contains(c.Found, "check ~/.aws/config, AWS_PROFILE and --profile")
		if c.Status != "unknown" || c.Cause == "" && isNamed != isAWS {
			t.Errorf("%+v", c)
		}
		if isNamed {
			named++
		}
	}
	if named == 0 {
		t.Error("the profile is not named")
	}
}

// The region of the cluster is that of the kubeconfig, and not that of the registry.
func TestRegionOfTheKubeconfig(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config")
	const cluster = "arn:aws:eks:eu-west-1:123456789012:cluster/prod"
	text := fmt.Sprintf(`{"apiVersion": "v1", "kind": "Config", "current-context": "a", "contexts": [{"name": "a", "context": {"cluster": %q, "user": "u"}}], "clusters": [{"name": %[1]q, "cluster": {"server": "https://127.0.0.1:1"}}], "users": [{"name": "u", "user": {}}]}`, cluster)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*suite.AWS)
		found  string
	}{
		"by default":      {func(*suite.AWS) {}, "the registry is in us-east-1, and the cluster in eu-west-1"},
		"the same":        {func(a *suite.AWS) { a.Cluster = "prod" }, "the registry is in us-east-1, and the cluster in eu-west-1"},
		"another cluster": {func(a *suite.AWS) { a.Cluster = "staging" }, "both are in us-east-1"},
		"a VPC":           {func(a *suite.AWS) { a.VPC = "vpc-1" }, "both are in us-east-1"},
		"as given":        {func(a *suite.AWS) { a.Region = "us-east-2" }, "the registry is in us-east-1, and the cluster in us-east-2"},
	} {
		t.Run(name, func(t *testing.T) {
			o := options(t, ecr)
			o.Cluster.File, o.Run = file, doctor.Options{Only: []string{"network/registry-region"}}
			c.change(&o.AWS)
			var out bytes.Buffer
			if err := suite.Run(t.Context(), &out, "json", o); !strings.Contains(out.String(), c.found) {
				t.Errorf("%v: %s", err, &out)
			}
		})
	}
}

// Clusters of one name may be in two accounts, and kubectl may use another profile.
func TestTheClusterIsInAnotherAccount(t *testing.T) {
	const found = `{"cluster": {"arn": "arn:aws:eks:us-east-1:111111111111:cluster/prod", "status": "ACTIVE", "resourcesVpcConfig": {"vpcId": "vpc-1"}}}`
	file := filepath.Join(t.TempDir(), "config")
	text := `{"apiVersion": "v1", "kind": "Config", "current-context": "a", "contexts": [{"name": "a", "context": {"cluster": "arn:aws:eks:us-east-1:222222222222:cluster/prod"}}], "clusters": [{"name": "arn:aws:eks:us-east-1:222222222222:cluster/prod", "cluster": {"server": "https://127.0.0.1:1"}}]}`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	responses := map[string]string{
		"sts:GetCallerIdentity": "<Account>111111111111</Account><Arn>arn:aws:iam::111111111111:user/ann</Arn>", "ec2:DescribeVpcs": "<vpcSet></vpcSet>", "ec2:DescribeInstances": "<reservationSet></reservationSet>",
		"eks:ListNodegroups": `{"nodegroups": ["workers"]}`, "eks:DescribeNodegroup": `{"nodegroup": {"nodeRole": "arn:aws:iam::111111111111:role/workers"}}`,
		"iam:SimulatePrincipalPolicy": `<EvaluationResults><member><EvalActionName>ecr:PutImage</EvalActionName><EvalDecision>allowed</EvalDecision></member></EvaluationResults>`,
	}
	for name, c := range map[string]struct {
		cluster, response string
		only              []string
		isOther           bool
	}{
		"a cluster of the same name":    {"", found, []string{"network/aws-access"}, true},
		"no cluster of the same name":   {"", fakeaws.NotFound, []string{"network/aws-access"}, true},
		"the roles of its nodes":        {"", found, []string{"registry/node-role"}, true},
		"the cluster is named":          {"prod", found, []string{"network/aws-access"}, true},
		"another cluster is named":      {"staging", found, []string{"network/aws-access"}, false},
		"the same, of its nodes' roles": {"staging", found, []string{"registry/node-role"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			o := options(t, ecr)
			t.Setenv("AWS_ACCESS_KEY_ID", "test")
			t.Setenv("AWS_SECRET_ACCESS_KEY", "test")
			responses["eks:DescribeCluster"] = c.response
			t.Setenv("AWS_ENDPOINT_URL", *fakeaws.Serve(t, responses).BaseEndpoint)
			o.Cluster.File, o.Run, o.AWS.Cluster = file, doctor.Options{Only: c.only}, c.cluster
			var out bytes.Buffer
			err := suite.Run(t.Context(), &out, "json", o)
			want := []string{`"ok"`}
			if c.isOther {
				want = []string{`"unknown"`, "credentials are of account 111111111111, and cluster prod of the kubeconfig is in account 222222222222", "set --profile"}
			}
			for _, w := range want {
				if !strings.Contains(out.String(), w) {
					t.Errorf("no %q (%v): %s", w, err, &out)
				}
			}
		})
	}
}

func TestListDependsOnTheEngine(t *testing.T) {
	for engine, want := range map[string][2]bool{"webhook": {true, false}, "policy": {false, true}, "": {true, true}} {
		var out bytes.Buffer
		if err := suite.List(&out, output.Text, suite.Options{Engine: engine}); err != nil {
			t.Fatal(err)
		}
		if got := [2]bool{strings.Contains(out.String(), "registry/webhook-image\n"), strings.Contains(out.String(), "cluster/policy\n")}; got != want {
			t.Errorf("engine %q: webhook-image and policy are listed: %t, want %t", engine, got, want)
		}
	}
	for name, o := range map[string]suite.Options{"an engine": {Engine: "istio"}, "a group": {Run: doctor.Options{Only: []string{"netwrok"}}}} {
		if err := suite.List(&bytes.Buffer{}, output.Text, o); exitcode.Code(err) != exitcode.Usage {
			t.Errorf("%s that does not exist: %v", name, err)
		}
	}
	if err := suite.List(&bytes.Buffer{}, suite.JUnit, suite.Options{}); exitcode.Code(err) != exitcode.Usage {
		t.Errorf("JUnit: %v", err)
	}
}

// What is listed without a cluster is what runs in one.
func TestTheCatalogHasTheChecksThatRun(t *testing.T) {
	for _, engine := range []string{"webhook", "policy"} {
		o := options(t, ecr)
		o.Engine = engine
		s, err := suite.New(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		run, err := s.Checks(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		listed, err := suite.Catalog(engine)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(describe(run), describe(listed)); diff != "" || len(run) < 30 {
			t.Errorf("engine %s: %d checks run; listed are others:\n%s", engine, len(run), diff)
		}
	}
}

func describe(checks []doctor.Check) (texts []string) {
	for _, c := range checks {
		texts = append(texts, c.ID()+": "+c.What+": "+c.Why)
	}
	return texts
}

func TestNamesHaveGroupsAndDescriptions(t *testing.T) {
	names := suite.Names()
	for _, want := range []string{"network", "cluster/api\tthe API server answers, and is Kubernetes", "cluster/policy\t"} {
		if !slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, want) }) {
			t.Errorf("no %q in %q", want, names)
		}
	}
}

func TestRunWaits(t *testing.T) {
	o := options(t, ecr)
	o.Run.Only = []string{"identity/caller"}
	o.Wait = time.Nanosecond
	var out bytes.Buffer
	if err := suite.Run(t.Context(), &out, output.YAML, o); exitcode.Code(err) != exitcode.Failed || !strings.Contains(out.String(), "id: identity/caller") {
		t.Errorf("%v: %s", err, &out)
	}
}

func TestIAMPolicy(t *testing.T) {
	policy := func(registry, lockFile string) string {
		var rules *rewrite.Rules
		if registry != "" {
			var err error
			if rules, err = rewrite.New(rewrite.Config{Registry: registry}); err != nil {
				t.Fatal(err)
			}
		}
		var out bytes.Buffer
		if err := suite.IAMPolicy(&out, rules, lockFile); err != nil || !json.Valid(out.Bytes()) {
			t.Fatal(err, out.String())
		}
		return out.String()
	}
	for registry, want := range map[string]string{
		"":  `"Resource": "*"`,
		ecr: `"Resource": "arn:aws:ecr:us-east-1:123456789012:repository/castai/*"`,
		"123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn": `"Resource": "arn:aws-cn:ecr:cn-north-1:123456789012:repository/*"`,
	} {
		if got := policy(registry, "configmap://castai-mirror/privatelink-lock"); strings.Contains(got, "s3:") || !strings.Contains(got, want) || !strings.Contains(got, "ecr:BatchGetImage") {
			t.Errorf("%q: %s", registry, got)
		}
	}
	if got := policy("registry.example.com/castai", ""); strings.Contains(got, "ecr:") {
		t.Errorf("another registry: %s", got)
	}
	for registry, partition := range map[string]string{"": "aws", ecr: "aws", "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn": "aws-cn", "registry.example.com/castai": "aws"} {
		if got := policy(registry, "s3://locks/castai/lock.yaml"); !strings.Contains(got, `"arn:`+partition+`:s3:::locks"`) || !strings.Contains(got, `"arn:`+partition+`:s3:::locks/castai/lock.yaml"`) {
			t.Errorf("%q with a lock in S3: %s", registry, got)
		}
	}
	if err := suite.IAMPolicy(&bytes.Buffer{}, nil, "s3://locks"); exitcode.Code(err) != exitcode.Usage {
		t.Errorf("a bucket without a key: %v", err)
	}
	// The doctor reads: IAM has no other verbs for that in these services.
	for _, action := range regexp.MustCompile(`"[a-z0-9]+:[A-Za-z]+"`).FindAllString(policy(ecr, "s3://locks/lock.yaml"), -1) {
		if !regexp.MustCompile(`:(Describe|Get|List|Simulate|BatchGet)`).MatchString(action) {
			t.Errorf("%s may change something", action)
		}
	}
}

func TestUsageErrors(t *testing.T) {
	for name, change := range map[string]func(*suite.Options){
		"no rules":            func(o *suite.Options) { o.Rules = nil },
		"two places to probe": func(o *suite.Options) { o.Inside = true },
		"an unknown engine":   func(o *suite.Options) { o.Engine = "istio" },
		"an unknown check":    func(o *suite.Options) { o.Run.Only = []string{"netwrok"} },
		"an unknown service":  func(o *suite.Options) { o.AWS.Services = map[string]string{"grcp": "x"} },
		"a lock in no store":  func(o *suite.Options) { o.LockFile = "gs://bucket/lock.yaml" },
		"a negative wait":     func(o *suite.Options) { o.Wait = -time.Second },
		"a host without port": func(o *suite.Options) { o.CASTAIHosts = []string{"api.cast.ai"} },
	} {
		t.Run(name, func(t *testing.T) {
			o := options(t, ecr)
			change(&o)
			if err := suite.Run(t.Context(), &bytes.Buffer{}, "", o); exitcode.Code(err) != exitcode.Usage {
				t.Errorf("error %v", err)
			}
		})
	}
}
