// SPDX-License-Identifier: Apache-2.0

package fakeecr

import (
	"maps"
	"math"
	"net/http"
	"slices"
	"time"
)

// Fault is a failure of requests that passed authentication and quotas.
type Fault struct {
	// Match selects the requests; default: all.
	Match func(Request) bool
	// Times is the number of requests that fail; default: all.
	Times int
	// Status, Code, Message and Header are sent as the response, and the request is
	// not processed. On the control plane Code is the name of the exception.
	Status        int
	Code, Message string
	Header        http.Header
	// Abort closes the connection without processing the request.
	Abort bool
	// AbortAfter processes the request, and closes the connection without a response.
	AbortAfter bool
	// CutAfter closes the connection after this many bytes of the response body.
	CutAfter int64
	// CutUpload closes the connection after this many bytes of the request body.
	CutUpload int64
	// Corrupt changes the first byte of the response body.
	Corrupt bool
	// Delay delays the request. Hang delays it until the client disconnects.
	Delay time.Duration
	Hang  bool
}

// On returns a Match for the requests of an action.
func On(action string) func(Request) bool { return func(r Request) bool { return r.Action == action } }

// Inject adds a fault. If several faults match a request, the oldest applies.
func (s *Server) Inject(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, &f)
}

// ClearFaults removes all faults.
func (s *Server) ClearFaults() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

// takeFault returns the fault that applies to a request, or nil.
func (s *Server) takeFault(r Request) *Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.faults, func(f *Fault) bool { return f.Match == nil || f.Match(r) })
	if i < 0 {
		return nil
	}
	f := s.faults[i]
	if f.Times > 0 {
		if f.Times--; f.Times == 0 {
			s.faults = slices.Delete(s.faults, i, i+1)
		}
	}
	return f
}

// applyFault applies the fault of a request, if any. It returns true if the fault
// sent the response.
func (s *Server) applyFault(c *call) bool {
	f := s.takeFault(c.Request)
	if f == nil {
		return false
	}
	c.reply.fault = f
	delay := f.Delay
	if f.Hang {
		delay = time.Duration(math.MaxInt64)
	}
	if delay > 0 {
		select {
		case <-c.r.Context().Done():
			abort()
		case <-time.After(delay):
		}
	}
	if f.Abort {
		abort()
	}
	if f.Status == 0 {
		return false
	}
	maps.Copy(c.reply.Header(), f.Header)
	if c.r.Header.Get("X-Amz-Target") != "" {
		c.exception(f.Status, f.Code, f.Message)
	} else {
		c.fail(f.Status, f.Code, f.Message)
	}
	return true
}

// corrupt returns the bytes to send at an offset of the response body.
func (f *Fault) corrupt(p []byte, offset int64) []byte {
	if !f.Corrupt || offset > 0 || len(p) == 0 {
		return p
	}
	p = slices.Clone(p)
	p[0] ^= 0xff
	return p
}
