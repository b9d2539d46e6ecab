// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/slok/kubewebhook/v2/pkg/model"
	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/castai/privatelink-webhook/internal/jsonscan"
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
	DryRun      span                  `json:"dryRun"`
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

// decodeReview reads an AdmissionReview v1. The pods in it are slices of body. The
// HTTP handler of kubewebhook uses the API machinery's codecs, at several times the
// cost of all the rest, and ends in a nil dereference for a review without a
// request.
func decodeReview(readers *jsonscan.Pool, body []byte) (*admissionv1.AdmissionReview, error) {
	r, err := decodeQuickly(readers, body)
	if err != nil {
		r, err = decodeStrictly(body)
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("not an AdmissionReview: %s", cut(err.Error(), 300))
	case r.Kind != "AdmissionReview" || r.APIVersion != reviewVersion:
		return nil, fmt.Errorf("have %.80q of %.80q, want AdmissionReview of %s: set admissionReviewVersions to [v1]", r.Kind, r.APIVersion, reviewVersion)
	case r.Request == nil:
		return nil, errors.New("the AdmissionReview has no request")
	case r.Request.UID == "":
		return nil, errors.New("the AdmissionReview's request has no uid")
	}
	q := r.Request
	dryRun := string(q.DryRun.in(body).Raw) == "true"
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

// decodeStrictly decides which texts are reviews.
func decodeStrictly(body []byte) (r admissionReview, err error) {
	// Duplicate names and invalid UTF-8 inside the pod are judged by the strict
	// scan of the pod. They are no reason to refuse the review.
	err = json.Unmarshal(body, &r, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	return r, err
}

// decodeQuickly takes a third of the time of decodeStrictly, for the reviews of API
// servers. Its error only says that it is not used for this one.
func decodeQuickly(readers *jsonscan.Pool, body []byte) (r admissionReview, err error) {
	text := readers.Get(body)
	defer readers.Put(text)
	for text.Object(); text.Next(); {
		switch string(text.Name()) {
		case "apiVersion":
			r.APIVersion = string(text.Text())
		case "kind":
			r.Kind = string(text.Text())
		case "request":
			r.Request = readRequest(text)
		default:
			text.Skip()
		}
	}
	return r, text.End()
}

func readRequest(text *jsonscan.Reader) *admissionRequest {
	if text.Kind() == 'n' {
		text.Skip()
		return nil
	}
	q := new(admissionRequest)
	for text.Object(); text.Next(); {
		switch string(text.Name()) {
		case "uid":
			q.UID = types.UID(text.Text())
		case "operation":
			q.Operation = admissionv1.Operation(text.Text())
		case "name":
			q.Name = string(text.Text())
		case "namespace":
			q.Namespace = string(text.Text())
		case "subResource":
			q.SubResource = string(text.Text())
		case "resource":
			q.Resource = readResource(text)
		case "dryRun":
			q.DryRun = readSpan(text)
		case "object":
			q.Object = readSpan(text)
		case "oldObject":
			q.OldObject = readSpan(text)
		default:
			text.Skip()
		}
	}
	return q
}

func readResource(text *jsonscan.Reader) (r groupResource) {
	for text.Object(); text.Next(); {
		switch string(text.Name()) {
		case "group":
			r.Group = string(text.Text())
		case "resource":
			r.Resource = string(text.Text())
		default:
			text.Skip()
		}
	}
	return r
}

func readSpan(text *jsonscan.Reader) span {
	v := text.Value()
	end := int64(text.Offset())
	return span{end - int64(len(v)), end}
}

// encodeResponse writes an AdmissionReview v1 with the fields that the API server
// reads of a mutating webhook.
func encodeResponse(r *model.MutatingAdmissionResponse) []byte {
	b := make([]byte, 0, 256+base64.StdEncoding.EncodedLen(len(r.JSONPatchPatch)))
	b = append(b, `{"kind":"AdmissionReview","apiVersion":"`+reviewVersion+`","response":{"uid":`...)
	b, _ = jsontext.AppendQuote(b, r.ID) // the only error is of invalid UTF-8, which is replaced
	b = append(b, `,"allowed":true,"patch":"`...)
	b = base64.StdEncoding.AppendEncode(b, r.JSONPatchPatch)
	b = append(b, `","patchType":"JSONPatch"`...)
	for i, w := range r.Warnings {
		if i == 0 {
			b = append(b, `,"warnings":[`...)
		} else {
			b = append(b, ',')
		}
		b, _ = jsontext.AppendQuote(b, w)
	}
	if len(r.Warnings) > 0 {
		b = append(b, ']')
	}
	return append(b, "}}"...)
}
