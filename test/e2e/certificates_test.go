// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/castai/privatelink-webhook/deploy"
	"github.com/castai/privatelink-webhook/test/e2e/framework/cluster"
)

// trusted says what is wrong unless every caBundle holds the CA of the Secret.
func trusted(t *testing.T) error {
	t.Helper()
	ca := authority(t)
	if ca == "" {
		return errors.New("the Secret holds no CA")
	}
	for name, bundle := range caBundles(t) {
		if !strings.Contains(bundle, strings.TrimSpace(ca)) {
			return fmt.Errorf("the caBundle of %s lacks the CA", name)
		}
	}
	return nil
}

// A manifest that says caBundle: "" wipes it, and so does kubectl replace. Pods
// are refused until it is repaired, and that takes seconds.
func TestAWipedBundleIsRepairedWithinSeconds(t *testing.T) {
	shipped(t)
	namespace(t, Namespace)
	configuration := only(t, privatelink(t, "install", "--registry", ecr), "MutatingWebhookConfiguration")
	for name, wipe := range map[string]func(){
		"by kubectl replace": func() { kubectl(t, configuration, "replace", "-f", "-") },
		"by an empty value in a manifest": func() {
			empty := bytes.ReplaceAll(configuration, []byte("  clientConfig:\n"), []byte("  clientConfig:\n    caBundle: \"\"\n"))
			kubectl(t, empty, "apply", "-f", "-")
		},
	} {
		t.Run(name, func(t *testing.T) {
			if err := trusted(t); err != nil {
				t.Fatal(err)
			}
			before := generation(t)
			wipe()
			if generation(t) == before {
				t.Fatal("nothing was wiped")
			}
			begin := time.Now()
			eventually(t, 10*time.Second, func() error { return errors.Join(trusted(t), rewritten()) })
			t.Logf("repaired after %s", time.Since(begin).Round(100*time.Millisecond))
		})
	}
	// The second way left its value in kubectl's record of what was applied; the
	// next apply removes both, and wipes once more.
	kubectl(t, configuration, "apply", "-f", "-")
	eventually(t, 10*time.Second, func() error { return errors.Join(trusted(t), rewritten()) })
}

func generation(t *testing.T) int64 {
	t.Helper()
	c, err := h.Client.AdmissionregistrationV1().MutatingWebhookConfigurations().Get(testCtx, deploy.ConfigurationName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return c.Generation
}

// The webhook creates a new CA, publishes it, and then uses it.
func TestALostCAIsReplacedWithoutLosingAPod(t *testing.T) {
	shipped(t)
	old := authority(t)
	tr := startTraffic(t)
	if _, err := h.Client.CoreV1().Secrets(deploy.Namespace).Patch(testCtx, deploy.CASecret, types.JSONPatchType,
		[]byte(`[{"op":"remove","path":"/data"}]`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, 30*time.Second, func() error {
		if ca := authority(t); ca == old {
			return errors.New("the CA is still the old one")
		}
		return trusted(t)
	})
	served(t, authority(t), 30*time.Second)
	tr.lost(t)
}

func TestAResetRevokesTheCAWithoutLosingAPod(t *testing.T) {
	shipped(t)
	t.Parallel()
	old := authority(t)
	tr := startTraffic(t)
	privatelink(t, "certs", "reset", "--yes", "--context", cluster.Context)
	revoked(t, old)
	tr.lost(t)
}

// The price of haste is some refused pods, for a second or two.
func TestAResetWithNowRevokesTheCAAtOnce(t *testing.T) {
	shipped(t)
	namespace(t, Namespace)
	old := authority(t)
	begin := time.Now()
	privatelink(t, "certs", "reset", "--now", "--yes", "--context", cluster.Context)
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("it took %s", took)
	}
	revoked(t, old)
	eventually(t, 10*time.Second, rewritten)
	t.Logf("pods are rewritten again after %s", time.Since(begin).Round(100*time.Millisecond))
	served(t, authority(t), 10*time.Second)
}

// revoked checks that the old CA is not trusted.
func revoked(t *testing.T, old string) {
	t.Helper()
	ca := authority(t)
	if ca == old {
		t.Error("the Secret still has the old CA")
	}
	for name, bundle := range caBundles(t) {
		if strings.TrimSpace(bundle) != strings.TrimSpace(ca) {
			t.Errorf("the caBundle of %s is not the new CA alone", name)
		}
	}
}
