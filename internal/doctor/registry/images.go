// SPDX-License-Identifier: Apache-2.0

// Package registry looks at the private registry: whether it lets us in, and
// whether each image that the cluster needs is there, as the lock file has it
// and for every kind of node.
//
// It reads manifests, and of an image without an index its configuration. What
// a cluster or a file has to tell is asked for by functions, so that one that
// cannot be read leaves a check unseen and the others whole.
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

// parallel is how many requests are under way at once. ECR grants two thousand
// manifests a second; more of a customer's connections would win nothing.
const parallel = 16

// Image is one that has to be there.
type Image struct {
	// Target is the reference in the private registry.
	Target string
	// Digest is what it has to stand for; empty if nobody knows.
	Digest digest.Digest
	// Whole says that no platform was left out when it was copied; false also
	// where nobody knows.
	Whole bool
}

// Config is what the checks need; all is required but ECR.
type Config struct {
	// Registry is the prefix below which images live.
	Registry string
	// Client reads it.
	Client Client
	// ECR is its API; nil if it is another registry.
	ECR ECR
	// Images are those that have to be there: of the lock file or the cluster.
	Images func(context.Context) ([]Image, error)
	// Platforms are those of the cluster's nodes, such as linux/arm64.
	Platforms func(context.Context) ([]string, error)
	// Webhook is the image of the webhook's own Deployment.
	Webhook func(context.Context) (string, error)
	// Copy is the command that copies Images, for remedies, such as
	// "privatelink mirror --config privatelink.yaml".
	Copy string
}

// Client reads registries; its errors are those of package registry.
type Client interface {
	Resolve(ctx context.Context, repository, tagOrDigest string) (ocispec.Descriptor, error)
	Manifest(ctx context.Context, repository string, d ocispec.Descriptor) ([]byte, error)
	Blob(ctx context.Context, repository string, d ocispec.Descriptor) (io.ReadCloser, error)
}

// ECR is what only ECR has.
type ECR interface {
	Credential(ctx context.Context) (auth.Credential, error)
	Missing(ctx context.Context, repositories []string) ([]string, error)
}

// Checks returns the checks of the group.
func Checks(c Config) []doctor.Check {
	l := &looking{Config: c}
	login := []string{Group + "/login"}
	return []doctor.Check{
		{Group: Group, Name: "login", Run: l.login,
			What: "the registry lets us read",
			Why:  "nothing else can be looked at there, and images cannot be copied"},
		{Group: Group, Name: "repositories", Needs: login, Run: l.repositories,
			What: "every image has its repository in ECR",
			Why:  "ECR makes none by itself on a pull, nor, unless a template says so, on a push"},
		{Group: Group, Name: "images", Needs: login, Run: l.images,
			What: "every image is in the registry, with the digest of the lock file",
			Why:  "nodes without a route to the Internet have no other place to pull from"},
		{Group: Group, Name: "platforms", Needs: login, Run: l.platforms,
			What: "every image is there for the architectures of all nodes",
			Why:  "a pod on a node of another architecture fails with: no match for platform in manifest"},
		{Group: Group, Name: "webhook-image", Needs: login, Run: l.webhook,
			What: "the webhook's own image is in the registry, for the architectures of all nodes",
			Why:  "a replica that is replaced on a new node cannot start, and while none runs no pod with a public image is let in"},
	}
}

// looking keeps what several checks ask.
type looking struct {
	Config
	wanted  doctor.Once[[]Image]
	missing doctor.Once[[]string]
	found   doctor.Once[[]state]
}

// state is what the registry has of an image.
type state struct {
	Image
	repository string
	descriptor ocispec.Descriptor
	err        error
}
