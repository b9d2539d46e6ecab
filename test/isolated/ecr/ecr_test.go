// SPDX-License-Identifier: Apache-2.0

package ecr

import (
	"context"
	"net"
	"net/http"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

const mine, other = "123456789012.dkr.ecr.us-east-1.amazonaws.com", "602401143452.dkr.ecr.us-east-1.amazonaws.com"

// at sends every connection to the registry, whatever the name.
func at(t *testing.T) (*Registry, *http.Transport) {
	t.Helper()
	probe, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := probe.Addr().String()
	_ = probe.Close()
	r, err := Start(address, nil, mine, other)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Stop() })
	transport := r.Transport().(*http.Transport)
	transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, address)
	}
	return r, transport
}

func TestItIsAPrivateECR(t *testing.T) {
	r, transport := at(t)
	image, err := random.Image(64, 1)
	if err != nil {
		t.Fatal(err)
	}
	ref, err := name.ParseReference(mine + "/castai/agent:v1")
	if err != nil {
		t.Fatal(err)
	}
	elsewhere, err := name.ParseReference(other + "/castai/agent:v1")
	if err != nil {
		t.Fatal(err)
	}
	us := []remote.Option{remote.WithTransport(transport), remote.WithAuth(r.Authenticator())}
	wrong := []remote.Option{remote.WithTransport(transport), remote.WithAuth(&authn.Basic{Username: User, Password: "guess"})}
	if err := remote.Write(ref, image, us...); err != nil {
		t.Fatal(err)
	}
	if _, err := remote.Head(ref, us...); err != nil {
		t.Errorf("what was pushed: %v", err)
	}
	if _, err := remote.Head(elsewhere, us...); err == nil {
		t.Error("another account has the image")
	}
	if _, err := remote.Head(ref, wrong...); err == nil {
		t.Error("a wrong password is good enough")
	}
	if _, err := remote.Head(ref, remote.WithTransport(transport)); err == nil {
		t.Error("no password is good enough")
	}
	log := r.Log()
	last := log[len(log)-1]
	if last.Status != http.StatusUnauthorized || last.Host != mine || last.Method != http.MethodHead || last.Path != "/v2/castai/agent/manifests/v1" || last.For != "" {
		t.Errorf("the last entry of the log is %+v", last)
	}
}
