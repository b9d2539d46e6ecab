// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/castai/privatelink-webhook/deploy"
	"github.com/castai/privatelink-webhook/internal/doctor"
	"github.com/castai/privatelink-webhook/internal/doctor/cluster"
)

// user returns an operator with a service account that the commands create and bind.
func user(t *testing.T, name, bind string) *operator {
	t.Helper()
	admin := newOperator(t, h.Kubeconfig)
	subject := " --serviceaccount=default:" + name
	undo := "kubectl -n default delete serviceaccount " + name
	if _, _, err := admin.sh("kubectl -n default create serviceaccount " + name + "\nset -e\n" + strings.ReplaceAll(bind, "SUBJECT", subject)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, _, _ = admin.sh(undo + "; kubectl delete clusterrolebinding -l test=" + name + "; kubectl delete rolebinding -A -l test=" + name)
	})
	token, err := h.Token(testCtx, "default", name)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := h.WriteKubeconfig(file, token); err != nil {
		t.Fatal(err)
	}
	return newOperator(t, file)
}

// isForbidden reports whether a check says that the user has no permission. For logs, the
// API server does not say which: the remedy does.
func isForbidden(d diagnosis) bool {
	return strings.Contains(d.Found+d.Remedy+strings.Join(d.Details, "\n"), " cannot ") || strings.Contains(d.Remedy, "get on pods/log")
}

