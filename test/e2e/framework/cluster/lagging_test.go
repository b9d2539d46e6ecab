// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package cluster

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/clientcmd"
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
	first, second := configMaps(t, c.Kubeconfig), configMaps(t, s.Kubeconfig)
	const delay = 2 * time.Second
	for _, lag := range []time.Duration{0, delay} {
		s.Lag(lag)
		measureLag(t, first, second, "first-at-"+lag.String()) // on its new connections
		if took := measureLag(t, first, second, "at-"+lag.String()); took < lag*8/10 || took > lag+delay/2 {
			t.Errorf("the change arrived after %s, want %s", took, lag)
		}
	}
	out, err := c.Kubectl(t.Context(), nil, "--kubeconfig", s.Kubeconfig, "create", "configmap", "through-the-second")
	if err != nil || !strings.Contains(string(out), "created") {
		t.Errorf("creating a ConfigMap through it: %q (%v)", out, err)
	}
}

// configMaps returns a client of the cluster of a kubeconfig.
func configMaps(t *testing.T, kubeconfig string) typedcorev1.ConfigMapInterface {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return client.CoreV1().ConfigMaps(metav1.NamespaceDefault)
}

// measureLag creates a ConfigMap through the first and measures the time until
// the second returns it. The start of kubectl would count as well.
func measureLag(t *testing.T, first, second typedcorev1.ConfigMapInterface, name string) time.Duration {
	t.Helper()
	begin := time.Now()
	if _, err := first.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for ; ; time.Sleep(20 * time.Millisecond) {
		_, err := second.Get(t.Context(), name, metav1.GetOptions{ResourceVersion: "0"}) // from the watch cache
		took := time.Since(begin)
		if err == nil {
			return took
		}
		if took > 20*time.Second {
			t.Fatalf("the ConfigMap is not there after %s: %v", took, err)
		}
	}
}
