// SPDX-License-Identifier: Apache-2.0

package fakeecr

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"time"
)

// token is an authorization token.
type token struct {
	expires time.Time
	uses    int
}

// Token returns a new password for the user AWS.
func (s *Server) Token() string {
	password, _ := s.newToken()
	return password
}

func (s *Server) newToken() (password string, expires time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	life := s.switches.TokenLife
	if life == 0 {
		life = 12 * time.Hour
	}
	password, expires = rand.Text(), time.Now().Add(life)
	s.tokens[password] = &token{expires: expires}
	return password, expires
}

// Expire makes all existing tokens expire.
func (s *Server) Expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.tokens {
		t.expires = time.Time{}
	}
}

// authenticate returns false, and sends the response, if the credentials are
// invalid.
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/registry_auth.html
func (s *Server) authenticate(c *call) bool {
	if c.switches.Anonymous {
		return true
	}
	user, password, ok := c.r.BasicAuth()
	known, valid := s.useToken(password)
	switch {
	case !ok || user != "AWS" || !known:
		s.challenge(c)
		c.send(http.StatusUnauthorized, "text/plain; charset=utf-8", []byte("Not Authorized\n"))
	case !valid:
		status := c.switches.ExpiredStatus
		if status == 0 {
			status = http.StatusForbidden
		}
		if status == http.StatusUnauthorized {
			s.challenge(c)
		}
		c.fail(status, "DENIED", "Your authorization token has expired. Reauthenticate and try again.")
	default:
		return true
	}
	return false
}

func (s *Server) challenge(c *call) {
	c.reply.Header().Set("WWW-Authenticate", fmt.Sprintf(`Basic realm="https://%s/",service="ecr.amazonaws.com"`, c.Host))
}

// useToken counts a use of a token, and reports whether it exists and is valid.
func (s *Server) useToken(password string) (known, valid bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, known := s.tokens[password]
	if !known {
		return false, false
	}
	t.uses++
	maxUses := s.switches.TokenUses
	return true, time.Now().Before(t.expires) && (maxUses == 0 || t.uses <= maxUses)
}

// bucket is the state of a quota.
type bucket struct {
	tokens float64
	last   time.Time
}

// withinQuota counts a request against the quota of an action, and reports whether
// it is within the quota.
func (s *Server) withinQuota(action string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	q, limited := s.switches.Quotas[action]
	if !limited {
		return true
	}
	now := time.Now()
	b, ok := s.buckets[action]
	if !ok {
		b = &bucket{tokens: float64(q.Burst), last: now}
		s.buckets[action] = b
	}
	b.tokens = min(float64(q.Burst), b.tokens+q.PerSecond*now.Sub(b.last).Seconds())
	b.last = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}
