// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/castai/privatelink-webhook/deploy"
	"github.com/castai/privatelink-webhook/internal/doctor"
	"github.com/castai/privatelink-webhook/internal/testutil/remedy"
)

// noNode are the checks that need a kubelet, for port-forwards, or more than one node.
const noNode = "cluster/certificate,cluster/ca-bundle"

// operator is somebody with a kubeconfig, privatelink.yaml in the current folder, kubectl
// and privatelink.
type operator struct {
	dir, kubeconfig string
}

func newOperator(t *testing.T, kubeconfig string) *operator {
	t.Helper()
	gone(t, plain) // other tests leave CAST AI's workloads there, which is a finding
	o := &operator{dir: t.TempDir(), kubeconfig: kubeconfig}
	o.write(t, deploy.ConfigKey, config)
	if err := os.Symlink(h.CLI(), filepath.Join(o.dir, "privatelink")); err != nil {
		t.Fatal(err)
	}
	return o
}

func (o *operator) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(o.dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// sh runs commands as they are printed.
func (o *operator) sh(command string) (stdout string, code int, err error) {
	cmd := exec.CommandContext(testCtx, "bash", "-o", "pipefail", "-c", command)
	cmd.Dir = o.dir
	cmd.Env = []string{"KUBECONFIG=" + o.kubeconfig, "HOME=" + o.dir, "PATH=" + o.dir + ":" + filepath.Dir(h.KubectlPath) + ":" + os.Getenv("PATH")}
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	err = cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return out.String(), exit.ExitCode(), fmt.Errorf("%w: %s", err, &stderr)
	}
	return out.String(), 0, err
}

// diagnosis is a check of the doctor's report.
type diagnosis struct {
	ID, Found, Remedy, Cause string
	Status                   doctor.Status
	Details                  []string
}

// diagnose runs the doctor, and returns the checks by their names.
func (o *operator) diagnose(args string) (map[string]diagnosis, error) {
	out, code, err := o.sh("privatelink doctor -o json --timeout 20s " + args)
	if err != nil && code != 1 && code != 3 {
		return nil, err
	}
	var report struct{ Checks []diagnosis }
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	checks := map[string]diagnosis{}
	for _, d := range report.Checks {
		checks[strings.TrimPrefix(d.ID, "cluster/")] = d
	}
	return checks, nil
}

// healthy returns nil if every check of the cluster is OK.
func (o *operator) healthy(args string) error {
	checks, err := o.diagnose(args + " --only cluster --skip " + noNode)
	if err != nil {
		return err
	}
	var errs []error
	for name, d := range checks {
		if d.Status != doctor.OK {
			errs = append(errs, fmt.Errorf("%s is %s: %s %q", name, d.Status, d.Found, d.Details))
		}
	}
	if len(checks) < 5 {
		errs = append(errs, fmt.Errorf("only %d checks", len(checks)))
	}
	return errors.Join(errs...)
}

// fault is something wrong with a cluster, and the check that finds it.
type fault struct {
	name, check, says string
	// cause causes it.
	cause string
	// then changes the remedy where the user has to decide something, such as a name.
	then func(o *operator, remedy string) string
	// undo, if the remedy does not leave the cluster as it was. It may fail.
	undo string
	// others may report it as well.
	others []string
}