// forbidden returns the checks that lack a permission.
func forbidden(checks map[string]diagnosis) (names []string) {
	for name, d := range checks {
		if isForbidden(d) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// Users that may only look, or only work in CAST AI's namespace, get every check that
// their permissions allow (C7 to C9).
func TestDoctorRunsWhatAUserMay(t *testing.T) {
	shipped(t)
	namespace(t, Namespace)
	eventually(t, 60*time.Second, func() error { return newOperator(t, h.Kubeconfig).healthy("") })
	const view = "kubectl create clusterrolebinding USER --clusterrole=view SUBJECT; kubectl label clusterrolebinding USER test=USER\n"
	for name, tc := range map[string]struct {
		bind      string
		forbidden string // all others run, and are OK
	}{
		"viewer": {view, "account-policy, admission, ca-secret, guard, injectors, pod-security, rbac, replicas, rewrite, webhook-configuration"},
		"editor": {view + "kubectl -n " + Namespace + " create rolebinding USER --clusterrole=edit SUBJECT; kubectl -n " + Namespace + " label rolebinding USER test=USER\n",
			"account-policy, admission, ca-secret, guard, injectors, pod-security, rbac, replicas, webhook-configuration"},
	} {
		t.Run(name, func(t *testing.T) {
			o := user(t, name, strings.ReplaceAll(tc.bind, "USER", name))
			eventually(t, 20*time.Second, func() error {
				checks, err := o.diagnose("--only cluster --skip " + noNode)
				if err != nil {
					return err
				}
				if got := strings.Join(forbidden(checks), ", "); got != tc.forbidden {
					return fmt.Errorf("without permission: %s; want %s", got, tc.forbidden)
				}
				for name, d := range checks {
					if d.Status != doctor.OK && !isForbidden(d) {
						return fmt.Errorf("%s is %s: %s", name, d.Status, d.Found)
					}
				}
				return nil
			})
		})
	}
	t.Run("without a port-forward", func(t *testing.T) { // the nodes here have none
		checks, err := newOperator(t, h.Kubeconfig).diagnose("--only cluster")
		if err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]doctor.Status{"certificate": doctor.Unknown, "ca-bundle": doctor.Unknown, "rewrite": doctor.OK, "creation": doctor.OK} {
			if d := checks[name]; d.Status != want {
				t.Errorf("%s is %s: %s", name, d.Status, d.Found)
			}
		}
	})
}

// bindings are those of docs/reference/doctor.md.
const bindings = `kubectl apply -f roles.yaml
kubectl create clusterrolebinding doctor --clusterrole=privatelink-doctor SUBJECT
kubectl label clusterrolebinding doctor test=doctor
for n in ` + deploy.Namespace + " " + Namespace + `; do
  for r in dry-run secrets; do
    kubectl -n $n create rolebinding doctor-$r --clusterrole=privatelink-doctor-$r SUBJECT
    kubectl -n $n label rolebinding doctor-$r test=doctor
  done
done
kubectl -n ` + deploy.Namespace + ` create rolebinding doctor-probe --clusterrole=privatelink-doctor-probe SUBJECT
kubectl -n ` + deploy.Namespace + ` label rolebinding doctor-probe test=doctor
`

// trouble is what has to be wrong before a permission is used, and the same undone.
type trouble struct {
	cause, undo string
	args        string // of the doctor; "" for all
}

func troublesFor(p cluster.Permission, verb string) trouble {
	in := "kubectl -n " + deploy.Namespace + " "
	dead := func(kind string) trouble {
		return trouble{cause: webhookTo(kind, "dead", deploy.Namespace, "gone"), undo: "kubectl delete " + strings.ToLower(kind) + " dead"}
	}
	switch p.Resource + " " + verb {
	case "clusters list":
		return trouble{cause: chartOperator, undo: withoutChartOperator, args: "--only cluster/chart-repository"}
	case "validatingwebhookconfigurations list":
		return dead("ValidatingWebhookConfiguration")
	case "limitranges list":
		return trouble{cause: in + `apply -f - <<<'{"apiVersion":"v1","kind":"LimitRange","metadata":{"name":"small"},"spec":{"limits":[{"type":"Container","max":{"memory":"100Mi"}}]}}'`, undo: in + "delete limitrange small"}
	case "mutatingadmissionpolicies list", "mutatingadmissionpolicybindings list":
		return trouble{cause: foreignPolicy, undo: "kubectl delete mutatingadmissionpolicy mirror-everything; kubectl delete mutatingadmissionpolicybinding mirror-everything"}
	case "mutatingadmissionpolicies get", "mutatingadmissionpolicybindings get": // of the other engine
		const policy = "privatelink install --config selector.yaml --engine policy --guard off | kubectl "
		return trouble{cause: policy + "apply -f -", undo: policy + "delete -f -", args: "--only cluster/policy --engine policy"}
	case "events watch": // they are needed if the Job gets no pod
		return trouble{cause: in + "create quota none --hard=pods=0 && until [ -n \"$(" + in + "get resourcequota none -o jsonpath={.status.used})\" ]; do sleep 0.1; done", undo: in + "delete resourcequota none"}
	}
	return trouble{}
}

// TestDoctorPermissions runs the doctor with exactly the permissions of the component
// doctor-rbac: no check lacks one. If one is taken away, some check names it.
func TestDoctorPermissions(t *testing.T) {
	needs(t, mutatingPolicies)
	shipped(t)
	namespace(t, Namespace)
	admin := newOperator(t, h.Kubeconfig)
	admin.write(t, "roles.yaml", string(privatelink(t, "doctor", "--cluster-roles")))
	admin.write(t, "selector.yaml", config+"namespaceSelector: {matchLabels: {example.com/tenant: 'yes'}}\n")
	run := func(t *testing.T, command string) {
		t.Helper()
		if command == "" {
			return
		}
		if out, _, err := admin.sh(command); err != nil {
			t.Fatal(err, out)
		}
	}
	run(t, "privatelink install --config selector.yaml | kubectl apply -f -")
	t.Cleanup(func() {
		_, _, _ = admin.sh("kubectl delete -f roles.yaml; kubectl delete validatingadmissionpolicybinding " + deploy.GuardName + deploy.ByLabel)
		kubectl(t, privatelink(t, "install", "--registry", ecr), "apply", "-f", "-")
		webhookReady(t)
	})
	o := user(t, "doctor", "cd "+admin.dir+"\n"+bindings)
	// Without a lock file, the images are those of the cluster. The registry is not reached.
	const all = "--only cluster,registry/images,registry/platforms,inside/probe --probe --timeout 5s --plain-http 127.0.0.1"
	check := func(t *testing.T, args, want string) {
		t.Helper()
		eventually(t, 30*time.Second, func() error {
			checks, err := o.diagnose(args)
			if err != nil {
				return err
			}
			var texts []string
			for _, name := range forbidden(checks) {
				d := checks[name]
				texts = append(texts, name+": "+d.Found+d.Remedy+strings.Join(d.Details, " "))
			}
			if text := strings.Join(texts, "\n"); want == "" && text != "" || !strings.Contains(text, want) {
				return fmt.Errorf("without permission are\n%s\nwant %q; inside/probe: %s", text, want, checks["inside/probe"].Found)
			}
			return nil
		})
	}
	check(t, all, "")
	api := h.Client.RbacV1().ClusterRoles()
	for _, p := range cluster.Permissions() {
		for _, verb := range p.Verbs {
			t.Run(fmt.Sprintf("%s %s of %s", verb, p.Resource, p.Role), func(t *testing.T) {
				trouble := troublesFor(p, verb)
				run(t, trouble.cause)
				if trouble.undo != "" {
					t.Cleanup(func() { run(t, trouble.undo) })
				}
				role, err := api.Get(testCtx, p.Role, metav1.GetOptions{})
				if err != nil {
					t.Fatal(err)
				}
				less := role.DeepCopy()
				for i, r := range less.Rules {
					if slices.Equal(r.Resources, []string{p.Resource}) && slices.Equal(r.APIGroups, []string{p.Group}) {
						less.Rules[i].Verbs = slices.DeleteFunc(slices.Clone(r.Verbs), func(v string) bool { return v == verb })
					}
				}
				less.Rules = slices.DeleteFunc(less.Rules, func(r rbacv1.PolicyRule) bool { return len(r.Verbs) == 0 })
				if _, err := api.Update(testCtx, less, metav1.UpdateOptions{}); err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() {
					current, err := api.Get(testCtx, p.Role, metav1.GetOptions{})
					if err == nil {
						current.Rules = role.Rules
						_, err = api.Update(testCtx, current, metav1.UpdateOptions{})
					}
					if err != nil {
						t.Error(err)
					}
				})
				want := "cannot " + verb + " resource \"" + p.Resource + "\""
				if p.Resource == "pods/log" {
					want = "read the log of pod"
				}
				check(t, cmp.Or(trouble.args, all), want)
			})
		}
	}
	check(t, all, "")
}
