// SPDX-License-Identifier: Apache-2.0

//go:build aws

package terraform

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// statement is one of a policy.
type statement struct {
	Sid, Effect, Principal string
	Action, Resource       any
	Condition              map[string]map[string]any
}

func statements(t *testing.T, policy string) map[string]statement {
	t.Helper()
	var p struct{ Statement []statement }
	if err := json.Unmarshal([]byte(policy), &p); err != nil {
		t.Fatalf("%v: %s", err, policy)
	}
	all := map[string]statement{}
	for _, s := range p.Statement {
		all[s.Sid] = s
	}
	return all
}

// The modules of the network and of the mirror as on the page.
func TestChartRepository(t *testing.T) {
	w := newFixture(t, "new-vpc")
	// Another test applies one. The provider waits for it for a minute.
	for folder, name := range map[string]string{"": "charts", "mirror": "lock"} {
		without := fmt.Sprintf("resource \"aws_s3_bucket_lifecycle_configuration\" %q {\n  count = 0\n}\n", name)
		if err := os.WriteFile(filepath.Join(w.dir, "terraform", folder, "zz_override.tf"), []byte(without), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w.writeConfig(t, "registry: "+registry+"\n")
	page := providers + strings.NewReplacer(
		`"./deploy/terraform"`, `"../.."`, `"./deploy/terraform/mirror"`, `"../../mirror"`,
		"create_chart_repository = true", "create_chart_repository = true\n  create_castai_endpoints = false\n  aws_services = [\"s3\"]\n  force_delete = true",
	).Replace(pageFence(t, `module "privatelink"`))
	for place, want := range map[string]string{
		`"s3://Charts"`: "chart_repository must be s3://BUCKET or s3://BUCKET/PREFIX",
		"\"s3://acme-charts\"\n arguments = [\"--set=umbrella\"]": "chart_repository gets the versions of charts that --track has mirrored. Add --track to arguments.",
	} {
		w.configure(t, strings.Replace(page, "module.privatelink.chart_repository\n", place+"\n", 1))
		if out, _, err := w.run(t.Context(), "plan", "-input=false", "-no-color"); err == nil || !strings.Contains(flat(out), want) {
			t.Errorf("%s: %v %s", place, err, out)
		}
	}
	w.configure(t, page)
	w.apply(t)
	c := s3.NewFromConfig(w.config, func(o *s3.Options) { o.UsePathStyle = true })
	bucket := w.attributes(t, "aws_s3_bucket", "charts")["id"].(string)
	w.checkChartBucket(t, c, bucket)
	w.checkChartReaders(t, bucket)
	w.checkAnonymousRead(t, c, bucket)

	if url := w.must(t, "output", "-raw", "helm_repo_url"); url != "https://"+bucket+".s3.us-east-1.amazonaws.com" {
		t.Errorf("the URL is %s", url)
	}
	project, err := json.Marshal(w.attributes(t, "aws_codebuild_project", "this")["environment"])
	if err != nil || !strings.Contains(string(project), `{"name":"CHARTS","type":"PLAINTEXT","value":"s3://`+bucket+`"}`) {
		t.Errorf("%s %v", project, err)
	}
	role := statements(t, w.attributes(t, "aws_iam_role_policy", "mirror")["policy"].(string))
	if role["Charts"].Resource != "arn:aws:s3:::"+bucket+"/*" || role["ChartBucket"].Resource != "arn:aws:s3:::"+bucket {
		t.Errorf("the role: %+v", role)
	}
	w.destroy(t)
	buckets, err := c.ListBuckets(t.Context(), &s3.ListBucketsInput{})
	if err != nil || len(buckets.Buckets) > 0 {
		t.Errorf("buckets are left: %+v %v", buckets, err)
	}
}

// checkChartBucket requires versions, the encryption that anonymous readers can read, and
// no public access.
func (w *fixture) checkChartBucket(t *testing.T, c *s3.Client, bucket string) {
	t.Helper()
	versions, err := c.GetBucketVersioning(t.Context(), &s3.GetBucketVersioningInput{Bucket: &bucket})
	if err != nil || versions.Status != s3types.BucketVersioningStatusEnabled {
		t.Errorf("versions: %+v %v", versions, err)
	}
	encryption, err := c.GetBucketEncryption(t.Context(), &s3.GetBucketEncryptionInput{Bucket: &bucket})
	if err != nil || encryption.ServerSideEncryptionConfiguration.Rules[0].ApplyServerSideEncryptionByDefault.SSEAlgorithm != s3types.ServerSideEncryptionAes256 {
		t.Errorf("encryption: %+v %v", encryption, err)
	}
	access, err := c.GetPublicAccessBlock(t.Context(), &s3.GetPublicAccessBlockInput{Bucket: &bucket})
	if err != nil {
		t.Fatal(err)
	}
	if p := access.PublicAccessBlockConfiguration; !*p.BlockPublicAcls || !*p.BlockPublicPolicy || !*p.IgnorePublicAcls || !*p.RestrictPublicBuckets {
		t.Errorf("public access: %+v", p)
	}
}

// checkChartReaders requires that the policies of the bucket and of the gateway let anonymous
// reads through the gateway pass, and nothing else.
func (w *fixture) checkChartReaders(t *testing.T, bucket string) {
	t.Helper()
	endpoints, err := w.ec2.DescribeVpcEndpoints(t.Context(), &ec2.DescribeVpcEndpointsInput{Filters: []types.Filter{{Name: aws.String("service-name"), Values: []string{"com.amazonaws.us-east-1.s3"}}}})
	if err != nil || len(endpoints.VpcEndpoints) != 1 {
		t.Fatalf("%v %v", endpoints, err)
	}
	gateway, objects := endpoints.VpcEndpoints[0], "arn:aws:s3:::"+bucket+"/*"
	want := map[string]statement{
		"TlsOnly":              {"TlsOnly", "Deny", "*", "s3:*", []any{"arn:aws:s3:::" + bucket, objects}, map[string]map[string]any{"Bool": {"aws:SecureTransport": "false"}}},
		"ReadThroughEndpoints": {"ReadThroughEndpoints", "Allow", "*", "s3:GetObject", objects, map[string]map[string]any{"StringEquals": {"aws:SourceVpce": []any{*gateway.VpcEndpointId}}}},
	}
	if got := statements(t, w.attributes(t, "aws_s3_bucket_policy", "charts")["policy"].(string)); !reflect.DeepEqual(got, want) {
		t.Errorf("the bucket: %+v", got)
	}
	if got := statements(t, *gateway.PolicyDocument)["Charts"]; !reflect.DeepEqual(got, statement{"Charts", "Allow", "*", "s3:GetObject", objects, nil}) {
		t.Errorf("the gateway: %+v", got)
	}
}

// checkAnonymousRead reads a chart without credentials. moto ignores conditions, so that
// the statement for TLS would refuse all requests.
func (w *fixture) checkAnonymousRead(t *testing.T, c *s3.Client, bucket string) {
	t.Helper()
	if _, err := c.DeleteBucketPolicy(t.Context(), &s3.DeleteBucketPolicyInput{Bucket: &bucket}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: aws.String("index.yaml"), Body: strings.NewReader("apiVersion: v1\n")}); err != nil {
		t.Fatal(err)
	}
	status := func() int {
		response, err := http.Get(*w.config.BaseEndpoint + "/" + bucket + "/index.yaml")
		if err != nil {
			t.Fatal(err)
		}
		if err := response.Body.Close(); err != nil {
			t.Fatal(err)
		}
		return response.StatusCode
	}
	if got := status(); got != http.StatusForbidden {
		t.Errorf("without a policy, status %d", got)
	}
	policy := without(t, w.attributes(t, "aws_s3_bucket_policy", "charts")["policy"].(string), "TlsOnly")
	if _, err := c.PutBucketPolicy(t.Context(), &s3.PutBucketPolicyInput{Bucket: &bucket, Policy: &policy}); err != nil {
		t.Fatal(err)
	}
	if got := status(); got != http.StatusOK {
		t.Errorf("with the policy, status %d", got)
	}
}
