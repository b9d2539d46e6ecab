// SPDX-License-Identifier: Apache-2.0

// Package registry checks the private registry: that it can be read, and that
// all required images are there with the digests of the lock file, for the
// platforms of all nodes.
//
// It reads manifests and, of an image without an index, its configuration. The
// facts that come from a cluster or a file are functions of Config, so that an
// error makes only those checks unknown that need the fact.
package registry

import (
	"context"
	"io"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/castai/privatelink-webhook/internal/doctor"
)

// Group is the name of the group.
const Group = "registry"

// parallel is the number of concurrent requests, far below the 2000 manifests
// per second that ECR allows.
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/service-quotas.html
const parallel = 16

// RequiredImage is an image that the cluster needs.
type RequiredImage struct {
	// Target is the reference in the private registry.
	Target string
	// Digest is the expected digest; empty if it is not known.
	Digest digest.Digest
	// AllPlatforms is set if the image was copied with all its platforms. It is
	// not set if that is not known.
	AllPlatforms bool
	// IsChart is set for a Helm chart, which is of no platform.
	IsChart bool
}

// Config is the input of the checks. All fields except ECR are required.
type Config struct {
	// Registry is the prefix of all targets.
	Registry string
	Client   Client
	// ECR is the API of the registry; nil if it is not ECR.
	ECR ECR
	// Images returns the required images.
	Images func(context.Context) ([]RequiredImage, error)
	// Platforms returns the platforms of the Linux nodes, such as linux/arm64.
	Platforms func(context.Context) ([]string, error)
	// Webhook returns the image of the webhook's Deployment.
	Webhook func(context.Context) (string, error)
	// Mirror is the command that copies the images, for remedies, such as
	// "privatelink mirror --config privatelink.yaml".
	Mirror string
	// Install are the commands that install the webhook, for remedies.
	Install string
}

// Client reads from registries. Its errors are those of package registry.
type Client interface {
	Resolve(ctx context.Context, repository, tagOrDigest string) (ocispec.Descriptor, error)
	Manifest(ctx context.Context, repository string, d ocispec.Descriptor) ([]byte, error)
	Blob(ctx context.Context, repository string, d ocispec.Descriptor) (io.ReadCloser, error)
}

// ECR is the part of the ECR API that the checks use.
type ECR interface {
	Credential(ctx context.Context) (auth.Credential, error)
	Missing(ctx context.Context, repositories []string) ([]string, error)
}

// LoginAction is the IAM action of a login to ECR. It applies to no repository.
const LoginAction = "ecr:GetAuthorizationToken"

// Actions returns the IAM actions that the checks need on the repositories of ECR.
func Actions() []string {
	return []string{"ecr:BatchGetImage", "ecr:DescribeRepositories", "ecr:GetDownloadUrlForLayer"}
}

// Checks returns the checks of the group.
func Checks(c Config) []doctor.Check {
	k := &checker{Config: c}
	login := []string{Group + "/login"}
	return []doctor.Check{
		{Group: Group, Name: "login", Elements: []doctor.Element{doctor.Registry}, Access: true, Run: k.login,
			What: "the registry can be read",
			Why:  "otherwise nothing in it can be checked, and images cannot be copied"},
		{Group: Group, Name: "repositories", Elements: []doctor.Element{doctor.Registry}, Needs: login, Run: k.repositories,
			What: "every image has its repository in ECR",
			Why:  "ECR does not create repositories on a pull, and on a push only with a repository creation template"},
		{Group: Group, Name: "images", Elements: []doctor.Element{doctor.Registry}, Needs: []string{Group + "/login", Group + "/repositories"}, Run: k.images,
			What: "every image is in the registry, with the digest of the lock file",
			Why:  "nodes without a route to the internet have no other registry to pull from"},
		{Group: Group, Name: "platforms", Elements: []doctor.Element{doctor.Registry}, Needs: []string{Group + "/login", Group + "/repositories", Group + "/images"}, Run: k.platforms,
			What: "every image is available for the architectures of all Linux nodes",
			Why:  "a pod on a node of another architecture fails with: no match for platform in manifest"},
		{Group: Group, Name: "webhook-image", Elements: []doctor.Element{doctor.Registry}, Needs: login, Run: k.webhook,
			What: "the webhook's own image is in the registry, with the digest of the lock file, for the architectures of all Linux nodes",
			Why:  "a replica that moves to a new node cannot start, and while no replica runs, pods with public images are refused"},
	}
}

// checker shares facts between the checks.
type checker struct {
	Config
	listed   doctor.Once[[]RequiredImage] // of Config.Images
	required doctor.Once[[]RequiredImage]
	missing  doctor.Once[[]string]
	states   doctor.Once[[]imageState]
}

// imageState is the state of a required image in the registry.
type imageState struct {
	RequiredImage
	repository string
	descriptor ocispec.Descriptor
	err        error
}
