// SPDX-License-Identifier: Apache-2.0

//go:build e2e && helm

package e2e

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/castai/privatelink-webhook/deploy"
	"github.com/castai/privatelink-webhook/test/e2e/framework/helm"
)

// chartRelease is a release of the chart.
type chartRelease struct {
	name, namespace string
	table           *table
}

// TestHelm takes the chart through its life with Helm 3 and Helm 4, while pods are
// created all the time. At the end it logs a table of all steps.
func TestHelm(t *testing.T) {
	namespace(t, Namespace)
	if installedHere() {
		remove(t, tree(t))
	}
	t.Cleanup(func() { shipped(t) })
	r := chartRelease{name: "privatelink", namespace: deploy.Namespace, table: &table{}}
	t.Cleanup(func() { t.Logf("\n%s", r.table) })
	for _, first := range helm.Majors() {
		for _, second := range helm.Majors() {
			t.Run(fmt.Sprintf("installed with Helm %d and upgraded with Helm %d", first, second), func(t *testing.T) { r.life(t, first, second) })
		}
	}
	for _, major := range helm.Majors() {
		t.Run(fmt.Sprintf("variants with Helm %d", major), func(t *testing.T) { r.variants(t, major) })
		t.Run(fmt.Sprintf("what kubectl has changed is mended with Helm %d", major), func(t *testing.T) { r.mended(t, major) })
		t.Run(fmt.Sprintf("engines with Helm %d", major), func(t *testing.T) { r.engines(t, major) })
		t.Run(fmt.Sprintf("the kustomize install is taken over by Helm %d", major), func(t *testing.T) { r.takeOver(t, major) })
	}
	t.Run("long names", func(t *testing.T) { longNames(t, r.table) })
	t.Run("rendered by helm template and applied server-side", func(t *testing.T) { r.rendered(t) })
}

// life installs with one version of Helm, and does everything else with the other.
func (r chartRelease) life(t *testing.T, first, second int) {
	chart, next := chartDir(), nextChart(t)
	r.install(t, first, chart)
	secret := secretData(t)
	keepsCA := func(t *testing.T) {
		t.Helper()
		if d := cmp.Diff(secret, secretData(t)); d != "" {
			t.Errorf("the Secret of the CA changed:\n%s", d)
		}
	}
	r.unchanged(t, second, chart)
	r.step(t, second, "upgrade: arguments, environment and ports", func(t *testing.T) {
		r.upgrade(t, second, next)
		if args := kubectl(t, nil, "get", "deployment", deploy.Name, "--namespace="+r.namespace, "-o", "jsonpath={.spec.template.spec.containers[0].args}"); !strings.Contains(args, "--log-level=debug") {
			t.Errorf("arguments %s", args)
		}
	})
	keepsCA(t)
	r.step(t, second, "upgrade: two entries more", func(t *testing.T) {
		r.upgrade(t, second, next, "--set", "namespaceSelector.matchLabels.tenant=yes")
		eventually(t, 10*time.Second, func() error { return published(t, 4) })
	})
	r.step(t, second, "upgrade: two entries less", func(t *testing.T) {
		r.upgrade(t, second, next)
		eventually(t, 10*time.Second, func() error { return published(t, 2) })
	})
	r.step(t, second, "rollback to the entries", func(t *testing.T) {
		r.helm(t, second, "rollback", r.name, "4", "--wait", "--timeout=120s")
		eventually(t, 10*time.Second, func() error { return published(t, 4) })
	})
	r.step(t, second, "rollback to the first release", func(t *testing.T) {
		r.helm(t, second, "rollback", r.name, "1", "--wait", "--timeout=120s")
		eventually(t, 10*time.Second, func() error { return published(t, 2) })
		if err := trusted(t); err != nil {
			t.Error(err)
		}
	})
	keepsCA(t)
	r.uninstall(t, second)
}

// variants changes the release to the other variants and back.
func (r chartRelease) variants(t *testing.T, major int) {
	certManagerCRDs(t)
	chart := chartDir()
	r.install(t, major, chart)
	r.step(t, major, "upgrade: host network", func(t *testing.T) { r.upgrade(t, major, chart, "--set", "hostNetwork=true") })
	r.step(t, major, "upgrade: back to the pod network", func(t *testing.T) { r.upgrade(t, major, chart) })
	r.step(t, major, "upgrade: cert-manager", func(t *testing.T) {
		r.helm(t, major, r.upgradeArgs(chart, "--set", "certManager.enabled=true")...)
		certManager(t) // the pods wait for its Secret
		r.ready(t)
	})
	r.step(t, major, "upgrade: back to self-managed certificates", func(t *testing.T) {
		r.upgrade(t, major, chart)
		eventually(t, 10*time.Second, func() error { return published(t, 2) })
	})
	kubectl(t, nil, "delete", "secret", "--namespace="+r.namespace, "privatelink-webhook-tls") // cert-manager keeps it, too
	r.uninstall(t, major)
}

