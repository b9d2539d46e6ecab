// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/castai/privatelink-webhook/deploy"
)

func TestTheBundleCanBeAppliedAgain(t *testing.T) {
	shipped(t)
	before, ca := state(t), authority(t)
	tr := startTraffic(t)
	for name, apply := range map[string]func() string{
		"kubectl apply -k":    func() string { return kubectl(t, nil, "apply", "-k", tree(t)) },
		"privatelink install": func() string { return kubectl(t, privatelink(t, "install", "--registry", ecr), "apply", "-f", "-") },
	} {
		for line := range strings.Lines(apply()) {
			// kubectl always sends the selector of a disruption budget again.
			if line = strings.TrimSpace(line); !strings.HasSuffix(line, " unchanged") && !strings.HasPrefix(line, "poddisruptionbudget.") {
				t.Errorf("%s: %s", name, line)
			}
		}
	}
	if d := cmp.Diff(before, state(t)); d != "" {
		t.Errorf("objects changed (-before +after):\n%s", d)
	}
	if got := authority(t); got != ca {
		t.Error("the CA is another one")
	}
	if err := trusted(t); err != nil {
		t.Error(err)
	}
	tr.lost(t)
}

// state is the version of each of the bundle's objects, as far as it was
// changed by more than its status.
func state(t *testing.T) map[string]string {
	t.Helper()
	return versions(t, nil, "-k", tree(t))
}

// versions returns those of the objects that kubectl get finds with the arguments.
func versions(t *testing.T, stdin []byte, args ...string) map[string]string {
	t.Helper()
	out := map[string]string{}
	args = append([]string{"get"}, append(args, "-o", `jsonpath={range .items[*]}{.kind} {.metadata.name} {.metadata.generation}/{.metadata.resourceVersion}{"\n"}{end}`)...)
	for line := range strings.Lines(kubectl(t, stdin, args...)) {
		f := strings.Fields(line)
		generation, version, _ := strings.Cut(f[2], "/")
		if generation == "" { // nothing in it is a status
			generation = version
		}
		out[f[0]+" "+f[1]] = generation
	}
	return out
}

// Old and new replicas serve side by side, and the old ones drain.
func TestARollingRestartLosesNoPod(t *testing.T) {
	if h.Kubelet.Capacity() < 4 {
		t.Skip("there are not enough addresses for the webhook's pods")
	}
	shipped(t)
	t.Parallel()
	tr := startTraffic(t)
	kubectl(t, nil, "rollout", "restart", "--namespace="+deploy.Namespace, "deployment/"+deploy.Name)
	kubectl(t, nil, "rollout", "status", "--namespace="+deploy.Namespace, "deployment/"+deploy.Name, "--timeout=60s")
	eventually(t, 60*time.Second, func() error { // until the old ones have drained
		if n := len(h.Kubelet.Pods()); n != 2 {
			return fmt.Errorf("%d pods run, want 2", n)
		}
		return nil
	})
	tr.lost(t)
}

// The bundle comes back by the other way in, and now the namespace of the
// workloads is there before it.
func TestTheBundleGoesWithoutATraceAndComesBack(t *testing.T) {
	namespace(t, Namespace)
	shipped(t)
	if found := traces(t); len(found) < 10 {
		t.Fatalf("only %v belong to the bundle: the search is wrong", found)
	}
	remove(t, tree(t))
	t.Run("with cert-manager's certificates instead", func(t *testing.T) {
		certManagerCRDs(t)
		overlay := tree(t, "cert-manager")
		kubectl(t, nil, "apply", "-k", overlay)
		certManager(t)
		webhookReady(t)
		eventually(t, 5*time.Second, rewritten)
		for _, p := range h.Kubelet.Pods() {
			names := kubectl(t, nil, "get", "pod", p.Name, "--namespace="+deploy.Namespace, "-o", "jsonpath={.spec.volumes[*].name}")
			got := strings.Fields(names)
			if slices.Sort(got); !slices.Equal(got, []string{"config", "tls"}) {
				t.Errorf("volumes %v, want config and tls, and no token", got)
			}
		}
		remove(t, overlay)
	})
	kubectl(t, privatelink(t, "install", "--registry", ecr), "apply", "-f", "-")
	webhookReady(t)
	if err := rewritten(); err != nil {
		t.Error(err)
	}
}

// remove deletes a bundle and looks for what is left of it. Its pods are dead
// before: a namespace is checked again only after half of their grace period.
func remove(t *testing.T, tree string) {
	t.Helper()
	h.Kubelet.Crash()
	defer h.Kubelet.Recover()
	kubectl(t, nil, "delete", "-k", tree, "--timeout=90s")
	if left := traces(t); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if got, err := try(testCtx, Namespace, public); got != public || err != nil {
		t.Errorf("without the bundle a pod has the image %q (%v), want %q", got, err, public)
	}
}

// traces lists the objects of every kind and namespace that carry our name or
// label.
func traces(t *testing.T) []string {
	t.Helper()
	_, lists, err := h.Client.Discovery().ServerGroupsAndResources()
	if err != nil {
		t.Fatal(err)
	}
	var kinds, out []string
	for _, l := range lists {
		group, _, _ := strings.Cut(l.GroupVersion, "/")
		for _, r := range l.APIResources {
			if !slices.Contains(r.Verbs, "list") || strings.HasPrefix(r.Name, "events") {
				continue // events describe the past, and expire
			}
			if group == "v1" {
				kinds = append(kinds, r.Name)
			} else {
				kinds = append(kinds, r.Name+"."+group)
			}
		}
	}
	slices.Sort(kinds)
	all := kubectl(t, nil, "get", strings.Join(slices.Compact(kinds), ","), "--all-namespaces", "-o",
		`jsonpath={range .items[*]}{.kind}{" "}{.metadata.namespace}{"/"}{.metadata.name}{" "}{.metadata.labels}{"\n"}{end}`)
	for line := range strings.Lines(all) {
		if strings.Contains(line, "privatelink") {
			out = append(out, strings.TrimSpace(line))
		}
	}
	return out
}

// authority is the CA certificate in the Secret.
func authority(t *testing.T) string {
	t.Helper()
	s, err := h.Client.CoreV1().Secrets(deploy.Namespace).Get(testCtx, deploy.CASecret, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return string(s.Data["ca.crt"])
}

// caBundles are what the webhook configuration trusts, by webhook.
func caBundles(t *testing.T) map[string]string {
	t.Helper()
	c, err := h.Client.AdmissionregistrationV1().MutatingWebhookConfigurations().Get(testCtx, deploy.ConfigurationName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, w := range c.Webhooks {
		out[w.Name] = string(w.ClientConfig.CABundle)
	}
	return out
}
