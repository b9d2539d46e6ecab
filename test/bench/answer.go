// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/castai/privatelink-webhook/internal/jsonpatch"
)

// A check returns an error if an answer to the request with this uid is wrong.
type check func(answer, uid []byte) error

// registry is the private registry of the benchmark's configuration.
const registry = "123456789012.dkr.ecr.us-east-1.amazonaws.com/castai"

// patchOf decodes an answer that allows the pod, down to its patch.
func patchOf(answer, uid []byte) ([]jsonpatch.Operation, error) {
	var review struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
		Response   struct {
			UID       string `json:"uid"`
			Allowed   bool   `json:"allowed"`
			PatchType string `json:"patchType"`
			Patch     []byte `json:"patch"`
		} `json:"response"`
	}
	if err := json.Unmarshal(answer, &review); err != nil {
		return nil, fmt.Errorf("answer: %w", err)
	}
	r := review.Response
	switch {
	case review.Kind != "AdmissionReview" || review.APIVersion != "admission.k8s.io/v1":
		return nil, fmt.Errorf("answer is a %s of %s", review.Kind, review.APIVersion)
	case r.UID != string(uid):
		return nil, fmt.Errorf("uid %q in the answer to %q", r.UID, uid)
	case !r.Allowed:
		return nil, errors.New("pod refused")
	case r.PatchType != "JSONPatch":
		return nil, fmt.Errorf("patch type %q", r.PatchType)
	}
	var ops []jsonpatch.Operation
	if err := json.Unmarshal(r.Patch, &ops); err != nil {
		return nil, fmt.Errorf("patch: %w", err)
	}
	return ops, nil
}

// checkOurs wants the two images, each under its own name in the registry, and
// no other change but an annotation.
func checkOurs(answer, uid []byte) error {
	others, err := imagesReplaced(answer, uid)
	if err != nil {
		return err
	}
	for _, op := range others {
		if op.Op != "add" || !strings.HasPrefix(op.Path, "/metadata/annotations") {
			return fmt.Errorf("unexpected operation %s %s", op.Op, op.Path)
		}
	}
	return nil
}

// checkPeer wants the two images, whatever else the peer does to the pod.
func checkPeer(answer, uid []byte) error {
	_, err := imagesReplaced(answer, uid)
	return err
}

// imagesReplaced is the patch without the operations that replace the images,
// which must be there.
func imagesReplaced(answer, uid []byte) ([]jsonpatch.Operation, error) {
	ops, err := patchOf(answer, uid)
	if err != nil {
		return nil, err
	}
	for _, want := range []jsonpatch.Operation{
		jsonpatch.Replace("/spec/containers/0/image", registry+"/agent:v0.161.1"),
		jsonpatch.Replace("/spec/containers/1/image", registry+"/x@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"),
	} {
		i := slices.IndexFunc(ops, func(op jsonpatch.Operation) bool {
			return op.Op == want.Op && op.Path == want.Path && op.Value == want.Value
		})
		if i < 0 {
			return nil, fmt.Errorf("the patch does not %s %s by %s", want.Op, want.Path, want.Value)
		}
		ops = slices.Delete(ops, i, i+1)
	}
	return ops, nil
}

// checkEcho wants the fixed answer.
func checkEcho(answer, _ []byte) error {
	if !bytes.Equal(answer, echoAnswer()) {
		return fmt.Errorf("%d bytes that are not the fixed answer", len(answer))
	}
	return nil
}

// A checker applies a check to each answer of one connection. Decoding them
// all would take the processor from the servers; so an answer that equals, but
// for the uid, one that has passed the check has passed it too.
type checker struct {
	check  check
	passed []byte
	uidAt  int // in passed; -1: an answer without uid
}

func (c *checker) verify(answer, uid []byte) error {
	if c.passed != nil {
		if c.uidAt >= 0 {
			copy(c.passed[c.uidAt:], uid)
		}
		if bytes.Equal(answer, c.passed) {
			return nil
		}
	}
	if err := c.check(answer, uid); err != nil {
		return err
	}
	c.passed = append(c.passed[:0], answer...)
	c.uidAt = bytes.Index(c.passed, uid)
	return nil
}