// try causes the fault, requires that its check alone finds it, does what the remedy
// says, and requires that all checks are OK.
func (o *operator) try(t *testing.T, args string, f fault) {
	t.Helper()
	begin := time.Now()
	if _, _, err := o.sh(f.cause); err != nil {
		t.Fatal(err)
	}
	isUndone := f.undo == ""
	undo := func() {
		if !isUndone {
			_, _, _ = o.sh(f.undo)
		}
		isUndone = true
	}
	t.Cleanup(undo)
	var found diagnosis
	eventually(t, 60*time.Second, func() error {
		checks, err := o.diagnose(args + " --only cluster --skip " + noNode)
		if err != nil {
			return err
		}
		found = checks[f.check]
		var errs []error
		if text := found.Found + "\n" + strings.Join(found.Details, "\n"); found.Status != doctor.Failed && found.Status != doctor.Warning || !strings.Contains(text, f.says) {
			errs = append(errs, fmt.Errorf("%s is %s: %s, want %q", f.check, found.Status, text, f.says))
		}
		for name, d := range checks {
			if name != f.check && !slices.Contains(f.others, name) && d.Status != doctor.OK && d.Cause == "" {
				errs = append(errs, fmt.Errorf("%s is %s: %s %q", name, d.Status, d.Found, d.Details))
			}
		}
		return errors.Join(errs...)
	})
	seen := time.Since(begin)
	advice := found.Remedy
	if f.then != nil {
		advice = f.then(o, advice)
	}
	command := remedy.Commands(advice)
	if command == "" {
		t.Fatalf("no command in the remedy %q", advice)
	}
	if out, _, err := o.sh(command); err != nil {
		t.Fatalf("the remedy failed: %v\n%s\n%s", err, command, out)
	}
	undo()
	eventually(t, 90*time.Second, func() error { return o.healthy(args) })
	t.Logf("found after %s, healthy after %s; remedy:\n%s", seen.Round(100*time.Millisecond), time.Since(begin).Round(100*time.Millisecond), command)
}

// webhookTo is a webhook configuration of others for the pods of a namespace.
func webhookTo(kind, name, namespace, service string) string {
	return fmt.Sprintf(`kubectl apply -f - <<EOF
apiVersion: admissionregistration.k8s.io/v1
kind: %s
metadata: {name: %s}
webhooks:
- name: %[2]s.example.com
  clientConfig: {service: {namespace: kube-system, name: %[4]s}}
  rules: [{operations: [CREATE], apiGroups: [""], apiVersions: [v1], resources: [pods]}]
  namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: %[3]s}}
  failurePolicy: Fail
  sideEffects: None
  timeoutSeconds: 2
  admissionReviewVersions: [v1]
EOF`, kind, name, namespace, service)
}

const install = "privatelink install --config privatelink.yaml | kubectl apply -f -"

