// SPDX-License-Identifier: Apache-2.0

package awsecr

import (
	"testing"

	"github.com/castai/privatelink-webhook/internal/testutil/fakeecr"
	"github.com/castai/privatelink-webhook/internal/testutil/fakeregistry"
)

func TestConnect(t *testing.T) {
	fakeecr.New(fakeecr.Options{}).StartTest(t)
	s := fakeregistry.Start(t)
	want := fakeregistry.Push(t, s.Host+"/a:v1", fakeregistry.Image(t, "amd64"))

	client, private, err := Connect(t.Context(), ConnectOptions{})
	if err != nil || private != nil {
		t.Fatalf("without a prefix: %v, %v", private, err)
	}
	if d, err := client.Resolve(t.Context(), s.Host+"/a", "v1"); err != nil || d.Digest.String() != want {
		t.Errorf("Resolve() = %s, %v, want %s", d.Digest, err, want)
	}
	const prefix = "123456789012.dkr.ecr.us-east-1.amazonaws.com/castai"
	if _, private, err = Connect(t.Context(), ConnectOptions{Prefix: prefix}); err != nil || private.Host().Region != "us-east-1" {
		t.Errorf("with a prefix: %v, %v", private, err)
	}
	_, _, err = Connect(t.Context(), ConnectOptions{Prefix: prefix, Settings: Settings{Encryption: "ROT13"}})
	wantError(t, err, "repositories.encryption")
	_, _, err = Connect(t.Context(), ConnectOptions{Prefix: "ghcr.io/castai"})
	wantError(t, err, "ghcr.io")
}
