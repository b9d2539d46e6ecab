// SPDX-License-Identifier: Apache-2.0

//go:build linux && isolated

package isolated

import (
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/castai/privatelink-webhook/deploy"
	"github.com/castai/privatelink-webhook/test/e2e/framework/cluster"
)

// The cert-manager variant, with the controllers of cert-manager. cainjector
// publishes a new CA at once, and the kubelet takes up to a minute to project the
// new leaf. Until then the old leaf must be trusted as well.
func TestCertManager(t *testing.T) {
	t.Cleanup(func() {
		if err := n.StopCertManager(testCtx); err != nil {
			t.Error(err)
		}
	})
	if err := n.StartCertManager(testCtx); err != nil {
		t.Fatal(err)
	}
	begin, manifests := time.Now(), privatelink(t, "install", "--registry", Registry, "--overlay", "cert-manager")
	t.Cleanup(func() {
		clean(t)
		kubectl(t, manifests, "delete", "--ignore-not-found", "-f", "-", "--timeout=90s")
	})
	kubectl(t, manifests, "apply", "-f", "-")
	ready(t)
	served(t)
	reportf("\nwith cert-manager: the webhook is ready %s after `privatelink install --overlay cert-manager | kubectl apply -f -`", since(begin))

	t.Run("a pod with a public image runs", rewritten)
	t.Run("the webhook has no rights and no token", hasNoPrivileges)
	reportf("%-48s %8s %8s %8s %8s %10s", "under load of "+fmt.Sprint(rate)+" pods a second", "created", "retried", "failed", "public", "longest")
	for _, event := range []struct {
		name    string
		planned bool // no creation may need a retry
		cause   func(*testing.T)
	}{
		{"cert-manager renews the leaf", true, renewLeaf},
		{"cert-manager renews it again", true, renewLeaf},
		{"cert-manager renews the CA", true, renewAuthority},
		{"cert-manager renews the CA, cainjector is stopped", true, withoutCAInjector},
		{"the CA gets another key", true, replaceAuthority},
		{"cert-manager is stopped, rolling update", true, withoutCertManager},
		{"caBundle blanked, cainjector is running", false, blankBundle},
		{"cert-manager renews the CA, cainjector < 1.19", true, renewAuthorityWithoutMerging},
	} {
		t.Run(event.name, func(t *testing.T) { underLoad(t, event.name, event.planned, event.cause) })
	}
	if err := n.Err(); err != nil {
		t.Error(err)
	}
}

func underLoad(t *testing.T, name string, planned bool, cause func(*testing.T)) {
	l := startLoad(t, fmt.Sprintf("load-%d", time.Now().UnixMilli()))
	time.Sleep(time.Second)
	cause(t)
	time.Sleep(2 * time.Second) // late failures count as well
	public := l.end(t)
	reportf("%-48s %8d %8d %8d %8d %10s", name, l.created, l.retried, l.failed, public, l.longest.Round(10*time.Millisecond))
	if l.failed > 0 || planned && l.retried > 0 {
		t.Errorf("%d pods failed, %d had to be tried again; the last error: %v", l.failed, l.retried, l.lastError)
	}
	ready(t)
}

func rewritten(t *testing.T) {
	kubectl(t, "", "create", "namespace", agentNamespace)
	eventually(t, 30*time.Second, func(ctx context.Context) error {
		_, err := n.Client.CoreV1().ServiceAccounts(agentNamespace).Get(ctx, "default", metav1.GetOptions{})
		return err
	})
	p := pod("public", loadImages[0])
	p.Spec.SchedulerName = ""
	if _, err := n.Client.CoreV1().Pods(agentNamespace).Create(testCtx, p, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, 60*time.Second, func(ctx context.Context) error {
		p, err := n.Client.CoreV1().Pods(agentNamespace).Get(ctx, p.Name, metav1.GetOptions{})
		if err == nil && p.Status.Phase != corev1.PodRunning {
			err = fmt.Errorf("%s with %v is %s", p.Name, imagesOf(p.Spec), p.Status.Phase)
		}
		return err
	})
}

// hasNoPrivileges checks the API server for RBAC rules and the kernel for a token.
func hasNoPrivileges(t *testing.T) {
	for _, kind := range []string{"roles", "rolebindings", "clusterroles", "clusterrolebindings"} {
		if out := kubectl(t, "", "get", kind, "--all-namespaces", "--output=yaml"); strings.Contains(out, "privatelink") {
			t.Errorf("some %s name the webhook: %s", kind, out)
		}
	}
	pods, err := n.Client.CoreV1().Pods(deploy.Namespace).List(testCtx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pods.Items {
		if p.Spec.AutomountServiceAccountToken == nil || *p.Spec.AutomountServiceAccountToken {
			t.Errorf("%s: automountServiceAccountToken is not false", p.Name)
		}
		for _, v := range p.Spec.Volumes {
			if v.Projected != nil {
				t.Errorf("%s has the projected volume %s", p.Name, v.Name)
			}
		}
	}
	pids := webhooks(t)
	if len(pods.Items) != 2 || len(pids) != 2 {
		t.Errorf("%d pods and %d processes of the webhook, want 2", len(pods.Items), len(pids))
	}
	for _, pid := range pids {
		mounts, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", pid))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(mounts), "/run/secrets") || !strings.Contains(string(mounts), " /etc/privatelink-tls ") {
			t.Errorf("process %d, want the certificate and no token:\n%s", pid, mounts)
		}
	}
}

