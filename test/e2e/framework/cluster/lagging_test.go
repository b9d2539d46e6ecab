// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package cluster

import (
	"strings"
	"testing"
	"time"
)

func TestLaggingAPIServer(t *testing.T) {
	c := start(t, Config{})
	s, err := c.StartLagging(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	const delay = 2 * time.Second
	for _, lag := range []time.Duration{0, delay} {
		s.Lag(lag)
		measureLag(t, c, s, "first-at-"+lag.String()) // on its new connections
		if took := measureLag(t, c, s, "at-"+lag.String()); took < lag*8/10 || took > lag+delay/2 {
			t.Errorf("the change arrived after %s, want %s", took, lag)
		}
	}
	out, err := c.Kubectl(t.Context(), nil, "--kubeconfig", s.Kubeconfig, "create", "configmap", "through-the-second")
	if err != nil || !strings.Contains(string(out), "created") {
		t.Errorf("creating a ConfigMap through it: %q (%v)", out, err)
	}
}

// measureLag creates a ConfigMap through the first and measures the time until
// the second returns it.
func measureLag(t *testing.T, c *Cluster, s *Lagging, name string) time.Duration {
	t.Helper()
	if _, err := c.Kubectl(t.Context(), nil, "create", "configmap", name); err != nil {
		t.Fatal(err)
	}
	// Version 0 reads from the watch cache.
	begin, path := time.Now(), "/api/v1/namespaces/default/configmaps/"+name+"?resourceVersion=0"
	for {
		_, err := c.Kubectl(t.Context(), nil, "--kubeconfig", s.Kubeconfig, "get", "--raw", path)
		took := time.Since(begin)
		if err == nil {
			return took
		}
		if took > 20*time.Second {
			t.Fatalf("the ConfigMap is not there after %s: %v", took, err)
		}
	}
}
