// SPDX-License-Identifier: Apache-2.0

package kubelet

import (
	"os"
	"path/filepath"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func TestAVolumeFollowsItsSource(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "config")
	for step, files := range map[string]map[string][]byte{
		"first":  {"a": []byte("1"), "b": []byte("1")},
		"again":  {"a": []byte("1"), "b": []byte("1")},
		"change": {"a": []byte("2"), "b": []byte("1")},
	} {
		if err := writeAtomically(dir, files); err != nil {
			t.Fatal(err)
		}
		for name, want := range files {
			if got, err := os.ReadFile(filepath.Join(dir, name)); string(got) != string(want) {
				t.Errorf("%s: %s is %q (%v), want %q", step, name, got, err, want)
			}
		}
		// The link, its folder, and a link for each file: nothing of before.
		if entries, err := os.ReadDir(dir); len(entries) != 4 {
			t.Errorf("%s: %d entries (%v), want 4", step, len(entries), err)
		}
	}
}

func TestAPodsArgumentsAreMadeToFitThisMachine(t *testing.T) {
	p := &pod{cfg: Config{Dir: "/run"}, uid: "uid", address: "192.0.2.10"}
	c := corev1.Container{
		Ports:        []corev1.ContainerPort{{ContainerPort: 9443}, {ContainerPort: 8080}},
		VolumeMounts: []corev1.VolumeMount{{Name: "config", MountPath: "/etc/product"}, {Name: "tls", MountPath: "/etc/product-tls"}},
	}
	for name, tc := range map[string]struct{ in, want string }{
		"a listener gets the pod's address":               {"--listen=:9443", "--listen=192.0.2.10:9443"},
		"another port is not changed":                     {"--other=:19443", "--other=:19443"},
		"nor is a listener with an address":               {"--listen=127.0.0.1:9443", "--listen=127.0.0.1:9443"},
		"a path below a mount becomes a path on the host": {"--config=/etc/product/file", "--config=/run/uid/config/file"},
		"a mount path may be a prefix of another":         {"--cert=/etc/product-tls/crt", "--cert=/run/uid/tls/crt"},
		"another path is not changed":                     {"--socket=/etc/other/file", "--socket=/etc/other/file"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := p.bound(p.paths(c).Replace(tc.in), c); got != tc.want {
				t.Errorf("%q was rewritten to %q, want %q", tc.in, got, tc.want)
			}
		})
	}
}
