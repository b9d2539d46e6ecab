// SPDX-License-Identifier: Apache-2.0

package awsecr

import (
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/castai/privatelink-webhook/internal/testutil/fakeecr"
)

// awsEnv makes the SDK ask the endpoint, as a caller with credentials.
func awsEnv(t *testing.T, endpoint string) {
	t.Helper()
	nothing := filepath.Join(t.TempDir(), "none")
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL_ECR": endpoint, "AWS_ACCESS_KEY_ID": "AKIDTEST", "AWS_SECRET_ACCESS_KEY": "secret-key-of-test", "AWS_SESSION_TOKEN": "",
		"AWS_CONFIG_FILE": nothing, "AWS_SHARED_CREDENTIALS_FILE": nothing, "AWS_EC2_METADATA_DISABLED": "true", "AWS_PROFILE": "",
		"AWS_REGION":            "ap-south-1", // of another registry: it must not count
		"AWS_USE_FIPS_ENDPOINT": "", "AWS_USE_DUALSTACK_ENDPOINT": "", "AWS_WEB_IDENTITY_TOKEN_FILE": "", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "", "AWS_CONTAINER_CREDENTIALS_FULL_URI": "",
		"DOCKER_CONFIG": t.TempDir(),
	} {
		t.Setenv(name, value)
	}
}

// warnings collects them.
type warnings struct {
	mu  sync.Mutex
	all []string
}

func (w *warnings) warn(message string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all = append(w.all, message)
}

func (w *warnings) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(w.all, "\n")
}

// fake starts an account, and returns its registry.
func fake(t *testing.T, o fakeecr.Options, c Config) (*fakeecr.Server, *Registry, *warnings) {
	t.Helper()
	s := fakeecr.New(o)
	url, stop := s.Start()
	t.Cleanup(stop)
	awsEnv(t, url)
	if c.Prefix == "" {
		c.Prefix = s.Host() + "/castai"
	}
	w := &warnings{}
	c.Warn = w.warn
	r, err := New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return s, r, w
}

// actions are those that a server was asked for, sorted.
func actions(s *fakeecr.Server) []string {
	var all []string
	for _, r := range s.Log() {
		all = append(all, r.Action)
	}
	slices.Sort(all)
	return all
}

// mustSay fails unless the error has all texts, and no secret.
func mustSay(t *testing.T, err error, texts ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%q does not say %q", err, text)
		}
	}
	if strings.Contains(err.Error(), "secret") {
		t.Errorf("a secret in %q", err)
	}
}
