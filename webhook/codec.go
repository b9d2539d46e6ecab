// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/slok/kubewebhook/v2/pkg/model"
	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/castai/privatelink-webhook/internal/podspec"
)

const reviewVersion = "admission.k8s.io/v1"

// decodeReview reads an AdmissionReview v1 in one pass. The pods inside it stay
// as they came, slices of body. kubewebhook's own HTTP handler goes through the
// API machinery's codecs, at several times the cost of all the rest, and ends
// in a nil dereference for a review without a request.
func decodeReview(decoders *podspec.Decoders, body []byte) (*admissionv1.AdmissionReview, error) {
	review, hasRequest := &admissionv1.AdmissionReview{}, false
	request := &admissionv1.AdmissionRequest{}
	read := func(d *jsontext.Decoder) error {
		return podspec.Object(d, func(name []byte) (err error) {
			switch string(name) {
			case "apiVersion":
				review.APIVersion, err = podspec.Text(d)
			case "kind":
				review.Kind, err = podspec.Text(d)
			case "request":
				hasRequest = d.PeekKind() == '{'
				err = podspec.Object(d, func(name []byte) error { return requestField(d, body, name, request) })
			default:
				err = d.SkipValue()
			}
			return err
		})
	}
	// Names twice and broken UTF-8 inside the pod are for the pod's own, strict
	// scan to judge: they are no reason to refuse the review.
	err := decoders.Read(body, read, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	switch {
	case err != nil:
		return nil, fmt.Errorf("not an AdmissionReview: %s", cut(err.Error(), 300))
	case review.Kind != "AdmissionReview" || review.APIVersion != reviewVersion:
		return nil, fmt.Errorf("have %.80q of %.80q, want AdmissionReview of %s; set admissionReviewVersions to [v1]", review.Kind, review.APIVersion, reviewVersion)
	case !hasRequest:
		return nil, errors.New("the AdmissionReview has no request")
	case request.UID == "":
		return nil, errors.New("the AdmissionReview's request has no uid")
	}
	review.Request = request
	return review, nil
}

func requestField(d *jsontext.Decoder, body []byte, name []byte, r *admissionv1.AdmissionRequest) (err error) {
	var s string
	switch string(name) {
	case "uid":
		s, err = podspec.Text(d)
		r.UID = types.UID(s)
	case "operation":
		s, err = podspec.Text(d)
		r.Operation = admissionv1.Operation(s)
	case "name":
		r.Name, err = podspec.Text(d)
	case "namespace":
		r.Namespace, err = podspec.Text(d)
	case "subResource":
		r.SubResource, err = podspec.Text(d)
	case "resource":
		err = podspec.Object(d, func(name []byte) (err error) {
			switch string(name) {
			case "group":
				r.Resource.Group, err = podspec.Text(d)
			case "resource":
				r.Resource.Resource, err = podspec.Text(d)
			default:
				err = d.SkipValue()
			}
			return err
		})
	case "dryRun":
		var v jsontext.Value
		v, err = d.ReadValue()
		dry := v.Kind() == 't'
		r.DryRun = &dry
	case "object":
		r.Object.Raw, err = slice(d, body)
	case "oldObject":
		r.OldObject.Raw, err = slice(d, body)
	default:
		err = d.SkipValue()
	}
	return err
}

// slice reads the next value and returns its bytes within body. The decoder's
// own result would be valid only until its next call.
func slice(d *jsontext.Decoder, body []byte) ([]byte, error) {
	v, err := d.ReadValue()
	end := int(d.InputOffset())
	return body[end-len(v) : end], err
}

// encodeResponse writes the answer that kubewebhook would write, with the same
// API types.
func encodeResponse(r *model.MutatingAdmissionResponse) ([]byte, error) {
	patchType := admissionv1.PatchTypeJSONPatch
	return json.Marshal(admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{Kind: "AdmissionReview", APIVersion: reviewVersion},
		Response: &admissionv1.AdmissionResponse{
			UID: types.UID(r.ID), Allowed: true, Warnings: r.Warnings, Patch: r.JSONPatchPatch, PatchType: &patchType,
		},
	})
}
