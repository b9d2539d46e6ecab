// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
)

// serviceName is the name under which an API server knows the webhook, and so
// the one in the certificate.
const serviceName = "privatelink-webhook.castai-privatelink.svc"

//go:embed testdata/review.json
var reviewJSON []byte

// A request is one HTTP request, byte for byte as an API server sends it: one
// AdmissionReview of a two-container pod. Only the uid differs between calls.
type request struct {
	bytes []byte
	uid   []byte // the part of bytes that holds the uid
	body  int    // size of the body
}

const noUID = "00000000-0000-0000-0000-000000000000"

func newRequest() (request, error) {
	var body bytes.Buffer
	if err := json.Compact(&body, reviewJSON); err != nil {
		return request{}, fmt.Errorf("review.json: %w", err)
	}
	body.WriteByte('\n') // the API server's encoder ends each object with one
	if n := bytes.Count(body.Bytes(), []byte(noUID)); n != 1 {
		return request{}, fmt.Errorf("review.json: %d places for the uid, want 1", n)
	}
	b := fmt.Appendf(nil, "POST /mutate?timeout=3s HTTP/1.1\r\n"+
		"Host: %s:443\r\n"+
		"User-Agent: kube-apiserver-admission\r\n"+
		"Content-Length: %d\r\n"+
		"Accept: application/json, */*\r\n"+
		"Content-Type: application/json\r\n"+
		"Accept-Encoding: gzip\r\n\r\n", serviceName, body.Len())
	b = append(b, body.Bytes()...)
	return request{bytes: b, uid: uidIn(b), body: body.Len()}, nil
}

func uidIn(b []byte) []byte {
	at := bytes.Index(b, []byte(noUID))
	return b[at : at+len(noUID)]
}

// clone is a copy for one connection to write its uids into.
func (r request) clone() request {
	b := bytes.Clone(r.bytes)
	return request{bytes: b, uid: uidIn(b), body: r.body}
}

// number gives the request the uid that belongs to n.
func (r request) number(n uint64) {
	var raw [8]byte
	for i := range raw {
		raw[i] = byte(n >> (8 * (7 - i)))
	}
	var digits [16]byte
	hex.Encode(digits[:], raw[:])
	copy(r.uid, "00000000-0000-4000-8000-000000000000")
	copy(r.uid[19:23], digits[:4])
	copy(r.uid[24:], digits[4:])
}