// mended has kubectl change what Helm has installed, and does what the doctor says. For
// Helm 4, a field that kubectl has set to another value is a conflict.
func (r chartRelease) mended(t *testing.T, major int) {
	r.install(t, major, chartDir())
	o := newOperator(t, h.Kubeconfig)
	program, err := helm.Path(h.Root, major)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(program, filepath.Join(o.dir, "helm")); err != nil {
		t.Fatal(err)
	}
	const in = "kubectl -n " + deploy.Namespace + " "
	for _, f := range []fault{
		{name: "one replica", check: "replicas", says: "only one replica", cause: in + "scale deployment/" + deploy.Name + " --replicas=1 && " + in + "rollout status deployment/" + deploy.Name},
		{name: "no replicas", check: "replicas", says: "scaled to 0", cause: in + "scale deployment/" + deploy.Name + " --replicas=0"},
		{name: "another registry", check: "config", says: "the cluster has 111111111111",
			cause: in + "patch configmap " + deploy.Name + ` --type=merge -p '{"data":{"privatelink.yaml":"registry: 111111111111.dkr.ecr.us-east-1.amazonaws.com/castai\n"}}'`},
		{name: "break-glass", check: "webhook-configuration", says: "there is no MutatingWebhookConfiguration", cause: "kubectl delete mutatingwebhookconfiguration " + deploy.ConfigurationName},
		{name: "the guard is changed", check: "guard", says: "spec.validations",
			cause: "kubectl patch validatingadmissionpolicy " + deploy.GuardName + ` --type=json -p '[{"op":"replace","path":"/spec/validations/0/expression","value":"true"}]'`},
	} {
		t.Run(f.name, func(t *testing.T) { o.try(t, "--config privatelink.yaml", f) })
	}
	r.uninstall(t, major)
}

// engines changes from the webhook to the policy and back, with a release for each: the
// new engine is there before the old one goes.
func (r chartRelease) engines(t *testing.T, major int) {
	needs(t, mutatingPolicies)
	chart := chartDir()
	policy := chartRelease{name: "privatelink-policy", namespace: r.namespace, table: r.table}
	r.install(t, major, chart)
	r.step(t, major, "another release with the policy, uninstall of the webhook", func(t *testing.T) {
		policy.helm(t, major, policy.installArgs(chart, "--set", "engine=policy,guard=off")...)
		eventually(t, 15*time.Second, isRecorded(false)) // the policy comes before the webhook
		r.helm(t, major, "uninstall", r.name, "--wait")
		policy.helm(t, major, policy.upgradeArgs(chart, "--set", "engine=policy")...)
	})
	r.step(t, major, "another release with the webhook, uninstall of the policy", func(t *testing.T) {
		r.helm(t, major, r.installArgs(chart, "--set", "guard=off", "--wait", "--timeout=120s")...)
		eventually(t, 15*time.Second, func() error { return published(t, 2) })
		policy.helm(t, major, "uninstall", policy.name, "--wait")
		eventually(t, 15*time.Second, isRecorded(true))
	})
	r.uninstall(t, major)
}

// takeOver has Helm take the objects that kubectl apply -k created. Helm 4 applies them
// client-side from then on: kubectl still owns their fields, so that server-side another
// value would be a conflict.
func (r chartRelease) takeOver(t *testing.T, major int) {
	args := []string{"--take-ownership", "--wait", "--timeout=120s"}
	if major > 3 {
		args = append(args, "--server-side=false")
	}
	shipped(t)
	eventually(t, 15*time.Second, rewritten)
	secret := secretData(t)
	r.step(t, major, "install --take-ownership of the kustomize install", func(t *testing.T) {
		r.helm(t, major, r.installArgs(chartDir(), args...)...)
		r.ready(t)
	})
	r.unchanged(t, major, chartDir())
	r.step(t, major, "upgrade afterwards", func(t *testing.T) { r.upgrade(t, major, nextChart(t)) })
	if d := cmp.Diff(secret, secretData(t)); d != "" {
		t.Errorf("the Secret of the CA changed:\n%s", d)
	}
	r.uninstall(t, major)
}

