// SPDX-License-Identifier: Apache-2.0

package fakeecr

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"time"
)

// token is a password that was given out.
type token struct {
	ends time.Time
	uses int // so far
}

// Token gives out a password for the user AWS.
func (s *Server) Token() string {
	password, _ := s.newToken()
	return password
}

func (s *Server) newToken() (password string, ends time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	life := s.switches.TokenLife
	if life == 0 {
		life = 12 * time.Hour
	}
	password, ends = rand.Text(), time.Now().Add(life)
	s.tokens[password] = &token{ends: ends}
	return password, ends
}

// Expire ends all tokens that were given out.
func (s *Server) Expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.tokens {
		t.ends = time.Time{}
	}
}

// admit answers those who may not in, and tells whether others go on.
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/registry_auth.html
func (s *Server) admit(c *call) bool {
	if c.switches.Anonymous {
		return true
	}
	user, password, ok := c.r.BasicAuth()
	known, valid := s.use(password)
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

func (s *Server) use(password string) (known, valid bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, known := s.tokens[password]
	if !known {
		return false, false
	}
	t.uses++
	most := s.switches.TokenUses
	return true, time.Now().Before(t.ends) && (most == 0 || t.uses <= most)
}

// bucket has what is left of a quota.
type bucket struct {
	left float64
	last time.Time
}

// withinQuota takes one request from an action's quota.
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
		b = &bucket{left: float64(q.Burst), last: now}
		s.buckets[action] = b
	}
	b.left = min(float64(q.Burst), b.left+q.PerSecond*now.Sub(b.last).Seconds())
	b.last = now
	if b.left < 1 {
		return false
	}
	b.left--
	return true
}
