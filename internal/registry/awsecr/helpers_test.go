// SPDX-License-Identifier: Apache-2.0

package awsecr

import (
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/castai/privatelink-webhook/internal/testutil/fakeecr"
)

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
	s.StartTest(t)
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
