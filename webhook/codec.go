// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	jsonv1 "encoding/json"
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/slok/kubewebhook/v2/pkg/model"
	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
)

const reviewVersion = "admission.k8s.io/v1"

// admissionReview has the fields of an AdmissionReview v1 that are used.
type admissionReview struct {
	APIVersion string            `json:"apiVersion"`
	Kind       string            `json:"kind"`
	Request    *admissionRequest `json:"request"`
}

type admissionRequest struct {
	UID         types.UID             `json:"uid"`
	Operation   admissionv1.Operation `json:"operation"`
	Name        string                `json:"name"`
	Namespace   string                `json:"namespace"`
	SubResource string                `json:"subResource"`
	Resource    groupResource         `json:"resource"`
	DryRun      jsontext.Value        `json:"dryRun"`
	Object      span                  `json:"object"`
	OldObject   span                  `json:"oldObject"`
}

type groupResource struct {
	Group    string `json:"group"`
	Resource string `json:"resource"`
}

// span is the position of a JSON value in the decoder's input. A
// jsontext.Value would be a copy, and pods may have megabytes.
type span struct{ start, end int64 }

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (s *span) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	v, err := d.ReadValue()
	s.end = d.InputOffset()
	s.start = s.end - int64(len(v))
	return err
}

// in returns the value, which is not copied.
func (s span) in(body []byte) runtime.RawExtension {
	return runtime.RawExtension{Raw: body[s.start:s.end]}
}

// decodeReview reads an AdmissionReview v1 in one pass. The pods in it are
// slices of body. The HTTP handler of kubewebhook uses the API machinery's
// codecs, at several times the cost of all the rest, and ends in a nil
// dereference for a review without a request.
func decodeReview(body []byte) (*admissionv1.AdmissionReview, error) {
	var r admissionReview
	// Duplicate names and invalid UTF-8 inside the pod are judged by the strict
	// scan of the pod. They are no reason to refuse the review.
	err := json.Unmarshal(body, &r, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	switch {
	case err != nil:
		return nil, fmt.Errorf("not an AdmissionReview: %s", cut(err.Error(), 300))
	case r.Kind != "AdmissionReview" || r.APIVersion != reviewVersion:
		return nil, fmt.Errorf("have %.80q of %.80q, want AdmissionReview of %s; set admissionReviewVersions to [v1]", r.Kind, r.APIVersion, reviewVersion)
	case r.Request == nil:
		return nil, errors.New("the AdmissionReview has no request")
	case r.Request.UID == "":
		return nil, errors.New("the AdmissionReview's request has no uid")
	}
	q, dryRun := r.Request, r.Request.DryRun.Kind() == 't'
	return &admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{Kind: r.Kind, APIVersion: r.APIVersion},
		Request: &admissionv1.AdmissionRequest{
			UID: q.UID, Operation: q.Operation, Name: q.Name, Namespace: q.Namespace, SubResource: q.SubResource,
			Resource: metav1.GroupVersionResource{Group: q.Resource.Group, Resource: q.Resource.Resource},
			DryRun:   &dryRun,
			Object:   q.Object.in(body), OldObject: q.OldObject.in(body),
		},
	}, nil
}

// encodeResponse writes the answer that kubewebhook would write, with the same
// API types.
func encodeResponse(r *model.MutatingAdmissionResponse) ([]byte, error) {
	patchType := admissionv1.PatchTypeJSONPatch
	return jsonv1.Marshal(admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{Kind: "AdmissionReview", APIVersion: reviewVersion},
		Response: &admissionv1.AdmissionResponse{
			UID: types.UID(r.ID), Allowed: true, Warnings: r.Warnings, Patch: r.JSONPatchPatch, PatchType: &patchType,
		},
	})
}
