// SPDX-License-Identifier: Apache-2.0

package awsecr

import (
	"context"
	"slices"

	"github.com/castai/privatelink-webhook/internal/registry"
)

// ConnectOptions configure the clients that Connect returns; all is optional.
type ConnectOptions struct {
	// Prefix is the private registry with its path, if it is an ECR.
	Prefix string
	// Settings are those of the repositories that are created below Prefix.
	Settings Settings
	// Profile is the AWS profile. Default: as the AWS CLI.
	Profile string
	// PlainHTTP are hosts without TLS. Loopback hosts are implied.
	PlainHTTP []string
	UserAgent string
	// Warn receives messages that do not stop anything. Default: discards.
	Warn func(message string)
}

// Connect returns a client that logs in to every registry: to ECR with AWS
// credentials, to others as docker does. With a Prefix it also returns the ECR
// API of that registry, else nil.
func Connect(ctx context.Context, o ConnectOptions) (*registry.Client, *Registry, error) {
	login := LoginConfig{Profile: o.Profile, Warn: o.Warn}
	var private *Registry
	if o.Prefix != "" {
		if err := o.Settings.Validate("repositories"); err != nil {
			return nil, nil, err
		}
		var err error
		private, err = New(ctx, Config{Prefix: o.Prefix, Profile: o.Profile, Warn: o.Warn, Settings: func(string) Settings { return o.Settings }})
		if err != nil {
			return nil, nil, err
		}
		login.Known = []*Registry{private}
	}
	l, err := NewLogin(login)
	if err != nil {
		return nil, nil, err
	}
	client := registry.New(registry.Options{
		Credential: l.Credential,
		Transport:  l.Transport(registry.NewTransport()),
		UserAgent:  o.UserAgent,
		PlainHTTP:  func(host string) bool { return slices.Contains(o.PlainHTTP, host) || registry.Loopback(host) },
	})
	return client, private, nil
}
