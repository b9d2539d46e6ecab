// SPDX-License-Identifier: Apache-2.0

package fakeecr

import (
	"maps"
	"slices"

	"github.com/opencontainers/go-digest"
)

// describeImages lists archived images only with a filter.
// https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_DescribeImages.html
func (s *Server) describeImages(in input) (object, *exception) {
	return s.withRepository(in, func(r *repository) object {
		list := []object{}
		for _, d := range slices.Sorted(maps.Keys(r.images)) {
			i := r.images[d]
			if status := in.Filter.ImageStatus; status == "ANY" || i.status() == status || status == "" && !i.archived {
				list = append(list, r.details(i))
			}
		}
		page, next := paginate(list, in)
		return withNext(object{"imageDetails": page}, next)
	})
}

func (i *image) status() string {
	if i.archived {
		return "ARCHIVED"
	}
	return "ACTIVE"
}

func (r *repository) details(i *image) object {
	var size int64
	for _, l := range i.document.Layers {
		size += l.Size
	}
	out := object{"repositoryName": r.name, "imageDigest": i.digest, "imageManifestMediaType": i.mediaType, "artifactMediaType": i.artifactType,
		"imagePushedAt": seconds(i.pushed), "imageSizeInBytes": size, "imageStatus": i.status()}
	if tags := r.tagsOf(i.digest); len(tags) > 0 {
		out["imageTags"] = tags
	}
	if i.document.Subject != nil {
		out["subjectManifestDigest"] = i.document.Subject.Digest
	}
	return out
}

func (id imageID) name() string {
	if id.ImageDigest != "" {
		return id.ImageDigest.String()
	}
	return id.ImageTag
}

func failure(id imageID, code, reason string) object {
	return object{"imageId": id, "failureCode": code, "failureReason": reason}
}

const imageNotFound = "Requested image not found"

func (s *Server) batchGetImage(in input) (object, *exception) {
	return s.withRepository(in, func(r *repository) object {
		images, failures := []object{}, []object{}
		for _, id := range in.ImageIDs {
			i := r.find(id.name())
			if i == nil || i.archived {
				failures = append(failures, failure(id, "ImageNotFound", imageNotFound))
				continue
			}
			images = append(images, object{"registryId": s.Account, "repositoryName": r.name, "imageManifest": string(i.text), "imageManifestMediaType": i.mediaType,
				"imageId": imageID{ImageDigest: i.digest, ImageTag: id.ImageTag}})
		}
		return object{"images": images, "failures": failures}
	})
}

func (s *Server) listImageReferrers(in input) (object, *exception) {
	return s.withRepository(in, func(r *repository) object {
		list := []object{}
		for _, i := range r.referrers(in.SubjectID.ImageDigest) {
			list = append(list, object{"digest": i.digest, "mediaType": i.mediaType, "artifactType": i.artifactType, "size": len(i.text), "annotations": i.document.Annotations})
		}
		return object{"referrers": list}
	})
}

// batchDeleteImage deletes an image that is identified by digest, or by its last
// tag. For other tags, it deletes the tag only. Images of an index are not deleted.
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/delete_image.html
func (s *Server) batchDeleteImage(in input) (object, *exception) {
	if len(in.ImageIDs) > 100 {
		return nil, &exception{"InvalidParameterException", "Invalid parameter at 'imageIds' failed to satisfy constraint: 'Member must have length less than or equal to 100'"}
	}
	return s.withRepository(in, func(r *repository) object {
		deleted, failures := []imageID{}, []object{}
		for _, id := range in.ImageIDs {
			i := r.find(id.name())
			switch {
			case i == nil:
				failures = append(failures, failure(id, "ImageNotFound", imageNotFound))
			case id.ImageDigest == "" && len(r.tagsOf(i.digest)) > 1:
				delete(r.names, id.ImageTag)
				deleted = append(deleted, id)
			case r.isIndexed(i.digest):
				failures = append(failures, failure(id, "ImageReferencedByManifestList", "Requested image referenced by manifest list: "+i.digest.String()))
			default:
				delete(r.images, i.digest)
				maps.DeleteFunc(r.names, func(_ string, d digest.Digest) bool { return d == i.digest })
				deleted = append(deleted, id)
			}
		}
		return object{"imageIds": deleted, "failures": failures}
	})
}
