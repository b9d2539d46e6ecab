// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"slices"
	"testing"
)

func TestTheCallersFlagsComeLast(t *testing.T) {
	args := layout{dir: "d", apiServer: 1}.apiServerArgs(Config{
		FeatureGates:  map[string]bool{"B": false, "A": true},
		RuntimeConfig: map[string]string{"api/beta": "true"},
		APIServerArgs: []string{"--bind-address=0.0.0.0"},
	})
	want := []string{"--feature-gates=A=true,B=false", "--runtime-config=api/beta=true", "--bind-address=0.0.0.0"}
	if got := args[len(args)-3:]; !slices.Equal(got, want) {
		t.Errorf("last flags %q, want %q", got, want)
	}
}

func TestTheCertificateIsGoodForEveryName(t *testing.T) {
	l := layout{dir: t.TempDir()}
	if _, err := writeCredentials(l, []string{"10.200.0.1", "api.example.com"}); err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if ca, err := os.ReadFile(l.caFile()); err != nil || !pool.AppendCertsFromPEM(ca) {
		t.Fatalf("reading the authority: %v", err)
	}
	text, err := os.ReadFile(l.servingCertificate())
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"127.0.0.1", "localhost", "10.96.0.1", "kubernetes.default.svc", "10.200.0.1", "api.example.com"} {
		if _, err := leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: pool}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
