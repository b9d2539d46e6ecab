// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRun(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	const request = `{"apiVersion": "credentialprovider.kubelet.k8s.io/v1", "kind": "CredentialProviderRequest", "image": "`
	for name, tc := range map[string]struct{ in, want, fault string }{
		"a private ECR gets the password": {
			request + `123456789012.dkr.ecr.us-east-1.amazonaws.com/castai/agent:v1"}`,
			`{"apiVersion":"credentialprovider.kubelet.k8s.io/v1","kind":"CredentialProviderResponse","cacheKeyType":"Registry","cacheDuration":"6h",` +
				`"auth":{"123456789012.dkr.ecr.us-east-1.amazonaws.com":{"username":"AWS","password":"secret"}}}`, "",
		},
		"another host is refused":              {request + `ghcr.io/castai/images/agent:v1"}`, "", "ghcr.io is no private ECR"},
		"a host with an ECR prefix is refused": {request + `123456789012.dkr.ecr.us-east-1.amazonaws.com.example.com/a"}`, "", "is no private ECR"},
		"another version is refused":           {`{"apiVersion": "v0", "kind": "CredentialProviderRequest"}`, "", "unknown request v0"},
	} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			err := run([]string{file}, strings.NewReader(tc.in), &out)
			if strings.TrimSpace(out.String()) != tc.want || (err == nil) != (tc.fault == "") || err != nil && !strings.Contains(err.Error(), tc.fault) {
				t.Errorf("response %s, error %v; want %s, %q", &out, err, tc.want, tc.fault)
			}
		})
	}
}
