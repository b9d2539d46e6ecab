// SPDX-License-Identifier: Apache-2.0

package registry_test

import (
	"context"
	"testing"

	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/castai/privatelink-webhook/internal/mirror"
	"github.com/castai/privatelink-webhook/internal/registry"
	"github.com/castai/privatelink-webhook/internal/testutil/fakeregistry"
)

// An image is copied from and to registries that differ from the specification.
func TestKindsOfRegistries(t *testing.T) {
	credential := func(context.Context, string) (auth.Credential, error) {
		return auth.Credential{Username: fakeregistry.User, Password: fakeregistry.Password}, nil
	}
	for _, k := range fakeregistry.Kinds() {
		t.Run(k.Name, func(t *testing.T) {
			t.Parallel()
			source, target, digest := fakeregistry.StartKind(t, k)
			client := registry.New(registry.Options{Credential: credential})
			m := &mirror.Mirror{Source: client, Target: client.ForPush(), Referrers: true}
			plan, err := m.Plan(t.Context(), []mirror.Job{{Source: source.Host + "/a:v1", Target: target.Host + "/a:v1"}})
			if err == nil {
				err = m.Run(t.Context(), plan, &mirror.Progress{})
			}
			if err != nil || plan.Items[0].State != mirror.StateCopied {
				t.Fatalf("%s %v, error %v", plan.Items[0].State, plan.Items[0].Err, err)
			}
			source.SetFault(nil)
			target.SetFault(nil)
			if got := fakeregistry.Digest(t, target.Host+"/a:v1"); got != digest {
				t.Errorf("digest %s, want %s", got, digest)
			}
			fakeregistry.Verify(t, target.Host+"/a:v1")
		})
	}
}
