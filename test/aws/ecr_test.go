// SPDX-License-Identifier: Apache-2.0

//go:build aws

package aws

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	sdk "github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"github.com/castai/privatelink-webhook/internal/registry"
	"github.com/castai/privatelink-webhook/internal/registry/awsecr"
	"github.com/castai/privatelink-webhook/test/aws/emulator"
)

// host is the registry of moto's account.
const host = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"

// startECR starts moto and makes the SDK use it for ECR. It returns a client of the
// SDK, to inspect the effect of ours.
func startECR(t *testing.T) *sdk.Client {
	t.Helper()
	url := emulator.StartForTest(t)
	missing := filepath.Join(t.TempDir(), "none")
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL_ECR": url, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_SESSION_TOKEN": "", "AWS_PROFILE": "",
		"AWS_CONFIG_FILE": missing, "AWS_SHARED_CREDENTIALS_FILE": missing, "AWS_USE_FIPS_ENDPOINT": "", "AWS_USE_DUALSTACK_ENDPOINT": "", "AWS_EC2_METADATA_DISABLED": "true",
	} {
		t.Setenv(name, value)
	}
	loaded, err := config.LoadDefaultConfig(t.Context(), config.WithRegion("eu-central-1"))
	if err != nil {
		t.Fatal(err)
	}
	return sdk.NewFromConfig(loaded)
}

// The steps build on each other.
func TestECRControlPlane(t *testing.T) {
	api := startECR(t)
	ctx := t.Context()
	var warned []string
	settings := awsecr.Settings{
		TagMutability: "IMMUTABLE", Encryption: "KMS", ScanOnPush: true, Tags: map[string]string{"team": "infra"},
		LifecyclePolicy:  `{"rules":[{"rulePriority":1,"selection":{"tagStatus":"untagged","countType":"imageCountMoreThan","countNumber":5},"action":{"type":"expire"}}]}`,
		RepositoryPolicy: `{"Version":"2012-10-17","Statement":[{"Sid":"pull","Effect":"Allow","Principal":"*","Action":["ecr:BatchGetImage"]}]}`,
	}
	r, err := awsecr.New(ctx, awsecr.Config{Prefix: host + "/castai", Settings: func(string) awsecr.Settings { return settings }, Warn: func(m string) { warned = append(warned, m) }})
	if err != nil {
		t.Fatal(err)
	}
	agent, other := host+"/castai/agent", host+"/castai/other"

	t.Run("missing repositories", func(t *testing.T) {
		missing, err := r.Missing(ctx, []string{agent, other})
		if diff := cmp.Diff([]string{agent, other}, missing); err != nil || diff != "" {
			t.Fatal(err, diff)
		}
	})
	t.Run("create a repository with settings", func(t *testing.T) {
		for range 2 { // the second time it exists
			if err := r.Create(ctx, agent); err != nil {
				t.Fatal(err)
			}
		}
		out, err := api.DescribeRepositories(ctx, &sdk.DescribeRepositoriesInput{RepositoryNames: []string{"castai/agent"}})
		if err != nil {
			t.Fatal(err)
		}
		got := out.Repositories[0]
		if got.ImageTagMutability != "IMMUTABLE" || got.EncryptionConfiguration.EncryptionType != "KMS" || !got.ImageScanningConfiguration.ScanOnPush {
			t.Errorf("%+v", got)
		}
		tags, err := api.ListTagsForResource(ctx, &sdk.ListTagsForResourceInput{ResourceArn: got.RepositoryArn})
		if err != nil || len(tags.Tags) != 1 || *tags.Tags[0].Key != "team" || *tags.Tags[0].Value != "infra" {
			t.Errorf("tags %v %v", tags, err)
		}
		name := &sdk.GetLifecyclePolicyInput{RepositoryName: aws.String("castai/agent")}
		if lifecycle, err := api.GetLifecyclePolicy(ctx, name); err != nil || *lifecycle.LifecyclePolicyText != settings.LifecyclePolicy {
			t.Errorf("lifecycle policy %v %v", lifecycle, err)
		}
		if policy, err := api.GetRepositoryPolicy(ctx, &sdk.GetRepositoryPolicyInput{RepositoryName: name.RepositoryName}); err != nil || !strings.Contains(*policy.PolicyText, "ecr:BatchGetImage") {
			t.Errorf("repository policy %v %v", policy, err)
		}
	})
	t.Run("list repositories", func(t *testing.T) {
		missing, err := r.Missing(ctx, []string{agent, other})
		if diff := cmp.Diff([]string{other}, missing); err != nil || diff != "" {
			t.Error(err, diff)
		}
		all, err := r.Repositories(ctx, host+"/castai")
		if diff := cmp.Diff([]string{agent}, all); err != nil || diff != "" {
			t.Error(err, diff)
		}
	})
	t.Run("create a repository with an invalid name", func(t *testing.T) {
		err := r.Create(ctx, host+"/castai/A__b")
		if err == nil || !strings.Contains(err.Error(), "privatelink.yaml") {
			t.Error(err)
		}
	})
	t.Run("get a token", func(t *testing.T) {
		c, err := r.Credential(ctx)
		if err != nil || c.Username != "AWS" || c.Password == "" {
			t.Errorf("%q %v", c.Username, err)
		}
	})
	t.Run("an account setting that moto does not have", func(t *testing.T) {
		shares, err := r.SharesBlobs(ctx)
		if shares || err != nil || len(warned) != 1 {
			t.Errorf("%t %v %q", shares, err, warned)
		}
	})
	t.Run("list and delete images", func(t *testing.T) { testImages(t, api, r, agent) })
}

func testImages(t *testing.T, api *sdk.Client, r *awsecr.Registry, repository string) {
	ctx := t.Context()
	const count = 105 // more than one page of 100
	// moto computes the digest of an image from its layers.
	pushed := map[digest.Digest]string{}
	for i := range count {
		tag := fmt.Sprintf("v%d", i)
		manifest := fmt.Sprintf(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":%q,"size":%d},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":%q,"size":1}]}`, digest.FromString(tag), i, digest.FromString("layer "+tag))
		out, err := api.PutImage(ctx, &sdk.PutImageInput{RepositoryName: aws.String("castai/agent"), ImageTag: &tag, ImageManifest: &manifest, ImageManifestMediaType: aws.String("application/vnd.oci.image.manifest.v1+json")})
		if err != nil {
			t.Fatal(err)
		}
		pushed[digest.Digest(*out.Image.ImageId.ImageDigest)] = tag
	}
	all, err := r.Images(ctx, repository)
	if err != nil || len(all) != count {
		t.Fatalf("%d images: %v", len(all), err)
	}
	var digests []digest.Digest
	for _, i := range all {
		if want := pushed[i.Digest]; len(i.Tags) != 1 || i.Tags[0] != want || i.Archived || i.Pushed.IsZero() {
			t.Errorf("%+v, want the tag %s", i, want)
		}
		digests = append(digests, i.Digest)
	}
	left, err := r.Delete(ctx, repository, append(digests[1:], digest.FromString("gone"))...)
	if err != nil || len(left) > 0 {
		t.Errorf("%v %v", left, err)
	}
	if all, err = r.Images(ctx, repository); err != nil || len(all) != 1 || all[0].Digest != digests[0] {
		t.Errorf("%v %v", all, err)
	}
	if _, err := r.Images(ctx, host+"/castai/other"); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("%v", err)
	}
}
