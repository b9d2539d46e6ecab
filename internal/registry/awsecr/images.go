// SPDX-License-Identifier: Apache-2.0

package awsecr

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/opencontainers/go-digest"
)

// Image is a manifest or an index in a repository.
type Image struct {
	Digest       digest.Digest
	Tags         []string
	MediaType    string
	ArtifactType string
	Size         int64         // of its layers, as ECR counts them
	Subject      digest.Digest // of a referrer, what it refers to
	Archived     bool          // it cannot be pulled
	Pushed       time.Time
	Pulled       time.Time // zero if ECR knows of no pull
}

// Images lists all images of a repository, named with its host, archived ones
// as well. A repository that does not exist is registry.ErrNotFound.
// https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_DescribeImages.html
func (r *Registry) Images(ctx context.Context, repository string) ([]Image, error) {
	path, err := r.path(repository)
	if err != nil {
		return nil, err
	}
	pages := ecr.NewDescribeImagesPaginator(r.api, &ecr.DescribeImagesInput{RegistryId: &r.host.Account, RepositoryName: &path, MaxResults: aws.Int32(page),
		Filter: &types.DescribeImagesFilter{ImageStatus: types.ImageStatusFilterAny}}) // without it, none that are archived
	var all []Image
	for pages.HasMorePages() {
		out, err := pages.NextPage(ctx)
		if err != nil {
			return nil, r.explain(err, "DescribeImages", path)
		}
		for _, d := range out.ImageDetails {
			all = append(all, image(d))
		}
	}
	return all, nil
}

func image(d types.ImageDetail) Image {
	return Image{
		Digest:       digest.Digest(aws.ToString(d.ImageDigest)),
		Tags:         slices.Sorted(slices.Values(d.ImageTags)),
		MediaType:    aws.ToString(d.ImageManifestMediaType),
		ArtifactType: aws.ToString(d.ArtifactMediaType),
		Size:         aws.ToInt64(d.ImageSizeInBytes),
		Subject:      digest.Digest(aws.ToString(d.SubjectManifestDigest)),
		Archived:     d.ImageStatus == types.ImageStatusArchived,
		Pushed:       aws.ToTime(d.ImagePushedAt),
		Pulled:       aws.ToTime(d.LastRecordedPullTime),
	}
}

// ErrReferenced is of an image that an index of the same repository names. The
// index has to be deleted before it.
var ErrReferenced = errors.New("an index names it")

// NotDeleted is an image that Delete left.
type NotDeleted struct {
	Digest digest.Digest
	Err    error // ErrReferenced, or what AWS says
}

// Delete deletes images of a repository, named with its host, with all their
// tags. It returns those that are still there; the error is of a request that
// failed as a whole, after which nothing more was asked for. One that is not
// there any more is no failure.
//
// The order is the caller's: referrers, indexes, then what the indexes name.
// https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_BatchDeleteImage.html
func (r *Registry) Delete(ctx context.Context, repository string, digests ...digest.Digest) ([]NotDeleted, error) {
	path, err := r.path(repository)
	if err != nil {
		return nil, err
	}
	var left []NotDeleted
	for some := range slices.Chunk(digests, batch) {
		ids := make([]types.ImageIdentifier, len(some))
		for i, d := range some {
			ids[i].ImageDigest = aws.String(d.String())
		}
		out, err := r.api.BatchDeleteImage(ctx, &ecr.BatchDeleteImageInput{RegistryId: &r.host.Account, RepositoryName: &path, ImageIds: ids})
		if err != nil {
			return left, r.explain(err, "BatchDeleteImage", path)
		}
		for _, f := range out.Failures {
			if f.FailureCode != types.ImageFailureCodeImageNotFound {
				left = append(left, notDeleted(f))
			}
		}
	}
	return left, nil
}

func notDeleted(f types.ImageFailure) NotDeleted {
	n := NotDeleted{Err: fmt.Errorf("%s: %s", f.FailureCode, aws.ToString(f.FailureReason))}
	if f.ImageId != nil {
		n.Digest = digest.Digest(aws.ToString(f.ImageId.ImageDigest))
	}
	if f.FailureCode == types.ImageFailureCodeImageReferencedByManifestList {
		n.Err = fmt.Errorf("%w: %s", ErrReferenced, aws.ToString(f.FailureReason))
	}
	return n
}
