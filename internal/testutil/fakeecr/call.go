// SPDX-License-Identifier: Apache-2.0

package fakeecr

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"time"
)

// Actions of the data plane.
const (
	PutImage                    = "PutImage"
	InitiateLayerUpload         = "InitiateLayerUpload"
	UploadLayerPart             = "UploadLayerPart"
	CompleteLayerUpload         = "CompleteLayerUpload"
	BatchCheckLayerAvailability = "BatchCheckLayerAvailability"
	BatchGetImage               = "BatchGetImage"
	GetDownloadURLForLayer      = "GetDownloadUrlForLayer"
	ListImages                  = "ListImages"
	// Storage stands for a download from S3, which has no action.
	Storage = "(storage)"
)

// call is a request in progress.
type call struct {
	Request
	w        http.ResponseWriter
	r        *http.Request
	kind     string // blobs, uploads, manifests, referrers, tags
	reply    responder
	switches Switches
}

// responder counts the bytes of the response, and applies a fault to them.
type responder struct {
	http.ResponseWriter
	call  *call
	fault *Fault
}

func (s *Server) newCall(w http.ResponseWriter, r *http.Request) *call {
	c := &call{r: r, w: w, switches: s.currentSwitches()}
	c.Request = Request{Time: time.Now(), Host: r.Host, Method: r.Method, Path: r.URL.Path, Status: http.StatusOK}
	c.reply = responder{ResponseWriter: w, call: c}
	c.parse()
	r.Body = &requestBody{ReadCloser: r.Body, call: c}
	return c
}

// parse parses the path and determines the action.
func (c *call) parse() {
	rest, ok := strings.CutPrefix(c.Path, "/v2/")
	if !ok {
		if strings.HasPrefix(c.Path, storagePath) {
			c.Action = Storage
		}
		return
	}
	for _, k := range []struct{ infix, kind string }{{"/blobs/uploads/", "uploads"}, {"/blobs/", "blobs"}, {"/manifests/", "manifests"}, {"/referrers/", "referrers"}, {"/tags/", "tags"}} {
		if i := strings.LastIndex(rest, k.infix); i > 0 {
			c.kind, c.Repository, c.Name = k.kind, rest[:i], rest[i+len(k.infix):]
			break
		}
	}
	c.Action = map[string]string{
		"uploads POST": InitiateLayerUpload, "uploads PATCH": UploadLayerPart, "uploads PUT": CompleteLayerUpload,
		"blobs HEAD": BatchCheckLayerAvailability, "blobs GET": GetDownloadURLForLayer,
		"manifests PUT": PutImage, "manifests GET": BatchGetImage, "manifests HEAD": BatchGetImage,
		"referrers GET": BatchGetImage, "tags GET": ListImages,
	}[c.kind+" "+c.Method]
}

// fail sends an error in the format of the registry protocol.
func (c *call) fail(status int, code, message string) {
	type registryError struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	}
	text, err := json.Marshal(map[string][]registryError{"errors": {{code, message}}})
	if err != nil {
		panic(err) // strings can be marshaled
	}
	c.send(status, "application/json; charset=utf-8", text)
}

// send sends a response, without the body for HEAD requests.
func (c *call) send(status int, contentType string, text []byte) {
	if contentType != "" {
		c.reply.Header().Set("Content-Type", contentType)
	}
	c.reply.WriteHeader(status)
	if c.Method != http.MethodHead {
		_, _ = c.reply.Write(text) // the client may have disconnected
	}
}

func (r *responder) WriteHeader(status int) {
	if r.fault != nil && r.fault.AbortAfter {
		abort()
	}
	r.call.Status = status
	r.ResponseWriter.WriteHeader(status)
}

func (r *responder) Write(p []byte) (int, error) {
	if f := r.fault; f != nil {
		p = f.corrupt(p, r.call.Sent)
		if f.CutAfter > 0 && r.call.Sent+int64(len(p)) >= f.CutAfter {
			n, _ := r.ResponseWriter.Write(p[:f.CutAfter-r.call.Sent])
			r.call.Sent += int64(n)
			_ = http.NewResponseController(r.ResponseWriter).Flush() // so that the client receives it
			abort()
		}
	}
	n, err := r.ResponseWriter.Write(p)
	r.call.Sent += int64(n)
	return n, err
}

// requestBody counts the bytes of the request, and applies a fault to them.
type requestBody struct {
	io.ReadCloser
	call *call
}

func (b *requestBody) Read(p []byte) (int, error) {
	f := b.call.reply.fault
	if f != nil && f.CutUpload > 0 {
		left := f.CutUpload - b.call.Got
		if left <= 0 {
			abort()
		}
		p = p[:min(int64(len(p)), left)]
	}
	n, err := b.ReadCloser.Read(p)
	b.call.Got += int64(n)
	return n, err
}
