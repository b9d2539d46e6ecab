// SPDX-License-Identifier: Apache-2.0

// Package ecr serves a registry that looks like a private ECR to a node: the host
// name, HTTP Basic with the user AWS (no token exchange), and separate accounts.
// It records requests.
//
// Unlike ECR it creates a repository on the first push, and its certificate comes
// from its own authority.
package ecr

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/registry"

	"github.com/castai/privatelink-webhook/internal/testutil/fakeecr"
)

// User is the user name of every ECR client.
const User = "AWS"

// Request is one request and the status of its response.
type Request struct {
	Time                            time.Time
	Host, Method, Path, Client, For string // For is the user; empty without credentials
	Status                          int
}

// Registry is a running registry.
type Registry struct {
	CA []byte // the authority behind its certificate, PEM

	password string
	accounts map[string]http.Handler // by host
	strict   *fakeecr.Server         // one of them, or nil
	server   *http.Server
	roots    *tls.Config

	mu  sync.Mutex
	log []Request
}

// Start serves the hosts at the address. They have to resolve to it. In
// addition it serves strict, an account that emulates ECR's API and the errors of a
// push; strict may be nil.
func Start(address string, strict *fakeecr.Server, hosts ...string) (*Registry, error) {
	r := &Registry{password: rand.Text(), accounts: map[string]http.Handler{}, strict: strict}
	for _, h := range hosts {
		r.accounts[h] = registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	}
	if strict != nil {
		hosts = append(hosts, strict.Host())
		r.accounts[strict.Host()] = strict
	}
	certificate, ca, pool, err := Certify(hosts)
	if err != nil {
		return nil, fmt.Errorf("ECR stand-in: certificate: %w", err)
	}
	r.CA, r.roots = ca, &tls.Config{RootCAs: pool}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("ECR stand-in: %w", err)
	}
	// The registry reads the body of an upload under its lock. Of two uploads
	// on one connection of HTTP/2 the second would take the window that the
	// first waits for.
	var plain http.Protocols
	plain.SetHTTP1(true)
	r.server = &http.Server{
		Protocols: &plain,
		Handler:   r,
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate}},
		ErrorLog:  log.New(io.Discard, "", 0),
	}
	go func() { _ = r.server.ServeTLS(listener, "", "") }() // ends with Stop
	return r, nil
}

// Stop closes the registry and forgets its images.
func (r *Registry) Stop() error { return r.server.Close() }

// Password is the password of User. That of ECR is valid for twelve hours.
func (r *Registry) Password() string { return r.password }

// Authenticator and Transport configure a client of go-containerregistry.
func (r *Registry) Authenticator() authn.Authenticator {
	return &authn.Basic{Username: User, Password: r.password}
}

// Transport trusts the registry's authority only.
func (r *Registry) Transport() http.RoundTripper {
	return &http.Transport{TLSClientConfig: r.roots.Clone(), MaxIdleConnsPerHost: 8}
}

// Log returns the requests so far, oldest first.
func (r *Registry) Log() []Request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Request(nil), r.log...)
}

// ServeHTTP selects the account, checks the password and records the request.
func (r *Registry) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	entry := Request{Time: time.Now(), Host: req.Host, Method: req.Method, Path: req.URL.Path, Client: req.UserAgent(), Status: http.StatusOK}
	answer := &recorder{ResponseWriter: w, status: &entry.Status}
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.log = append(r.log, entry)
	}()
	account, known := r.accounts[req.Host]
	user, password, _ := req.BasicAuth()
	entry.For = user
	node := user == User && subtle.ConstantTimeCompare([]byte(password), []byte(r.password)) == 1
	switch {
	case !known:
		http.Error(answer, "no such account", http.StatusMisdirectedRequest)
	case r.strict != nil && account == r.strict:
		if node { // the password stands for a token of the API
			req.SetBasicAuth(User, r.strict.Token())
		}
		r.strict.ServeHTTP(answer, req)
	case !node:
		answer.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
		answer.Header().Set("WWW-Authenticate", fmt.Sprintf(`Basic realm="https://%s/",service="ecr.amazonaws.com"`, req.Host))
		http.Error(answer, "Not Authorized", http.StatusUnauthorized)
	default:
		account.ServeHTTP(answer, req)
	}
}

// recorder keeps the status for the log.
type recorder struct {
	http.ResponseWriter
	status *int
}

func (r *recorder) WriteHeader(status int) {
	*r.status = status
	r.ResponseWriter.WriteHeader(status)
}

// Await returns when the registry answers under the name.
func (r *Registry) Await(ctx context.Context, host string) error {
	client := &http.Client{Transport: r.Transport(), Timeout: 5 * time.Second}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+host+"/v2/", nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("ECR stand-in: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized {
		return errors.New("ECR stand-in: a request without a password got " + resp.Status)
	}
	return nil
}
