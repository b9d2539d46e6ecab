// SPDX-License-Identifier: Apache-2.0

package awsecr

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"sync"

	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"

	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// LoginConfig is what a Login needs; all is optional.
type LoginConfig struct {
	// Profile of AWS, for the registries that are not Known.
	Profile string
	// Known registries log in by themselves.
	Known []*Registry
	// Docker has the users of all other registries. Default: Docker's
	// configuration and credential helpers, in DOCKER_CONFIG or ~/.docker.
	Docker credentials.Store
	// Warn is told what is worth knowing and stops nothing. Default: discards.
	Warn func(message string)
}

// Login knows users and passwords: those of ECR by AWS's credentials, of any
// account and region, those of other registries by `docker login`. Whoever is in
// neither is nobody, which is enough for public images. No secret is ever part
// of an error or a warning.
type Login struct {
	profile string
	docker  credentials.Store
	warn    func(string)

	mu         sync.Mutex
	registries map[place]*Registry
	warned     map[string]bool
}

// place is where a registry is. Its hosts for IPv6 or FIPS are the same registry.
type place struct{ account, region string }

// NewLogin reads Docker's configuration unless it is given. One that cannot be
// read is an error: what it has would be missed later, and nobody knew why.
func NewLogin(c LoginConfig) (*Login, error) {
	l := &Login{profile: c.Profile, docker: c.Docker, warn: c.Warn, registries: map[place]*Registry{}, warned: map[string]bool{}}
	if l.warn == nil {
		l.warn = func(string) {}
	}
	if l.docker == nil {
		store, err := credentials.NewStoreFromDocker(credentials.StoreOptions{})
		if err != nil {
			return nil, fmt.Errorf("docker's configuration: %w; mend it, or point DOCKER_CONFIG to another folder", err)
		}
		l.docker = store
	}
	for _, r := range c.Known {
		l.registries[place{r.host.Account, r.host.Region}] = r
	}
	return l, nil
}

var _ auth.CredentialFunc = (*Login)(nil).Credential

// Credential returns user and password for a host; both are empty where nobody
// is known.
func (l *Login) Credential(ctx context.Context, host string) (auth.Credential, error) {
	if !rewrite.IsECRHost(host) {
		return l.fromDocker(ctx, host)
	}
	r, err := l.registry(ctx, host)
	if err != nil {
		return auth.EmptyCredential, err
	}
	return r.Credential(ctx)
}

func (l *Login) registry(ctx context.Context, host string) (*Registry, error) {
	h, err := rewrite.ParseECRHost(host)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	at := place{h.Account, h.Region}
	if r, ok := l.registries[at]; ok {
		return r, nil
	}
	r, err := New(ctx, Config{Prefix: host, Profile: l.profile, Warn: l.warn}) // once for each place
	if err == nil {
		l.registries[at] = r
	}
	return r, err
}

// fromDocker asks helpers and files. One that fails is no reason to stop: most
// images are public. The text of its error is not passed on, since what a helper
// printed, or a file has in the wrong format, may be a secret.
func (l *Login) fromDocker(ctx context.Context, host string) (auth.Credential, error) {
	found, err := l.docker.Get(ctx, credentials.ServerAddressFromHostname(host))
	var program *exec.Error
	switch {
	case err == nil:
		return found, nil
	case ctx.Err() != nil:
		return auth.EmptyCredential, context.Cause(ctx)
	case errors.As(err, &program):
		l.once(host + " is asked without a user, since docker's configuration has a credential helper that cannot be run: " + program.Error())
	default:
		l.once(host + " is asked without a user, since docker's configuration or its credential helper gives none; run `docker login " + host + "` if it needs one")
	}
	return auth.EmptyCredential, nil
}

// once warns, but not for each request again.
func (l *Login) once(message string) {
	l.mu.Lock()
	told := l.warned[message]
	l.warned[message] = true
	l.mu.Unlock()
	if !told {
		l.warn(message)
	}
}
