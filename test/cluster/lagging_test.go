// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package cluster

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestASecondAPIServerLearnsLate(t *testing.T) {
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
	const late = 2 * time.Second
	for _, lag := range []time.Duration{0, late} {
		s.Lag(lag)
		name := "at-" + lag.String()
		if _, err := c.Kubectl(t.Context(), nil, "create", "configmap", name); err != nil {
			t.Fatal(err)
		}
		// Version 0 asks for what the server has learned so far.
		begin, path := time.Now(), "/api/v1/namespaces/default/configmaps/"+name+"?resourceVersion=0"
		err := errors.New("not asked yet")
		for err != nil && time.Since(begin) < 2*late {
			_, err = c.Kubectl(t.Context(), nil, "--kubeconfig", s.Kubeconfig, "get", "--raw", path)
		}
		took := time.Since(begin)
		if err != nil || took < lag/2 || took > lag+late/2 {
			t.Errorf("it learned after %s (%v), want %s", took, err, lag)
		}
	}
	out, err := c.Kubectl(t.Context(), nil, "--kubeconfig", s.Kubeconfig, "create", "configmap", "through-the-second")
	if err != nil || !strings.Contains(string(out), "created") {
		t.Errorf("creating a ConfigMap through it: %q (%v)", out, err)
	}
}
