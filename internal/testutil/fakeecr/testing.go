// SPDX-License-Identifier: Apache-2.0

package fakeecr

import (
	"net/http"
	"path/filepath"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/opencontainers/go-digest"
)

// StartTest starts the server for the duration of a test, and configures the AWS
// SDK to use it.
func (s *Server) StartTest(t *testing.T) {
	t.Helper()
	url, stop := s.Start()
	t.Cleanup(stop)
	SetAWSEnv(t, url)
}

// SetAWSEnv configures the AWS SDK with test credentials and an endpoint of ECR, and
// removes the configuration of AWS and Docker of the user who runs the test.
func SetAWSEnv(t *testing.T, endpoint string) {
	t.Helper()
	absent := filepath.Join(t.TempDir(), "absent")
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL_ECR": endpoint, "AWS_ACCESS_KEY_ID": "AKIDTEST", "AWS_SECRET_ACCESS_KEY": "secret-key-of-test", "AWS_SESSION_TOKEN": "",
		"AWS_CONFIG_FILE": absent, "AWS_SHARED_CREDENTIALS_FILE": absent, "AWS_EC2_METADATA_DISABLED": "true", "AWS_PROFILE": "",
		"AWS_REGION":            "ap-south-1", // not that of the registry: it must be ignored
		"AWS_USE_FIPS_ENDPOINT": "", "AWS_USE_DUALSTACK_ENDPOINT": "", "AWS_WEB_IDENTITY_TOKEN_FILE": "", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "", "AWS_CONTAINER_CREDENTIALS_FULL_URI": "",
		"DOCKER_CONFIG": t.TempDir(),
	} {
		t.Setenv(name, value)
	}
}

// Push creates a repository unless it exists, pushes an image or an index to it,
// and returns its digest.
func (s *Server) Push(t *testing.T, repository, tag string, content remote.Taggable) digest.Digest {
	t.Helper()
	s.Create(repository)
	ref, err := name.NewTag(s.Host()+"/"+repository+":"+tag, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DialContext: s.Dial}
	defer transport.CloseIdleConnections()
	if err := remote.Push(ref, content, remote.WithTransport(transport), remote.WithAuth(&authn.Basic{Username: "AWS", Password: s.Token()})); err != nil {
		t.Fatal(err)
	}
	return s.Tag(repository, tag)
}
