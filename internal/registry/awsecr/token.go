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

// token is a password for the registry.
type token struct {
	user, password string
	account        string // of whoever asked; "" if ECR did not say
	fetched, ends  time.Time
}

// String keeps passwords out of logs.
func (token) String() string { return "token of ECR" }

// usual life of a token.
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/registry_auth.html
const life = 12 * time.Hour

// refused is the age from which on being asked again means that the registry
// took the token no longer: clients keep it until they get a 401. Below it, the
// request was under way while another one got the token.
const refusedAfter = 10 * time.Second

// fresh tells whether it can be used. Half of its life is kept for the transfers
// that are begun with it.
func (t token) fresh(now time.Time, refused bool) bool {
	age, most := now.Sub(t.fetched), t.ends.Sub(t.fetched)/2
	if refused {
		most = min(most, refusedAfter)
	}
	return t.password != "" && age >= 0 && age < most
}

// tokens has the current one.
type tokens struct {
	now     func() time.Time
	flights singleflight.Group

	mu      sync.Mutex
	current token
}

func (t *tokens) get(refused bool) (token, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.current, t.current.fresh(t.now(), refused)
}

// drop forgets a token that was refused, unless there is another one already.
func (t *tokens) drop(refused token) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.current.password == refused.password {
		t.current = token{}
	}
}

// Credential returns user and password for the registry's host. It is made for
// clients that keep what they got until it is refused: one that asks again is
// given a new one.
func (r *Registry) Credential(ctx context.Context) (auth.Credential, error) {
	t, err := r.token(ctx, true)
	if err != nil {
		return auth.EmptyCredential, err
	}
	return auth.Credential{Username: t.user, Password: t.password}, nil
}

// token returns the current one, or fetches one for all who wait.
func (r *Registry) token(ctx context.Context, refused bool) (token, error) {
	if t, ok := r.tokens.get(refused); ok {
		return t, nil
	}
	done := r.tokens.flights.DoChan("", func() (any, error) {
		if t, ok := r.tokens.get(refused); ok {
			return t, nil // of the flight that just ended
		}
		// It is for all who wait, not only for the one who came first.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Minute)
		defer cancel()
		t, err := r.fetchToken(ctx)
		if err == nil {
			r.tokens.mu.Lock()
			r.tokens.current = t
			r.tokens.mu.Unlock()
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

// fetchToken asks ECR. The error has nothing of the answer.
// https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_GetAuthorizationToken.html
func (r *Registry) fetchToken(ctx context.Context) (token, error) {
	const action = "GetAuthorizationToken"
	t := token{fetched: r.tokens.now()}
	out, err := r.api.GetAuthorizationToken(ctx, &ecr.GetAuthorizationTokenInput{})
	if err != nil {
		return token{}, r.explain(err, action, "")
	}
	if len(out.AuthorizationData) == 0 {
		return token{}, r.explain(errors.New("the answer has no token"), action, "")
	}
	data := out.AuthorizationData[0]
	text, err := base64.StdEncoding.DecodeString(aws.ToString(data.AuthorizationToken))
	user, password, ok := strings.Cut(string(text), ":")
	if err != nil || !ok || password == "" {
		return token{}, r.explain(errors.New("the token is not user:password in base64"), action, "")
	}
	t.user, t.password, t.ends = user, password, t.fetched.Add(life)
	if data.ExpiresAt != nil {
		t.ends = *data.ExpiresAt
	}
	if u, err := url.Parse(aws.ToString(data.ProxyEndpoint)); err == nil {
		if h, err := rewrite.ParseECRHost(u.Host); err == nil {
			t.account = h.Account
		}
	}
	return t, nil
}