// clusterFaults are those of a user's trial (C1 to C29), without those of the login, which
// internal/kubeconfig and cmd/privatelink test.
func clusterFaults() []fault {
	const in = "kubectl -n " + deploy.Namespace + " "
	patch := func(what, patch string) string {
		return in + "patch " + what + " --type=json -p '" + patch + "'"
	}
	configuration := "mutatingwebhookconfiguration " + deploy.ConfigurationName
	return []fault{
		{name: "C1: the new image cannot be started", check: "rollout", says: "CreateContainerError",
			cause: in + "set image deployment/" + deploy.Name + " webhook=registry.example.com/other:v0.2.0"},
		{name: "C1: the new revision crashes", check: "rollout", says: "CrashLoopBackOff",
			cause: patch("deployment "+deploy.Name, `[{"op":"add","path":"/spec/template/spec/containers/0/args/-","value":"--no-such-flag"}]`)},
		{name: "C2: an image of another version", check: "version", says: "the match conditions are those of v0.2.0",
			cause: in + "set image deployment/" + deploy.Name + " webhook=" + ecr + "/" + deploy.Image + ":v0.0.9 && " + in + "rollout status deployment/" + deploy.Name},
		{name: "C3: no egress", check: "network-policy", says: "none allows it to connect to the API server",
			cause: patch("networkpolicy "+deploy.Name, `[{"op":"replace","path":"/spec/egress","value":[]}]`)},
		{name: "C3: egress is denied by default", check: "network-policy", says: "default-deny", undo: in + "delete networkpolicy default-deny",
			cause: in + "delete networkpolicy " + deploy.Name + " && " + in + `apply -f - <<<'{"apiVersion":"networking.k8s.io/v1","kind":"NetworkPolicy","metadata":{"name":"default-deny"},"spec":{"podSelector":{},"policyTypes":["Egress"]}}'`},
		{name: "C4: a public image that cannot be mapped", check: "pods", says: "Ghcr.IO/castai/x:1 (upper case in the host", undo: "kubectl -n " + Namespace + " delete pod unmapped --ignore-not-found",
			cause: "kubectl -n " + Namespace + ` apply -f - <<<'{"apiVersion":"v1","kind":"Pod","metadata":{"name":"unmapped"},"spec":{"containers":[{"name":"main","image":"Ghcr.IO/castai/x:1"}]}}'`},
		{name: "C5: CAST AI in another namespace", check: "other-namespaces", says: "CAST AI's images run in castai-elsewhere",
			cause: "kubectl create namespace castai-elsewhere && until kubectl -n castai-elsewhere get serviceaccount default; do sleep 0.1; done && kubectl -n castai-elsewhere run agent --image=" + public,
			then: func(o *operator, remedy string) string {
				for line := range strings.Lines(remedy) {
					if strings.HasPrefix(line, "namespaces: ") {
						_ = os.WriteFile(filepath.Join(o.dir, deploy.ConfigKey), []byte(config+line), 0o600)
					}
				}
				return remedy + "\nkubectl -n castai-elsewhere delete pod agent --now"
			},
			undo: "kubectl delete namespace castai-elsewhere --wait=false --ignore-not-found; echo '" + strings.TrimSpace(config) + "' > privatelink.yaml; " + install},
		{name: "C6: one entry's failurePolicy was changed", check: "webhook-configuration", says: "failurePolicy is Ignore in ephemeral.privatelink.cast.ai alone",
			cause: patch(configuration, `[{"op":"replace","path":"/webhooks/1/failurePolicy","value":"Ignore"}]`)},
		{name: "C18: a quota of pods", check: "admission", says: "exceeded quota: few", undo: in + "delete resourcequota few --ignore-not-found",
			cause: in + "create quota few --hard=pods=1 && until [ \"$(" + in + "get resourcequota few -o jsonpath={.status.used.pods})\" -ge 1 ]; do sleep 0.1; done"},
		{name: "a quota of pods, and a replica is lost", check: "admission", says: "exceeded quota: few", others: []string{"replicas", "rollout"}, undo: in + "delete resourcequota few --ignore-not-found",
			cause: in + "create quota few --hard=pods=1 && until [ \"$(" + in + "get resourcequota few -o jsonpath={.status.used.pods})\" -ge 1 ]; do sleep 0.1; done && " +
				in + "delete --wait=false $(" + in + "get pods -o name | head -n 1) && until " + in + "get deployment " + deploy.Name + " -o yaml | grep -q ReplicaFailure; do sleep 0.1; done"},
		{name: "C18: a limit range", check: "admission", says: "maximum memory usage per Container", undo: in + "delete limitrange small --ignore-not-found",
			cause: in + `apply -f - <<<'{"apiVersion":"v1","kind":"LimitRange","metadata":{"name":"small"},"spec":{"limits":[{"type":"Container","max":{"memory":"100Mi"}}]}}'`},
		{name: "C18: a PriorityClass that is missing", check: "admission", says: "no PriorityClass with name urgent", undo: "kubectl delete priorityclass urgent --ignore-not-found; " + install,
			cause: patch("deployment "+deploy.Name, `[{"op":"replace","path":"/spec/template/spec/priorityClassName","value":"urgent"}]`)},
		{name: "C18: the service account was deleted", check: "admission", says: "error looking up service account", cause: in + "delete serviceaccount " + deploy.Name},
		{name: "C18: a dead webhook of others", check: "admission", says: `failed calling webhook "dead.example.com"`, undo: "kubectl delete validatingwebhookconfiguration dead --ignore-not-found",
			cause: webhookTo("ValidatingWebhookConfiguration", "dead", deploy.Namespace, "gone")},
		{name: "C19: a quota demands limits that the webhook lacks", check: "admission", says: "must specify limits.cpu", undo: in + "delete resourcequota strict --ignore-not-found; " + in + "delete limitrange privatelink-defaults --ignore-not-found",
			cause: in + "create quota strict --hard=limits.cpu=10,requests.cpu=10 && until [ -n \"$(" + in + "get resourcequota strict -o jsonpath={.status.used})\" ]; do sleep 0.1; done"},
		{name: "C20: a namespace that does not end", check: "namespaces", says: "configmaps", others: []string{"creation", "pods"},
			cause: "kubectl -n " + Namespace + ` apply -f - <<<'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"held","finalizers":["example.com/held"]}}' && kubectl delete namespace ` + Namespace + " --wait=false",
			undo:  "kubectl wait --for=delete namespace/" + Namespace + " --timeout=60s; kubectl create namespace " + Namespace + "; until kubectl -n " + Namespace + " get serviceaccount default; do sleep 0.1; done"},
		{name: "C22: a webhook configuration that was left behind", check: "rewrite", says: `failed calling webhook "old-privatelink.example.com"`, undo: "kubectl delete mutatingwebhookconfiguration old-privatelink --ignore-not-found",
			cause: webhookTo("MutatingWebhookConfiguration", "old-privatelink", Namespace, "old-privatelink-webhook")},
		{name: "C27: the placeholder prefix", check: "config", says: "the configuration in the cluster is invalid", then: func(_ *operator, _ string) string { return install },
			cause: in + `patch configmap ` + deploy.Name + ` --type=merge -p '{"data":{"privatelink.yaml":"registry: ACCOUNT.dkr.ecr.REGION.amazonaws.com/castai\n"}}'`},
		// The operator stays, with the repository that the remedy names. What the remedy writes
		// has its test in internal/chartrepo.
		{name: "the operator fetches charts from the internet", check: "chart-repository", says: "charts from castai.github.io", cause: chartOperator,
			then: func(_ *operator, remedy string) string {
				return remedy[strings.Index(remedy, "kubectl -n castai-agent patch"):]
			}},
	}
}

