// SPDX-License-Identifier: Apache-2.0

//go:build aws

package aws

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	sdk "github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"github.com/castai/privatelink-webhook/internal/registry"
	"github.com/castai/privatelink-webhook/internal/registry/awsecr"
	"github.com/castai/privatelink-webhook/test/aws/emulator"
)

// host is that of moto's one account.
const host = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"

// emulate starts moto and makes the SDK ask it. It returns a client of the SDK,
// to look at what ours did.
func emulate(t *testing.T) *sdk.Client {
	t.Helper()
	starting, cancel := context.WithTimeout(t.Context(), 10*time.Minute) // the first time it is installed
	defer cancel()
	url, stop, err := emulator.Start(starting)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	nothing := filepath.Join(t.TempDir(), "none")
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL_ECR": url, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_SESSION_TOKEN": "", "AWS_PROFILE": "",
		"AWS_CONFIG_FILE": nothing, "AWS_SHARED_CREDENTIALS_FILE": nothing, "AWS_USE_FIPS_ENDPOINT": "", "AWS_USE_DUALSTACK_ENDPOINT": "", "AWS_EC2_METADATA_DISABLED": "true",
	} {
		t.Setenv(name, value)
	}
	loaded, err := config.LoadDefaultConfig(t.Context(), config.WithRegion("eu-central-1"))
	if err != nil {
		t.Fatal(err)
	}
	return sdk.NewFromConfig(loaded)
}

// One story, so that moto starts once.
func TestOurControlPlaneAgainstMoto(t *testing.T) {
	api := emulate(t)
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

	t.Run("repositories that are missing", func(t *testing.T) {
		missing, err := r.Missing(ctx, []string{agent, other})
		if diff := cmp.Diff([]string{agent, other}, missing); err != nil || diff != "" {
			t.Fatal(err, diff)
		}
	})
	t.Run("a repository with its settings", func(t *testing.T) {
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
	t.Run("repositories, of which one is there now", func(t *testing.T) {
		missing, err := r.Missing(ctx, []string{agent, other})
		if diff := cmp.Diff([]string{other}, missing); err != nil || diff != "" {
			t.Error(err, diff)
		}
		all, err := r.Repositories(ctx, host+"/castai")
		if diff := cmp.Diff([]string{agent}, all); err != nil || diff != "" {
			t.Error(err, diff)
		}
	})
	t.Run("a name that is not taken", func(t *testing.T) {
		err := r.Create(ctx, host+"/castai/A__b")
		if err == nil || !strings.Contains(err.Error(), "privatelink.yaml") {
			t.Error(err)
		}
	})
	t.Run("a token", func(t *testing.T) {
		c, err := r.Credential(ctx)
		if err != nil || c.Username != "AWS" || c.Password == "" {
			t.Errorf("%q %v", c.Username, err)
		}
	})
	t.Run("a setting that moto does not know", func(t *testing.T) {
		shares, err := r.SharesBlobs(ctx)
		if shares || err != nil || len(warned) != 1 {
			t.Errorf("%t %v %q", shares, err, warned)
		}
	})
	t.Run("images, listed and deleted", func(t *testing.T) { images(t, api, r, agent) })
}

func images(t *testing.T, api *sdk.Client, r *awsecr.Registry, repository string) {
	ctx := t.Context()
	const most = 105
	// Each has a layer of its own: of what moto makes digests.
	pushed := map[digest.Digest]string{}
	for i := range most {
		tag := fmt.Sprintf("v%d", i)
		manifest := fmt.Sprintf(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":%q,"size":%d},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":%q,"size":1}]}`, digest.FromString(tag), i, digest.FromString("layer "+tag))
		out, err := api.PutImage(ctx, &sdk.PutImageInput{RepositoryName: aws.String("castai/agent"), ImageTag: &tag, ImageManifest: &manifest, ImageManifestMediaType: aws.String("application/vnd.oci.image.manifest.v1+json")})
		if err != nil {
			t.Fatal(err)
		}
		pushed[digest.Digest(*out.Image.ImageId.ImageDigest)] = tag
	}
	all, err := r.Images(ctx, repository)
	if err != nil || len(all) != most {
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
