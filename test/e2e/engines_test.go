// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/castai/privatelink-webhook/deploy"
	"github.com/castai/privatelink-webhook/internal/podspec"
	"github.com/castai/privatelink-webhook/internal/testutil/corpus"
)

// policyNamespace is where the policy rewrites; the webhook does so in Namespace.
const policyNamespace = "castai-policy"

// policyInstalled installs the policy engine for its namespace, without a guard:
// that of the webhook's bundle has the same name.
func policyInstalled(t *testing.T) {
	t.Helper()
	file := filepath.Join(t.TempDir(), deploy.ConfigKey)
	if err := os.WriteFile(file, []byte(config+"namespaces: ["+policyNamespace+"]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	text := privatelink(t, "install", "--config", file, "--engine", "policy", "--guard", "off")
	kubectl(t, text, "apply", "--validate=strict", "--warnings-as-errors", "-f", "-")
	t.Cleanup(func() { kubectl(t, text, "delete", "-f", "-") })
	namespace(t, policyNamespace)
	eventually(t, 15*time.Second, func() error { return mismatch(policyNamespace, public, target) })
}

// mismatch describes the difference if the image is not mapped to the other.
func mismatch(namespace, image, want string) error {
	got, err := try(testCtx, namespace, image)
	if err == nil && got != want {
		err = fmt.Errorf("image %s, want %s", got, want)
	}
	return err
}

// TestBothEnginesStoreTheSame creates the corpus, and 10,000 generated pods for
// show, in a namespace of each engine. The images that are stored are the same,
// and what the API server refuses it refuses in both.
func TestBothEnginesStoreTheSame(t *testing.T) {
	needs(t, mutatingPolicies)
	shipped(t)
	namespace(t, Namespace)
	policyInstalled(t)
	// An earlier test may have had a keep, which the webhook forgets in its time.
	awaitMapping(t, map[string]string{"quay.io/acme/kept/a:1": ecr + "/quay.io/acme/kept/a:1"})
	var (
		work                     errgroup.Group
		mu                       sync.Mutex
		stored, changed, refused int
		took                     [2]time.Duration
	)
	work.SetLimit(8)
	compare := func(name string, raw []byte, dryRun []string) {
		work.Go(func() error {
			begin := time.Now()
			byWebhook, err := stores(Namespace, raw, dryRun)
			between := time.Now()
			byPolicy, err2 := stores(policyNamespace, raw, dryRun)
			mu.Lock()
			defer mu.Unlock()
			took[0] += between.Sub(begin)
			took[1] += time.Since(between)
			switch {
			case (err == nil) != (err2 == nil):
				t.Errorf("%s: refused in one: webhook %v; policy %v", name, err, err2)
			case err != nil:
				refused++
			default:
				stored++
				if cmp.Diff(asWritten(t, raw), byWebhook) != "" {
					changed++
				}
			}
			if d := cmp.Diff(byWebhook, byPolicy); d != "" {
				t.Errorf("%s: -webhook +policy\n%s", name, d)
			}
			return nil
		})
	}
	for name, raw := range corpus.Pods() {
		if !strings.HasPrefix(name, "ephemeral.") {
			compare(name, raw, nil)
		}
	}
	for i, raw := range corpus.Generated(4, 10_000) {
		compare(fmt.Sprint("generated ", i), raw, []string{metav1.DryRunAll})
	}
	if err := work.Wait(); err != nil {
		t.Fatal(err)
	}
	n := time.Duration(stored + refused)
	t.Logf("%d pods stored by both, %d of them changed; %d refused by the API server in both; a call took %v with the webhook and %v with the policy, eight at a time",
		stored, changed, refused, took[0]/n, took[1]/n)
	if stored < 9_000 || changed < 5_000 {
		t.Errorf("only %d pods were stored, and %d changed: that proves little", stored, changed)
	}
}

// asWritten returns the images of a pod that was not changed.
func asWritten(t *testing.T, raw []byte) map[string]string {
	var p corev1.Pod // drops what an API server of this version does not know
	err := json.Unmarshal(raw, &p)
	if err == nil {
		raw, err = json.Marshal(p)
	}
	if err != nil {
		t.Error(err)
	}
	var object map[string]any
	if err := json.Unmarshal(raw, &object); err != nil {
		t.Error(err)
	}
	return references(object)
}

// TestNoPodIsLostWhenTheEngineIsChanged follows docs/reference/engines.md: the new engine
// is there before the old one goes.
func TestNoPodIsLostWhenTheEngineIsChanged(t *testing.T) {
	needs(t, mutatingPolicies)
	shipped(t)
	tr := startTraffic(t)
	kubectl(t, privatelink(t, "install", "--registry", ecr, "--engine", "policy"), "apply", "-f", "-")
	eventually(t, 15*time.Second, isRecorded(false)) // the policy comes before the webhook
	kubectl(t, privatelink(t, "uninstall", "--guard", "off"), "delete", "-f", "-")
	tr.lost(t)
	if _, err := h.Client.AdmissionregistrationV1().ValidatingAdmissionPolicies().Get(testCtx, deploy.GuardName, metav1.GetOptions{}); err != nil {
		t.Errorf("the guard was deleted: %v", err)
	}

	tr = startTraffic(t)
	kubectl(t, nil, "apply", "-k", tree(t))
	webhookReady(t)
	kubectl(t, privatelink(t, "uninstall", "--engine", "policy", "--guard", "off"), "delete", "--ignore-not-found", "-f", "-")
	eventually(t, 15*time.Second, isRecorded(true))
	tr.lost(t)
}

// isRecorded checks which engine rewrites pods: only the webhook writes the annotation.
func isRecorded(want bool) func() error {
	return func() error {
		p, _, err := shown(Namespace, pod("", public))
		if err == nil && (p.Annotations[podspec.OriginalImages] != "") != want {
			err = fmt.Errorf("annotations %v", p.Annotations)
		}
		return err
	}
}

// stores creates a pod and returns its images by their places, as they are read
// back where it was created for real.
func stores(namespace string, raw []byte, dryRun []string) (map[string]string, error) {
	var p corev1.Pod
	if err := json.Unmarshal(raw, &p); err != nil {
		return nil, err
	}
	p.Namespace, p.OwnerReferences = namespace, nil
	p.Spec.ServiceAccountName, p.Spec.PriorityClassName, p.Spec.Priority = "", "", nil
	p.ResourceVersion, p.UID = "", ""
	ctx, cancel := context.WithTimeout(testCtx, 60*time.Second)
	defer cancel()
	created, err := h.Client.CoreV1().Pods(namespace).Create(ctx, &p, metav1.CreateOptions{DryRun: dryRun})
	if err != nil {
		return nil, err
	}
	if dryRun == nil {
		now := int64(0)
		if created, err = h.Client.CoreV1().Pods(namespace).Get(ctx, created.Name, metav1.GetOptions{}); err != nil {
			return nil, err
		}
		if err := h.Client.CoreV1().Pods(namespace).Delete(ctx, created.Name, metav1.DeleteOptions{GracePeriodSeconds: &now}); err != nil {
			return nil, err
		}
	}
	text, err := json.Marshal(created)
	if err != nil {
		return nil, err
	}
	var object map[string]any
	if err := json.Unmarshal(text, &object); err != nil {
		return nil, err
	}
	return references(object), nil
}

func TestThePolicyRewritesDebugContainersAndWhatIsInjectedLater(t *testing.T) {
	needs(t, mutatingPolicies)
	policyInstalled(t)
	create(t, policyNamespace, pod("debugged", target))
	kubectl(t, nil, "debug", "pod/debugged", "--namespace="+policyNamespace, "--image=busybox:1.37", "--container=first", "--attach=false", "--quiet")
	p, err := h.Client.CoreV1().Pods(policyNamespace).Get(testCtx, "debugged", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := p.Spec.EphemeralContainers[0].Image, ecr+"/docker.io/library/busybox:1.37"; got != want {
		t.Errorf("the debug container has %q, want %q", got, want)
	}
	injector(t, policyNamespace)
	// A pod of private images: nothing to do in the first round.
	injected := create(t, policyNamespace, injectable("injected", target))
	if got, want := images(injected), target+" "+ecr+"/docker.io/library/busybox:1.37"; got != want {
		t.Errorf("images %q, want %q", got, want)
	}
}

func images(p *corev1.Pod) string {
	var out []string
	for _, c := range p.Spec.Containers {
		out = append(out, c.Image)
	}
	return strings.Join(out, " ")
}

func TestThePolicyOfTheTreeIsThatOfPrivatelinkInstall(t *testing.T) {
	t.Parallel()
	want := objects(t, privatelink(t, "install", "--registry", ecr, "--engine", "policy"))
	dir := tree(t)
	top := filepath.Join(dir, "kustomization.yaml")
	text, err := os.ReadFile(top)
	if err == nil {
		err = os.WriteFile(top, []byte(strings.Replace(string(text), "resources:\n- base\n", "resources:\n- overlays/policy\n", 1)), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, objects(t, kustomize(t, h.KubectlPath, dir))); d != "" {
		t.Errorf("-privatelink install +overlays/policy:\n%s", d)
	}
	if len(want) != 4 {
		t.Errorf("%d objects, want two policies and two bindings", len(want))
	}
}

// An older API server does not know the kind, and kubectl reports that. The guard
// is applied all the same.
func TestAnOlderAPIServerRefusesThePolicyByItsName(t *testing.T) {
	if minor(t) >= mutatingPolicies.minor {
		t.Skip("this API server has MutatingAdmissionPolicy")
	}
	text := privatelink(t, "install", "--registry", ecr, "--engine", "policy")
	out, err := h.Kubectl(testCtx, strings.NewReader(string(text)), "apply", "-f", "-")
	if err == nil || !strings.Contains(err.Error(), `no matches for kind "MutatingAdmissionPolicy" in version "admissionregistration.k8s.io/v1"`) {
		t.Errorf("kubectl: error %v, want an unknown kind", err)
	}
	if !strings.Contains(string(out), "validatingadmissionpolicy.admissionregistration.k8s.io/"+deploy.GuardName) {
		t.Errorf("the guard is not applied: %s", out)
	}
	t.Log(err)
	if !installedHere() {
		kubectl(t, nil, "delete", "validatingadmissionpolicy,validatingadmissionpolicybinding", deploy.GuardName)
	}
}

func installedHere() bool {
	_, err := h.Client.AdmissionregistrationV1().MutatingWebhookConfigurations().Get(testCtx, deploy.ConfigurationName, metav1.GetOptions{})
	return err == nil
}