// chartOperator is CAST AI's operator as far as the doctor reads it: the definition of its
// object, the object, and its Deployment, without pods.
const chartOperator = `kubectl apply -f - <<EOF
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: clusters.castware.cast.ai}
spec:
  group: castware.cast.ai
  names: {kind: Cluster, listKind: ClusterList, plural: clusters, singular: cluster}
  scope: Namespaced
  versions:
  - name: v1alpha1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            properties:
              helmRepoURL: {type: string, default: "https://castai.github.io/helm-charts"}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: castware-operator, namespace: castai-agent}
spec:
  replicas: 0
  selector: {matchLabels: {app.kubernetes.io/name: castware-operator}}
  template:
    metadata: {labels: {app.kubernetes.io/name: castware-operator}}
    spec: {containers: [{name: castware-operator, image: "us-docker.pkg.dev/castai-hub/library/castware-operator:v0.10.1"}]}
EOF
kubectl wait --for=condition=Established crd/clusters.castware.cast.ai --timeout=30s
until kubectl apply -f - <<<'{"apiVersion":"castware.cast.ai/v1alpha1","kind":"Cluster","metadata":{"name":"castai","namespace":"castai-agent"},"spec":{}}'; do sleep 0.2; done`

const withoutChartOperator = "kubectl delete crd clusters.castware.cast.ai --ignore-not-found; kubectl -n castai-agent delete deployment castware-operator --ignore-not-found"

const foreignPolicy = `kubectl apply -f - <<EOF
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicy
metadata: {name: mirror-everything}
spec:
  failurePolicy: Fail
  reinvocationPolicy: Never
  matchConstraints:
    namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: castai-agent}}
    resourceRules: [{operations: [CREATE], apiGroups: [""], apiVersions: [v1], resources: [pods]}]
  mutations:
  - patchType: JSONPatch
    jsonPatch:
      expression: '[JSONPatch{op: "replace", path: "/spec/containers/0/image", value: "222222222222.dkr.ecr.us-east-1.amazonaws.com/mirror:1"}]'
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicyBinding
metadata: {name: mirror-everything}
spec: {policyName: mirror-everything}
EOF`

