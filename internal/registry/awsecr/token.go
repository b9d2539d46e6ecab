// SPDX-License-Identifier: Apache-2.0

package awsecr

import (
	"context"
	"encoding/base64"
	"errors"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"golang.org/x/sync/singleflight"
	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// token is an authorization token of a registry.
type token struct {
	user, password string
	account        string // of the caller; "" if ECR did not return it
	fetched        time.Time
	expires        time.Time
}

// String keeps the password out of logs.
func (token) String() string { return "ECR authorization token" }

// defaultLifetime applies if ECR does not return the expiry of a token.
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/registry_auth.html
const defaultLifetime = 12 * time.Hour

// Clients keep credentials until they receive a 401. A client that requests them
// again had them rejected, unless the token is younger than rejectedAge: then the
// client waited for the same token as another one.
const rejectedAge = 10 * time.Second

// isFresh reports whether a token can be used. Half of its lifetime is reserved for
// the transfers that are started with it.
func (t token) isFresh(now time.Time, mayBeRejected bool) bool {
	age, maxAge := now.Sub(t.fetched), t.expires.Sub(t.fetched)/2
	if mayBeRejected {
		maxAge = min(maxAge, rejectedAge)
	}
	return t.password != "" && age >= 0 && age < maxAge
}

// tokenCache holds the current token.
type tokenCache struct {
	now   func() time.Time
	fetch singleflight.Group

	mu      sync.Mutex
	current token
}

func (c *tokenCache) get(mayBeRejected bool) (token, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.current, c.current.isFresh(c.now(), mayBeRejected)
}

func (c *tokenCache) set(t token) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.current = t
}

// drop removes a token that was rejected, unless it was replaced already.
func (c *tokenCache) drop(rejected token) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current.password == rejected.password {
		c.current = token{}
	}
}

// Credential returns the username and password for the registry. It is meant for
// clients that keep credentials until they are rejected: a client that requests
// them again receives new ones.
func (r *Registry) Credential(ctx context.Context) (auth.Credential, error) {
	t, err := r.token(ctx, true)
	if err != nil {
		return auth.EmptyCredential, err
	}
	return auth.Credential{Username: t.user, Password: t.password}, nil
}

// token returns the current token, or fetches one for all concurrent callers.
func (r *Registry) token(ctx context.Context, mayBeRejected bool) (token, error) {
	if t, ok := r.tokens.get(mayBeRejected); ok {
		return t, nil
	}
	done := r.tokens.fetch.DoChan("", func() (any, error) {
		if t, ok := r.tokens.get(mayBeRejected); ok {
			return t, nil // of a fetch that just ended
		}
		// The other callers need the token even if the first one is canceled.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Minute)
		defer cancel()
		t, err := r.fetchToken(ctx)
		if err == nil {
			r.tokens.set(t)
		}
		return t, err
	})
	select {
	case <-ctx.Done():
		return token{}, context.Cause(ctx)
	case result := <-done:
		if result.Err != nil {
			return token{}, result.Err
		}
		return result.Val.(token), nil
	}
}

// fetchToken requests a token. Its errors contain nothing of the response, which is
// secret.
// https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_GetAuthorizationToken.html
func (r *Registry) fetchToken(ctx context.Context) (token, error) {
	const action = "GetAuthorizationToken"
	t := token{fetched: r.tokens.now()}
	out, err := r.api.GetAuthorizationToken(ctx, &ecr.GetAuthorizationTokenInput{})
	if err != nil {
		return token{}, r.wrapError(err, action, "")
	}
	if len(out.AuthorizationData) == 0 {
		return token{}, r.wrapError(errors.New("the response has no token"), action, "")
	}
	data := out.AuthorizationData[0]
	text, err := base64.StdEncoding.DecodeString(aws.ToString(data.AuthorizationToken))
	user, password, ok := strings.Cut(string(text), ":")
	if err != nil || !ok || password == "" {
		return token{}, r.wrapError(errors.New("the token is not a base64-encoded user:password"), action, "")
	}
	t.user, t.password, t.expires = user, password, t.fetched.Add(defaultLifetime)
	if data.ExpiresAt != nil {
		t.expires = *data.ExpiresAt
	}
	if u, err := url.Parse(aws.ToString(data.ProxyEndpoint)); err == nil {
		if h, err := rewrite.ParseECRHost(u.Host); err == nil {
			t.account = h.Account
		}
	}
	return t, nil
}
