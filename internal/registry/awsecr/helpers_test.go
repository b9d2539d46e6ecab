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

// setAWSEnv configures the SDK with test credentials and an endpoint.
func setAWSEnv(t *testing.T, endpoint string) {
	t.Helper()
	absent := filepath.Join(t.TempDir(), "none")
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

// warnings records the messages of Config.Warn.
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

// start starts a fake ECR, and returns a client for it.
func start(t *testing.T, o fakeecr.Options, c Config) (*fakeecr.Server, *Registry, *warnings) {
	t.Helper()
	s := fakeecr.New(o)
	url, stop := s.Start()
	t.Cleanup(stop)
	setAWSEnv(t, url)
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

// actions returns the actions of all requests to a server, sorted.
func actions(s *fakeecr.Server) []string {
	var all []string
	for _, r := range s.Log() {
		all = append(all, r.Action)
	}
	slices.Sort(all)
	return all
}

// wantError fails unless the error contains all texts, and no secret.
func wantError(t *testing.T, err error, texts ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("error %q does not contain %q", err, text)
		}
	}
	if strings.Contains(err.Error(), "secret") {
		t.Errorf("error %q contains a secret", err)
	}
}