// policyFaults are those for which the API server must have MutatingAdmissionPolicy.
func policyFaults() []fault {
	const stale = "privatelink install --registry 333333333333.dkr.ecr.us-east-1.amazonaws.com/castai --engine policy --guard off | kubectl apply -f -"
	return []fault{
		{name: "C21: a policy of others changes the image", check: "rewrite", says: "222222222222.dkr.ecr.us-east-1.amazonaws.com/mirror:1 instead of", cause: foreignPolicy,
			undo: "kubectl delete mutatingadmissionpolicy mirror-everything --ignore-not-found"},
		{name: "C21: the policy of the other engine was left behind", check: "rewrite", says: "by mutatingadmissionpolicy privatelink", cause: stale},
	}
}

// TestDoctorFindsFaults causes one fault after the other in a healthy cluster. Its check
// finds it, and the command that the remedy names corrects it.
func TestDoctorFindsFaults(t *testing.T) {
	shipped(t)
	namespace(t, Namespace)
	o := newOperator(t, h.Kubeconfig)
	t.Cleanup(func() {
		kubectl(t, privatelink(t, "install", "--registry", ecr), "apply", "-f", "-")
		webhookReady(t)
		_, _, _ = o.sh(withoutChartOperator)
		namespace(t, Namespace)
	})
	eventually(t, 60*time.Second, func() error { return o.healthy("") })
	faults := clusterFaults()
	if hasFeature(t, mutatingPolicies) {
		faults = append(faults, policyFaults()...)
	}
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) { o.try(t, "", f) })
	}
}

// TestDoctorAndStatusOfThePolicyEngine runs both without flags: the configuration is in
// the policy.
func TestDoctorAndStatusOfThePolicyEngine(t *testing.T) {
	needs(t, mutatingPolicies)
	shipped(t)
	namespace(t, Namespace)
	o := newOperator(t, h.Kubeconfig)
	o.write(t, deploy.ConfigKey, config+"keep: [registry.example.com/kept]\nrules: [{source: quay.io/acme, target: acme}]\n")
	const policy = "privatelink install --config privatelink.yaml --engine policy --guard off | kubectl "
	if _, _, err := o.sh("kubectl delete mutatingwebhookconfiguration " + deploy.ConfigurationName + " && " + policy + "apply -f -"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, _, err := o.sh(policy + "delete --ignore-not-found -f -"); err != nil {
			t.Error(err)
		}
		kubectl(t, privatelink(t, "install", "--registry", ecr), "apply", "-f", "-")
		webhookReady(t)
		eventually(t, 15*time.Second, rewritten)
	})
	// The guard of the webhook's bundle has the default configuration.
	eventually(t, 30*time.Second, func() error {
		checks, err := o.diagnose("--only cluster --skip cluster/guard")
		for name, d := range checks {
			if d.Status != doctor.OK {
				err = errors.Join(err, fmt.Errorf("%s is %s: %s %q", name, d.Status, d.Found, d.Details))
			}
		}
		if _, ok := checks["policy"]; !ok {
			err = errors.Join(err, errors.New("the policy is not checked"))
		}
		return err
	})
	kubectl(t, nil, "-n", deploy.Namespace, "scale", "deployment/"+deploy.Name, "--replicas=0")
	kubectl(t, nil, "-n", deploy.Namespace, "delete", "deployment/"+deploy.Name, "--wait=false")
	for _, tc := range []struct {
		command string
		code    int
		text    string
	}{
		{"privatelink status", 0, "MutatingAdmissionPolicy " + deploy.PolicyName + ", which has no replicas"},
		{"kubectl delete mutatingadmissionpolicybinding " + deploy.PolicyName + " >&2; privatelink status", 3, "has no binding: no pod is rewritten"},
	} {
		out, code, err := o.sh(tc.command)
		if code != tc.code || !strings.Contains(out, tc.text) || !strings.Contains(out, "registry  "+ecr) || !strings.Contains(out, "context   ") {
			t.Errorf("%s: exit code %d (%v), want %d, %q:\n%s", tc.command, code, err, tc.code, tc.text, out)
		}
	}
}