func renewLeaf(t *testing.T) {
	before := pair(t, leafSecret)
	renew(t, leafCertificate)
	begin := time.Now()
	if pair(t, leafSecret).SerialNumber.Cmp(before.SerialNumber) == 0 {
		t.Fatal("the leaf is the same as before")
	}
	served(t)
	t.Logf("the new leaf is served by both replicas %s after it was issued", since(begin))
}

func renewAuthority(t *testing.T) {
	after := renewBoth(t)
	if all := bundle(t); !slices.ContainsFunc(all, after.Equal) {
		t.Errorf("the new CA is not among the %d of caBundle", len(all))
	}
}

// renewBoth renews the CA and then the leaf, without which cainjector would see
// no new CA. It returns the CA.
func renewBoth(t *testing.T) *x509.Certificate {
	t.Helper()
	before := pair(t, authoritySecret)
	renew(t, authorityCertificate)
	after := pair(t, authoritySecret)
	if after.SerialNumber.Cmp(before.SerialNumber) == 0 {
		t.Fatal("the CA is the same as before")
	}
	if !before.PublicKey.(*ecdsa.PublicKey).Equal(after.PublicKey) {
		t.Error("the CA has another key: leaves that are still served are not below it")
	}
	renewLeaf(t)
	return after
}

// withoutCAInjector: the published CA verifies a leaf of the renewed CA, too.
func withoutCAInjector(t *testing.T) {
	if err := n.each((*cluster.Component).Kill, CAInjector); err != nil {
		t.Fatal(err)
	}
	after := renewBoth(t)
	if all := bundle(t); slices.ContainsFunc(all, after.Equal) {
		t.Error("the new CA is in caBundle although cainjector is stopped")
	}
	if err := n.each((*cluster.Component).Start, CAInjector); err != nil {
		t.Fatal(err)
	}
	eventually(t, 30*time.Second, func(context.Context) error {
		if all := bundle(t); !slices.ContainsFunc(all, after.Equal) {
			return fmt.Errorf("the new CA is not among the %d of caBundle", len(all))
		}
		return nil
	})
}

// renewAuthorityWithoutMerging has the cainjector of cert-manager 1.18 and
// older, which replaces caBundle instead of adding to it: the old CA is not
// trusted from then on. The leaf is below both, as long as they have the same key.
func renewAuthorityWithoutMerging(t *testing.T) {
	if err := n.ReplaceCAInjector("CAInjectorMerging=false"); err != nil {
		t.Fatal(err)
	}
	renewAuthority(t)
	if all := bundle(t); len(all) != 1 {
		t.Errorf("%d CAs are in caBundle, want 1", len(all))
	}
}

// replaceAuthority is the procedure for a leaked CA key. cainjector adds the new
// CA; the old one is removed by hand when no leaf needs it any more.
func replaceAuthority(t *testing.T) {
	before := pair(t, authoritySecret)
	kubectl(t, "", "delete", "secret", "--namespace", deploy.Namespace, authoritySecret)
	eventually(t, 60*time.Second, func(ctx context.Context) error {
		now, err := certificateOf(ctx, authoritySecret)
		if err == nil && before.PublicKey.(*ecdsa.PublicKey).Equal(now.PublicKey) {
			err = errors.New("the CA has the key from before")
		}
		return err
	})
	renewLeaf(t)
	if all := bundle(t); !slices.ContainsFunc(all, before.Equal) {
		t.Errorf("the old CA is not among the %d of caBundle", len(all))
	}
	s, err := n.Client.CoreV1().Secrets(deploy.Namespace).Get(testCtx, leafSecret, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ca := base64.StdEncoding.EncodeToString(s.Data["ca.crt"])
	kubectl(t, "", "patch", "mutatingwebhookconfiguration", deploy.ConfigurationName, "--type=json", fmt.Sprintf(
		`--patch=[{"op": "replace", "path": "/webhooks/0/clientConfig/caBundle", "value": %[1]q}, {"op": "replace", "path": "/webhooks/1/clientConfig/caBundle", "value": %[1]q}]`, ca))
	time.Sleep(3 * time.Second) // cainjector sees it, and has nothing to add
	if all := bundle(t); len(all) != 1 || !all[0].Equal(pair(t, authoritySecret)) {
		t.Errorf("%d CAs are in caBundle, want the new one alone", len(all))
	}
	served(t)
}

// withoutCertManager: issued certificates and the published CA stay valid.
func withoutCertManager(t *testing.T) {
	if err := n.each((*cluster.Component).Kill, CertManager, CAInjector); err != nil {
		t.Fatal(err)
	}
	rollingUpdate(t)
	if err := n.each((*cluster.Component).Start, CertManager, CAInjector); err != nil {
		t.Fatal(err)
	}
}
