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

// LoginConfig configures a Login. All fields are optional.
type LoginConfig struct {
	// Profile is the AWS profile for ECR registries that are not in Known.
	Profile string
	// Known registries use their own configuration.
	Known []*Registry
	// Docker has the credentials for all other registries. Default: the Docker
	// configuration and its credential helpers, in DOCKER_CONFIG or ~/.docker.
	Docker credentials.Store
	// Warn receives messages that do not stop a run. Default: they are discarded.
	Warn func(message string)
}

// Login provides credentials: for ECR registries of any account and region those
// of AWS, for other registries those of `docker login`. Access to registries
// without credentials is anonymous, which suffices for public images. Errors and
// warnings never contain secrets.
type Login struct {
	profile string
	docker  credentials.Store
	warn    func(string)

	mu         sync.Mutex
	registries map[accountRegion]*Registry
	warned     map[string]bool
}

// accountRegion identifies a registry, which has several hosts for FIPS and
// dual-stack.
type accountRegion struct{ account, region string }

// NewLogin reads the Docker configuration unless LoginConfig.Docker is set. A
// configuration that cannot be read is an error: without its credentials, later
// requests would fail for an unrelated reason.
func NewLogin(c LoginConfig) (*Login, error) {
	l := &Login{profile: c.Profile, docker: c.Docker, warn: c.Warn, registries: map[accountRegion]*Registry{}, warned: map[string]bool{}}
	if l.warn == nil {
		l.warn = func(string) {}
	}
	if l.docker == nil {
		store, err := credentials.NewStoreFromDocker(credentials.StoreOptions{})
		if err != nil {
			return nil, fmt.Errorf("reading the Docker configuration: %w; correct it, or set DOCKER_CONFIG to another directory", err)
		}
		l.docker = store
	}
	for _, r := range c.Known {
		l.registries[accountRegion{r.host.Account, r.host.Region}] = r
	}
	return l, nil
}

var _ auth.CredentialFunc = (*Login)(nil).Credential

// Credential returns the username and password for a host. Both are empty for
// anonymous access.
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

// registry returns the registry of a host, which is created on first use.
func (l *Login) registry(ctx context.Context, host string) (*Registry, error) {
	h, err := rewrite.ParseECRHost(host)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	key := accountRegion{h.Account, h.Region}
	if r, ok := l.registries[key]; ok {
		return r, nil
	}
	r, err := New(ctx, Config{Prefix: host, Profile: l.profile, Warn: l.warn})
	if err == nil {
		l.registries[key] = r
	}
	return r, err
}

// fromDocker returns the credentials of the Docker configuration. Its failures are
// warnings, since most images are public. Their text is discarded: the output of a
// helper, or the content of a malformed file, may be secret.
func (l *Login) fromDocker(ctx context.Context, host string) (auth.Credential, error) {
	found, err := l.docker.Get(ctx, credentials.ServerAddressFromHostname(host))
	var notExecutable *exec.Error
	switch {
	case err == nil:
		return found, nil
	case ctx.Err() != nil:
		return auth.EmptyCredential, context.Cause(ctx)
	case errors.As(err, &notExecutable):
		l.warnOnce(host + " is accessed anonymously: the Docker configuration names a credential helper that cannot be run: " + notExecutable.Error())
	default:
		l.warnOnce(host + " is accessed anonymously: the Docker configuration or its credential helper has no valid credentials; run `docker login " + host + "` if they are required")
	}
	return auth.EmptyCredential, nil
}

// warnOnce reports each message only once.
func (l *Login) warnOnce(message string) {
	l.mu.Lock()
	alreadyWarned := l.warned[message]
	l.warned[message] = true
	l.mu.Unlock()
	if !alreadyWarned {
		l.warn(message)
	}
}
