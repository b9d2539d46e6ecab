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

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/castai/privatelink-webhook/deploy"
)

// TestANamespaceThatIsMadeLaterIsSelectedByItsLabel installs each engine with a
// namespaceSelector, and makes a namespace with the label afterwards.
func TestANamespaceThatIsMadeLaterIsSelectedByItsLabel(t *testing.T) {
	shipped(t)
	file := filepath.Join(t.TempDir(), deploy.ConfigKey)
	if err := os.WriteFile(file, []byte(config+"namespaceSelector: {matchLabels: {example.com/tenant: 'yes'}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		kubectl(t, nil, "delete", "validatingadmissionpolicybinding", deploy.GuardName+deploy.ByLabel)
		kubectl(t, privatelink(t, "install", "--registry", ecr), "apply", "-f", "-")
		webhookReady(t)
	})
	for _, engine := range []string{"webhook", "policy"} {
		t.Run(engine, func(t *testing.T) {
			text := privatelink(t, "install", "--config", file, "--engine", engine)
			if engine == "policy" {
				needs(t, mutatingPolicies)
				policy := privatelink(t, "install", "--config", file, "--engine", engine, "--guard", "off")
				t.Cleanup(func() { kubectl(t, policy, "delete", "-f", "-") })
				kubectl(t, nil, "delete", "mutatingwebhookconfiguration", deploy.ConfigurationName)
			}
			kubectl(t, text, "apply", "--validate=strict", "--warnings-as-errors", "-f", "-")
			tenant := "tenant-" + engine
			namespace(t, tenant)
			eventually(t, 15*time.Second, func() error { return mismatch(tenant, public, public) })
			kubectl(t, nil, "label", "namespace", tenant, "example.com/tenant=yes")
			eventually(t, 30*time.Second, func() error { return mismatch(tenant, public, target) })
			eventually(t, 30*time.Second, func() error { // API servers learn of the guard's new binding a little later
				_, said, err := shown(tenant, pod("", "Registry.Example.COM/team/app:v1"))
				if err == nil && !strings.Contains(strings.Join(said, "\n"), deploy.GuardName+deploy.ByLabel) {
					err = fmt.Errorf("the guard does not warn: %q", said)
				}
				return err
			})
		})
	}
}

// TestAPolicyOf400RulesRewritesLargePods requires that the number of rules has no
// influence on the size of the pods that the API server can evaluate.
func TestAPolicyOf400RulesRewritesLargePods(t *testing.T) {
	needs(t, mutatingPolicies)
	shipped(t)
	const rules, containers = 400, 600
	var text strings.Builder
	text.WriteString(config + "namespaces: [" + policyNamespace + "]\nrules:\n")
	for i := range rules {
		fmt.Fprintf(&text, "- {source: quay.io/organization-%d/team, target: team-%[1]d}\n", i)
	}
	file := filepath.Join(t.TempDir(), deploy.ConfigKey)
	if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	policy := privatelink(t, "install", "--config", file, "--engine", "policy", "--guard", "off", "--failure-policy", "Fail")
	kubectl(t, policy, "apply", "--validate=strict", "--warnings-as-errors", "-f", "-")
	t.Cleanup(func() { kubectl(t, policy, "delete", "-f", "-") })
	namespace(t, policyNamespace)
	eventually(t, 15*time.Second, func() error {
		return mismatch(policyNamespace, "quay.io/organization-399/team/app:v1", ecr+"/team-399/app:v1")
	})
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{GenerateName: "large-"}}
	for i := range containers {
		p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: fmt.Sprint("c-", i), Image: fmt.Sprintf("quay.io/organization-%d/team/app:v1", i%rules)})
	}
	got, _, err := shown(policyNamespace, p)
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range got.Spec.Containers {
		if want := fmt.Sprintf("%s/team-%d/app:v1", ecr, i%rules); c.Image != want {
			t.Fatalf("container %d: image %s, want %s", i, c.Image, want)
		}
	}
}
