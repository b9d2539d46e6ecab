// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/castai/privatelink-webhook/deploy"
)

// moreEntries is a configuration with which the webhook configuration has two entries
// more.
const moreEntries = config + "namespaceSelector: {matchLabels: {example.com/tenant: 'yes'}}\n"

// TestServerSideApply installs, changes and removes the bundle as Argo CD and Flux do,
// by server-side apply under the name of another field manager.
func TestServerSideApply(t *testing.T) {
	namespace(t, Namespace)
	shipped(t)
	remove(t, tree(t))
	t.Cleanup(func() { shipped(t) })
	file := filepath.Join(t.TempDir(), deploy.ConfigKey)
	if err := os.WriteFile(file, []byte(moreEntries), 0o600); err != nil {
		t.Fatal(err)
	}
	less, more := privatelink(t, "install", "--registry", ecr), privatelink(t, "install", "--config", file)
	apply := func(manifests []byte, entries int) {
		t.Helper()
		kubectl(t, manifests, "apply", "--server-side", "--field-manager=gitops", "-f", "-")
		eventually(t, 60*time.Second, func() error { return published(t, entries) })
	}

	apply(less, 2)
	webhookReady(t)
	eventually(t, 10*time.Second, rewritten)
	secret := secretData(t)
	tr := startTraffic(t)
	t.Run("a second time it changes nothing", func(t *testing.T) {
		before := versions(t, less, "-f", "-")
		kubectl(t, less, "diff", "--server-side", "--field-manager=gitops", "-f", "-") // exits with 1 if there is a difference
		apply(less, 2)
		if d := cmp.Diff(before, versions(t, less, "-f", "-")); d != "" || len(before) < 10 {
			t.Errorf("objects changed (-before +after):\n%s", d)
		}
	})
	// An entry whose caBundle another manager owns could not be removed: what is left of
	// it would be invalid, and the whole apply fail (kubernetes/kubernetes#128102).
	t.Run("entries come and go", func(t *testing.T) {
		for range 2 {
			apply(more, 4)
			apply(less, 2)
		}
	})
	if d := cmp.Diff(secret, secretData(t)); d != "" {
		t.Errorf("the Secret of the CA changed:\n%s", d)
	}
	tr.lost(t)
	uninstall(t)
}

// uninstall removes the bundle with the command, under load: no pod is refused.
func uninstall(t *testing.T) {
	t.Helper()
	tr := startTraffic(t)
	tr.await(t, isRewritten, 10*time.Second)
	manifests := privatelink(t, "uninstall")
	deleted := make(chan error, 1)
	go func() {
		_, err := h.Kubectl(testCtx, bytes.NewReader(manifests), "delete", "--ignore-not-found", "--timeout=90s", "-f", "-")
		deleted <- err
	}()
	eventually(t, 30*time.Second, func() error { // the last object
		n, err := h.Client.CoreV1().Namespaces().Get(testCtx, deploy.Namespace, metav1.GetOptions{})
		if err == nil && n.DeletionTimestamp == nil {
			err = fmt.Errorf("the namespace is not deleted yet")
		}
		return err
	})
	tr.await(t, isPublic, 10*time.Second)
	if got, want := tr.outcomes(), "rewritten, public"; got != want {
		t.Errorf("pods were %s, want %s: %v", got, want, tr.failed)
	}
	h.Kubelet.Crash() // the pods need not drain
	defer h.Kubelet.Recover()
	if err := <-deleted; err != nil {
		t.Fatal(err)
	}
	if left := traces(t); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// published reports what is wrong unless there are so many entries, each with the CA.
func published(t *testing.T, entries int) error {
	t.Helper()
	bundles := caBundles(t)
	if len(bundles) != entries {
		return fmt.Errorf("entries %v, want %d", slices.Sorted(maps.Keys(bundles)), entries)
	}
	return trusted(t)
}

// secretData is all that the Secret of the CA holds.
func secretData(t *testing.T) map[string][]byte {
	t.Helper()
	s, err := h.Client.CoreV1().Secrets(deploy.Namespace).Get(testCtx, deploy.CASecret, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Data) == 0 {
		t.Error("the Secret of the CA is empty")
	}
	return s.Data
}
