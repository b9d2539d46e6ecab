// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"time"
)

// maxBody is the size of the largest review of an object that etcd can store.
//
// etcd stores at most 1.5 MiB by default (--max-request-bytes). The API server
// encodes a review with encoding/json, which writes one byte of text in up to six
// (\u00XX for control characters, <, > and &), and an update has the old object,
// too: 2 × 6 × 1.5 MiB. Two more are for the request's other fields, such as the
// user's groups, which came in headers. Objects of up to 3 MiB reach admission
// (MaxRequestBodyBytes of k8s.io/apiserver), but above 1.5 MiB etcd refuses them.
const maxBody = 20 << 20

// Requests without credentials reach the handler, so that a body takes memory
// only within the slots of its size. Together they hold at most 16 MiB for each
// class, and 20 MiB in the last.
const (
	smallBody  = 16 << 10  // reviews of most pods; the number of connections bounds them
	mediumBody = 256 << 10 // reviews of pods with dozens of containers
)

const (
	// slotWait is how long a request waits for a slot. The API server waits for
	// three seconds.
	slotWait = 2 * time.Second
	// bodyTime is how long the body may take to arrive when it has a slot. The API
	// server sends it at once, so that only a client that sends slowly loses the
	// slot.
	bodyTime = time.Second
)

// bodies reads the bodies of requests into buffers that it reuses.
type bodies struct {
	medium, large *slots
	buffers       sync.Pool // of *[]byte with smallBody bytes
}

func newBodies() *bodies {
	return &bodies{medium: newSlots(64), large: newSlots(1), buffers: sync.Pool{New: func() any {
		b := make([]byte, smallBody)
		return &b
	}}}
}

// read returns the body of a request. The caller calls done when it does not use
// the body any longer, also if it was refused.
func (b *bodies) read(w http.ResponseWriter, r *http.Request) (body []byte, done func(), refused *refusal) {
	nothing := func() {}
	size := r.ContentLength
	if size > maxBody {
		return nil, nothing, tooLarge()
	}
	if size >= 0 && size <= smallBody {
		buffer := b.buffers.Get().(*[]byte)
		body = (*buffer)[:size]
		return body, func() { b.buffers.Put(buffer) }, fill(body, r)
	}
	class := b.large // also if the size is not known; the API server always says it
	if size >= 0 && size <= mediumBody {
		class = b.medium
	}
	if !class.acquire(r.Context(), slotWait) {
		w.Header().Set("Retry-After", "1")
		return nil, nothing, &refusal{http.StatusServiceUnavailable, "busy", "too many large requests at once"}
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTime)) // not supported by recorders of tests
	body, refused = receive(w, r)
	return body, class.release, refused
}

// receive reads a body that has a slot. Its buffer gets the announced size only
// after the beginning has arrived.
func receive(w http.ResponseWriter, r *http.Request) ([]byte, *refusal) {
	size := r.ContentLength
	if size < 0 {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return nil, tooLarge()
		}
		return body, unreadable(err)
	}
	beginning := make([]byte, smallBody)
	if refused := fill(beginning, r); refused != nil {
		return nil, refused
	}
	body := make([]byte, size)
	return body, fill(body[copy(body, beginning):], r)
}

func fill(b []byte, r *http.Request) *refusal {
	_, err := io.ReadFull(r.Body, b)
	return unreadable(err)
}

func unreadable(err error) *refusal {
	if err == nil {
		return nil
	}
	return &refusal{http.StatusBadRequest, "unreadable", "the body ended early: " + err.Error()}
}
