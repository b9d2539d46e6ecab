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

// Detail describes a manifest or an index in a repository.
type Detail struct {
	Digest       digest.Digest
	Tags         []string
	MediaType    string
	ArtifactType string
	Size         int64         // total of the layers, in bytes
	Subject      digest.Digest // of a referrer
	Archived     bool          // and therefore cannot be pulled
	Pushed       time.Time
	Pulled       time.Time // zero if it was never pulled
}

// Images lists all images of a repository, including archived ones. The name
// includes the host. The error is registry.ErrNotFound if the repository does not
// exist.
// https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_DescribeImages.html
func (r *Registry) Images(ctx context.Context, repository string) ([]Detail, error) {
	path, err := r.path(repository)
	if err != nil {
		return nil, err
	}
	pages := ecr.NewDescribeImagesPaginator(r.api, &ecr.DescribeImagesInput{RegistryId: &r.host.Account, RepositoryName: &path, MaxResults: aws.Int32(maxPage),
		Filter: &types.DescribeImagesFilter{ImageStatus: types.ImageStatusFilterAny}}) // the default excludes archived images
	var all []Detail
	for pages.HasMorePages() {
		out, err := pages.NextPage(ctx)
		if err != nil {
			return nil, r.wrapError(err, "DescribeImages", path)
		}
		for _, d := range out.ImageDetails {
			all = append(all, newDetail(d))
		}
	}
	return all, nil
}

func newDetail(d types.ImageDetail) Detail {
	return Detail{
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

// ErrReferenced is the error for an image that is part of an index in the same
// repository. The index must be deleted first.
var ErrReferenced = errors.New("the image is part of an index")

// NotDeleted is an image that Delete could not delete.
type NotDeleted struct {
	Digest digest.Digest
	Err    error // ErrReferenced, or the reason that AWS returns
}

// Delete deletes images with all of their tags. The name of the repository includes
// the host. Delete returns the images that could not be deleted; images that do not
// exist are not among them. If a request fails, Delete returns its error without
// sending further requests.
//
// Images are deleted in the order given, which must be: referrers, indexes, images
// of the indexes.
// https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_BatchDeleteImage.html
func (r *Registry) Delete(ctx context.Context, repository string, digests ...digest.Digest) ([]NotDeleted, error) {
	path, err := r.path(repository)
	if err != nil {
		return nil, err
	}
	var failures []NotDeleted
	for chunk := range slices.Chunk(digests, maxBatch) {
		ids := make([]types.ImageIdentifier, len(chunk))
		for i, d := range chunk {
			ids[i].ImageDigest = aws.String(d.String())
		}
		out, err := r.api.BatchDeleteImage(ctx, &ecr.BatchDeleteImageInput{RegistryId: &r.host.Account, RepositoryName: &path, ImageIds: ids})
		if err != nil {
			return failures, r.wrapError(err, "BatchDeleteImage", path)
		}
		for _, f := range out.Failures {
			if f.FailureCode != types.ImageFailureCodeImageNotFound {
				failures = append(failures, newNotDeleted(f))
			}
		}
	}
	return failures, nil
}

func newNotDeleted(f types.ImageFailure) NotDeleted {
	n := NotDeleted{Err: fmt.Errorf("%s: %s", f.FailureCode, aws.ToString(f.FailureReason))}
	if f.ImageId != nil {
		n.Digest = digest.Digest(aws.ToString(f.ImageId.ImageDigest))
	}
	if f.FailureCode == types.ImageFailureCodeImageReferencedByManifestList {
		n.Err = fmt.Errorf("%w: %s", ErrReferenced, aws.ToString(f.FailureReason))
	}
	return n
}
