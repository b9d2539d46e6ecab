// SPDX-License-Identifier: Apache-2.0

package fakeregistry_test

import (
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/castai/privatelink-webhook/internal/testutil/fakeregistry"
)

// crane's library does not cope with these kinds, which shows that the registries
// misbehave.
var refusedByCrane = map[string]bool{
	"realm without scheme and host":         true,
	"cut connections, Range not advertised": true,
	"manifest PUT answered 204":             true,
	"blob PUT answered 204":                 true,
	"blob HEAD not supported":               true,
	"upload Location without the port":      true,
}

func TestKinds(t *testing.T) {
	for _, k := range fakeregistry.Kinds() {
		t.Run(k.Name, func(t *testing.T) {
			t.Parallel()
			source, target, digest := fakeregistry.StartKind(t, k)
			err := copyWithCrane(t, source.Host+"/a:v1", target.Host+"/a:v1")
			if (err != nil) != refusedByCrane[k.Name] {
				t.Fatalf("error %v", err)
			}
			target.SetFault(nil)
			if got := fakeregistry.Digest(t, target.Host+"/a:v1"); err == nil && got != digest {
				t.Errorf("digest %q, want %s", got, digest)
			}
		})
	}
}

func copyWithCrane(t *testing.T, source, target string) error {
	t.Helper()
	options := []remote.Option{remote.WithContext(t.Context()), remote.WithAuth(&authn.Basic{Username: fakeregistry.User, Password: fakeregistry.Password})}
	from, err := name.ParseReference(source)
	if err != nil {
		return err
	}
	to, err := name.ParseReference(target)
	if err != nil {
		return err
	}
	descriptor, err := remote.Get(from, options...)
	if err != nil {
		return err
	}
	index, err := descriptor.ImageIndex()
	if err != nil {
		return err
	}
	return remote.WriteIndex(to, index, options...)
}
