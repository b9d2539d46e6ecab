// SPDX-License-Identifier: Apache-2.0

package fakeecr

import (
	"maps"
	"math"
	"net/http"
	"slices"
	"time"
)

// Fault is something that goes wrong with requests that were let in.
type Fault struct {
	// Match says with which; default: all.
	Match func(Request) bool
	// Times is with how many of them; default: all.
	Times int
	// Status answers so, with the code and message, and does nothing else. On the
	// control plane the code is the exception's name.
	Status        int
	Code, Message string
	Header        http.Header
	// Abort cuts the connection without an answer.
	Abort bool
	// AbortAfter does what is asked for, and cuts the connection instead of saying
	// so.
	AbortAfter bool
	// CutAfter cuts it after so many bytes of the answer's body.
	CutAfter int64
	// CutUpload cuts it after so many bytes of the request's body.
	CutUpload int64
	// Corrupt changes the first byte of the answer's body.
	Corrupt bool
	// Delay comes first; Hang is one that only ends with the client.
	Delay time.Duration
	Hang  bool
}

// On matches requests of an action.
func On(action string) func(Request) bool { return func(r Request) bool { return r.Action == action } }

// Inject adds a fault. Of several that match a request, the oldest happens.
func (s *Server) Inject(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, &f)
}

// Mend takes all faults away.
func (s *Server) Mend() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

// fault takes the one that happens to a request, or nil.
func (s *Server) fault(r Request) *Fault {
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

// hit does what a fault does before a request is looked at, and tells whether it
// is answered with that.
func (s *Server) hit(c *call) bool {
	f := s.fault(c.Request)
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
			cut()
		case <-time.After(delay):
		}
	}
	if f.Abort {
		cut()
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

// spoil changes what is sent at an offset.
func (f *Fault) spoil(p []byte, offset int64) []byte {
	if !f.Corrupt || offset > 0 || len(p) == 0 {
		return p
	}
	p = slices.Clone(p)
	p[0] ^= 0xff
	return p
}
