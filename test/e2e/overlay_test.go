// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/castai/privatelink-webhook/deploy"
	"github.com/castai/privatelink-webhook/test/e2e/framework/cluster"
)

// overlay is a kustomization of a GitOps repository: it uses the tree as it is.
const overlay = `
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: team-x
resources: [../deploy/base]
components: [../deploy/components/registry]
configMapGenerator:
- name: privatelink-registry
  literals: [registry=` + ecr + `]
`

// An overlay moves the bundle to another namespace. The webhook serves there, its
// account is confined there, and the command line finds it there.
func TestAnOverlayServesInAnotherNamespace(t *testing.T) {
	const team = "team-x"
	namespace(t, Namespace)
	shipped(t)
	remove(t, tree(t))
	t.Cleanup(func() { shipped(t) })

	dir := t.TempDir()
	if err := os.CopyFS(dir+"/deploy", os.DirFS(filepath.Join(h.Root, "deploy"))); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(dir+"/overlay", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/overlay/kustomization.yaml", []byte(overlay), 0o600); err != nil {
		t.Fatal(err)
	}
	node, err := h.StartKubelet(testCtx, team, os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(node.Stop)
	kubectl(t, nil, "apply", "-k", dir+"/overlay")
	t.Cleanup(func() {
		node.Crash()
		kubectl(t, nil, "delete", "-k", dir+"/overlay", "--timeout=90s", "--ignore-not-found")
		if left := traces(t); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	})
	eventually(t, 60*time.Second, func() error {
		for name, bundle := range caBundles(t) {
			if bundle == "" {
				return fmt.Errorf("%s has no caBundle", name)
			}
		}
		return rewritten()
	})
	t.Run("it is the same as what privatelink install prints", func(t *testing.T) {
		out := kubectl(t, privatelink(t, "install", "--registry", ecr, "--namespace", team), "apply", "-f", "-")
		for line := range strings.Lines(out) {
			if line = strings.TrimSpace(line); !strings.HasSuffix(line, " unchanged") && !strings.HasPrefix(line, "poddisruptionbudget.") && !strings.HasPrefix(line, "validatingadmissionpolicy") {
				t.Error(line)
			}
		}
	})
	t.Run("its account is confined", func(t *testing.T) {
		eventually(t, 5*time.Second, func() error {
			_, err := withToken(t, team).AdmissionregistrationV1().MutatingWebhookConfigurations().Patch(testCtx, deploy.ConfigurationName,
				types.JSONPatchType, []byte(changes["webhooks.clientConfig.url"]), metav1.PatchOptions{DryRun: []string{metav1.DryRunAll}})
			if err == nil || !strings.Contains(err.Error(), deploy.AccountPolicyName) {
				return fmt.Errorf("error %v", err)
			}
			return nil
		})
	})
	t.Run("privatelink finds it", func(t *testing.T) {
		before := caBundles(t)
		privatelink(t, "certs", "reset", "--yes", "--context", cluster.Context)
		for name, bundle := range caBundles(t) {
			if bundle == before[name] {
				t.Errorf("the caBundle of %s is the same", name)
			}
		}
		if err := rewritten(); err != nil {
			t.Error(err)
		}
		out, err := h.Privatelink(testCtx, "doctor", "--only", "cluster/account-policy,cluster/rbac,cluster/config")
		if err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	})
}
