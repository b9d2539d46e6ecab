// SPDX-License-Identifier: Apache-2.0

package awsecr

import (
	"context"
	"fmt"
	"sync"

	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/castai/privatelink-webhook/internal/registry"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// LoginConfig configures a Login. All fields are optional.
type LoginConfig struct {
	// Profile is the AWS profile for ECR registries that are not in Known.
	Profile string
	// Known registries use their own configuration.
	Known []*Registry
	// Docker has the credentials for all other registries. Default:
	// registry.ReadDockerLogins.
	Docker *registry.DockerLogins
	// Warn receives messages that do not stop a run. Default: they are discarded.
	Warn func(message string)
}

// Login provides credentials: for ECR registries of any account and region those
// of AWS, for other registries those of `docker login`. Access to registries
// without credentials is anonymous, which suffices for public images. Errors and
// warnings never contain secrets.
type Login struct {
	profile string
	docker  *registry.DockerLogins
	warn    func(string)

	mu         sync.Mutex
	registries map[accountRegion]*Registry
	warned     map[string]bool
}

// accountRegion identifies a registry, which has several hosts for FIPS and
// dual-stack.
type accountRegion struct{ account, region string }

// NewLogin reads the credentials of `docker login` unless LoginConfig.Docker is set.
func NewLogin(c LoginConfig) (*Login, error) {
	l := &Login{profile: c.Profile, docker: c.Docker, warn: c.Warn, registries: map[accountRegion]*Registry{}, warned: map[string]bool{}}
	if l.warn == nil {
		l.warn = func(string) {}
	}
	if l.docker == nil {
		logins, err := registry.ReadDockerLogins()
		if err != nil {
			return nil, err
		}
		l.docker = logins
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

// fromDocker returns the credentials of `docker login`. Its failures are warnings,
// since most images are public.
func (l *Login) fromDocker(ctx context.Context, host string) (auth.Credential, error) {
	found, err := l.docker.Credential(ctx, host)
	switch {
	case err == nil:
		return found, nil
	case ctx.Err() != nil:
		return auth.EmptyCredential, context.Cause(ctx)
	}
	l.warnOnce(fmt.Sprintf("%s is accessed anonymously: %v: run `docker login %s` if credentials are required", host, err, host))
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