// longNames has the longest name of a release, and of a namespace.
func longNames(t *testing.T, table *table) {
	long := chartRelease{name: "r" + strings.Repeat("-long", 10) + "-r", namespace: "n" + strings.Repeat("-long", 12) + "-n", table: table}
	if len(long.name) != 53 || len(long.namespace) != 63 {
		t.Fatalf("%d and %d characters", len(long.name), len(long.namespace))
	}
	node, err := h.StartKubelet(testCtx, long.namespace, os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(node.Stop)
	major := 4
	long.step(t, major, "install: release of 53 characters, namespace of 63", func(t *testing.T) {
		long.helm(t, major, long.installArgs(chartDir(), "--wait", "--timeout=120s")...)
		eventually(t, 30*time.Second, rewritten)
	}, "public, refused, rewritten", "public, rewritten")
	manifests := long.helm(t, major, "get", "manifest", long.name)
	seen := map[string]bool{}
	for key, o := range objects(t, manifests) {
		metadata := o.(map[string]any)["metadata"].(map[string]any)
		if name := fmt.Sprint(metadata["name"]); len(name) > 63 || seen[key] {
			t.Errorf("%s: %d characters", key, len(name))
		}
		seen[key] = true
		if ns := metadata["namespace"]; ns != nil && ns != long.namespace {
			t.Errorf("%s is in %v", key, ns)
		}
	}
	if names := kubectl(t, nil, "get", "mutatingwebhookconfigurations", "-o", "jsonpath={.items[*].metadata.name}"); names != deploy.ConfigurationName {
		t.Errorf("webhook configurations %s", names)
	}
	node.Crash() // the pods need not drain
	long.helm(t, major, "uninstall", long.name)
	gone(t, long.namespace)
	if left := traces(t); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// rendered applies the output of helm template, as Argo CD does, again and again.
func (r chartRelease) rendered(t *testing.T) {
	namespace(t, r.namespace)
	for _, major := range helm.Majors() {
		manifests := r.helm(t, major, append([]string{"template"}, r.valueArgs(chartDir())...)...)
		if n := storedAsRendered(t, manifests); n < 3 {
			t.Errorf("Helm %d: only %d objects were compared", major, n)
		}
		apply := func() { kubectl(t, manifests, "apply", "--server-side", "--field-manager=gitops", "-f", "-") }
		apply()
		r.ready(t)
		eventually(t, 15*time.Second, func() error { return published(t, 2) })
		before := versions(t, manifests, "-f", "-")
		kubectl(t, manifests, "diff", "--server-side", "--field-manager=gitops", "-f", "-")
		apply()
		if d := cmp.Diff(before, versions(t, manifests, "-f", "-")); d != "" || len(before) < 10 {
			t.Errorf("Helm %d: objects changed (-before +after):\n%s", major, d)
		}
		r.table.add(fmt.Sprint(major), "template, applied twice by server-side apply", "no change", nil, 0)
	}
	h.Kubelet.Crash()
	defer h.Kubelet.Recover()
	gone(t, r.namespace)
	kubectl(t, privatelink(t, "uninstall"), "delete", "--ignore-not-found", "-f", "-")
	if left := traces(t); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// install installs the release under load: once a pod was rewritten, all are.
func (r chartRelease) install(t *testing.T, major int, chart string, args ...string) {
	t.Helper()
	r.step(t, major, "install", func(t *testing.T) {
		r.helm(t, major, r.installArgs(chart, append(args, "--wait", "--timeout=120s")...)...)
		eventually(t, 30*time.Second, func() error { return published(t, 2) })
	}, "public, refused, rewritten", "public, rewritten")
}

// unchanged upgrades to the same chart and values, which changes no object.
func (r chartRelease) unchanged(t *testing.T, major int, chart string) {
	t.Helper()
	manifests := r.helm(t, major, "get", "manifest", r.name)
	before := versions(t, manifests, "-f", "-")
	r.step(t, major, "upgrade: no change", func(t *testing.T) { r.upgrade(t, major, chart) })
	if d := cmp.Diff(before, versions(t, manifests, "-f", "-")); d != "" || len(before) < 10 {
		t.Errorf("objects changed (-before +after):\n%s", d)
	}
}

func (r chartRelease) upgrade(t *testing.T, major int, chart string, args ...string) {
	t.Helper()
	r.helm(t, major, r.upgradeArgs(chart, append(args, "--wait", "--timeout=120s")...)...)
	r.ready(t)
}

// uninstall removes the release under load, and looks for what is left.
func (r chartRelease) uninstall(t *testing.T, major int) {
	t.Helper()
	r.step(t, major, "uninstall", func(t *testing.T) {
		r.helm(t, major, "uninstall", r.name, "--wait", "--timeout=120s")
	}, "rewritten, public")
	h.Kubelet.Crash() // the pods need not drain
	defer h.Kubelet.Recover()
	gone(t, r.namespace)
	if left := traces(t); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// ready returns when the newest pods alone serve.
func (r chartRelease) ready(t *testing.T) {
	t.Helper()
	webhookReady(t)
	eventually(t, 60*time.Second, func() error { // until the old ones have drained
		if n := len(h.Kubelet.Pods()); n != 2 {
			return fmt.Errorf("%d pods run, want 2", n)
		}
		return nil
	})
}

func (r chartRelease) valueArgs(chart string, args ...string) []string {
	return append([]string{r.name, chart, "--set", "registry=" + ecr}, args...)
}

func (r chartRelease) installArgs(chart string, args ...string) []string {
	return append([]string{"install", "--create-namespace"}, r.valueArgs(chart, args...)...)
}

func (r chartRelease) upgradeArgs(chart string, args ...string) []string {
	return append([]string{"upgrade"}, r.valueArgs(chart, args...)...)
}

// helm fails the test if Helm fails.
func (r chartRelease) helm(t *testing.T, major int, args ...string) []byte {
	t.Helper()
	out, err := h.Helm(testCtx, major, append(args, "--namespace="+r.namespace)...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// step runs a step under load. The outcomes of the pods are one of those given; without
// any, all pods are rewritten.
func (r chartRelease) step(t *testing.T, major int, what string, run func(*testing.T), want ...string) {
	t.Helper()
	if len(want) == 0 {
		want = []string{string(isRewritten)}
	}
	begin := time.Now()
	tr := startTraffic(t)
	result := "failed"
	defer func() { r.table.add(fmt.Sprint(major), what, result, tr, time.Since(begin)) }()
	last := want[0][strings.LastIndex(want[0], " ")+1:]
	if !strings.Contains(want[0], ",") {
		tr.await(t, isRewritten, 10*time.Second)
	}
	run(t)
	tr.await(t, outcome(last), 30*time.Second)
	got := tr.outcomes()
	for _, w := range want {
		if got == w {
			result = got
			return
		}
	}
	t.Errorf("%s: pods were %s, want %s: %v", what, got, strings.Join(want, " or "), tr.failed[:min(3, len(tr.failed))])
}

func chartDir() string { return filepath.Join(h.Root, "deploy", "chart", "privatelink-webhook") }

// nextChart is the chart of a later release, with a version as Flux writes it, in which
// the webhook has another argument, another variable and another port.
func nextChart(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "privatelink-webhook")
	if err := os.CopyFS(dir, os.DirFS(chartDir())); err != nil {
		t.Fatal(err)
	}
	edits := []struct {
		of   *regexp.Regexp
		with string
		done int
	}{
		{of: regexp.MustCompile(`(?m)^version: .*$`), with: "version: 9.9.9+abc123"},
		{of: regexp.MustCompile(`9443`), with: "9444"},
		{of: regexp.MustCompile(`(?m)^( *)- name: PRIVATELINK_MEMORY_LIMIT$`), with: "${1}- name: PRIVATELINK_NEXT\n${1}  value: \"1\"\n$0"},
		{of: regexp.MustCompile(`(?m)^( *)- --metrics-listen=.*$`), with: "$0\n${1}- --log-level=debug"},
	}
	err := filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		for i, e := range edits {
			edits[i].done += len(e.of.FindAll(text, -1))
			text = e.of.ReplaceAll(text, []byte(e.with))
		}
		return os.WriteFile(file, text, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range edits {
		if e.done == 0 {
			t.Fatalf("the chart has nothing like %s", e.of)
		}
	}
	return dir
}

// table is what the steps did, for people.
type table struct{ rows []string }

func (b *table) add(major, what, result string, tr *traffic, took time.Duration) {
	pods, refused, unmapped := 0, 0, 0
	if tr != nil {
		tr.stop()
		for _, p := range tr.phases {
			pods += p.pods
			switch p.outcome {
			case isRefused:
				refused += p.pods
			case isPublic:
				unmapped += p.pods
			}
		}
	}
	b.rows = append(b.rows, fmt.Sprintf("%s\t%s\t%s\t%d\t%d\t%d\t%.0f s", major, what, result, pods, refused, unmapped, took.Seconds()))
}

func (b *table) String() string {
	var out bytes.Buffer
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "HELM\tSTEP\tPODS WERE\tPODS\tREFUSED\tPUBLIC\tTIME")
	for _, r := range b.rows {
		fmt.Fprintln(w, r)
	}
	_ = w.Flush() // a buffer accepts everything
	return out.String()
}
