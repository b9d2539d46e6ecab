// SPDX-License-Identifier: Apache-2.0

package awsecr

import (
	"context"
	"slices"

	"github.com/castai/privatelink-webhook/internal/registry"
)

// ConnectOptions configure the clients that Connect returns. All fields are
// optional.
type ConnectOptions struct {
	// Prefix is the host of the private ECR registry, or a repository prefix in it.
	Prefix string
	// Settings are the settings of repositories that are created below Prefix.
	Settings Settings
	// Profile is the AWS profile. Default: that of the SDK, such as AWS_PROFILE.
	Profile string
	// Quick is as in Config.
	Quick bool
	// PlainHTTP are hosts to access without TLS, or their URLs. Loopback hosts are
	// implied.
	PlainHTTP []string
	UserAgent string
	// Warn receives messages that do not stop a run. Default: they are discarded.
	Warn func(message string)
}

// Connect returns a client that authenticates with the credentials of a Login, and
// the ECR API of the registry of Prefix, or nil without a Prefix.
func Connect(ctx context.Context, o ConnectOptions) (*registry.Client, *Registry, error) {
	var plain []string
	for _, text := range o.PlainHTTP {
		host, err := registry.ParsePlainHTTP(text)
		if err != nil {
			return nil, nil, err
		}
		plain = append(plain, host)
	}
	login := LoginConfig{Profile: o.Profile, Warn: o.Warn}
	var private *Registry
	if o.Prefix != "" {
		if err := o.Settings.Validate("repositories"); err != nil {
			return nil, nil, err
		}
		var err error
		private, err = New(ctx, Config{Prefix: o.Prefix, Profile: o.Profile, Quick: o.Quick, Warn: o.Warn, Settings: func(string) Settings { return o.Settings }})
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
		PlainHTTP:  func(host string) bool { return slices.Contains(plain, host) || registry.IsLoopback(host) },
		Warn:       o.Warn,
	})
	return client, private, nil
}
