// SPDX-License-Identifier: Apache-2.0

//go:build linux && isolated

package isolated

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/castai/privatelink-webhook/deploy"
)

// patched changes an object and returns what puts it back: the bundle, applied
// again.
func (c *doctorRun) patched(t *testing.T, kind, name, patch string) func() {
	t.Helper()
	flags := []string{"patch", kind, name, "--type=json", "--patch=" + patch}
	if slices.Contains([]string{"deployment", "service", "configmap", "networkpolicy"}, kind) {
		flags = append(flags, "--namespace", deploy.Namespace)
	}
	kubectl(t, "", flags...)
	return func() { c.apply(t) }
}

func (c *doctorRun) deleted(t *testing.T, kind, name string, flags ...string) func() {
	t.Helper()
	kubectl(t, "", append([]string{"delete", kind, name}, flags...)...)
	return func() { c.apply(t) }
}

// clusterFaults are those of the webhook's installation and of CAST AI's pods.
func (c *doctorRun) clusterFaults() []fault {
	in := []string{"--namespace", deploy.Namespace}
	// These remedies are executed as printed: applying the bundle again does not
	// remove fields that it never had.
	const service = `[{"op":"replace","path":"/spec/selector","value":{"app.kubernetes.io/name":"privatelink-webhook"}}]`
	const remedy = `[{"op":"remove","path":"/webhooks/0/objectSelector"}]`
	patch := func(kind, name, patch string) func(*testing.T) func() {
		return func(t *testing.T) func() { return c.patched(t, kind, name, patch) }
	}
	remove := func(kind, name string, flags ...string) func(*testing.T) func() {
		return func(t *testing.T) func() { return c.deleted(t, kind, name, flags...) }
	}
	return []fault{
		{"webhook configuration deleted", "cluster/webhook-configuration", "there is no MutatingWebhookConfiguration", "privatelink install",
			remove("mutatingwebhookconfiguration", deploy.ConfigurationName)},
		{"webhook configuration for another namespace", "cluster/webhook-configuration", "pods.privatelink.cast.ai: namespaceSelector", "kubectl diff",
			patch("mutatingwebhookconfiguration", deploy.ConfigurationName, `[{"op": "replace", "path": "/webhooks/0/namespaceSelector/matchExpressions/0/values", "value": ["elsewhere"]}]`)},
		{"an entry of the webhook configuration lost", "cluster/webhook-configuration", "ephemeral.privatelink.cast.ai is missing", "privatelink install",
			patch("mutatingwebhookconfiguration", deploy.ConfigurationName, `[{"op": "remove", "path": "/webhooks/1"}]`)},
		{"webhook configuration with an object selector", "cluster/webhook-configuration", "objectSelector: team=x", remedy, func(t *testing.T) func() {
			c.patched(t, "mutatingwebhookconfiguration", deploy.ConfigurationName, `[{"op": "replace", "path": "/webhooks/0/objectSelector", "value": {"matchLabels": {"team": "x"}}}]`)
			return func() { c.patched(t, "mutatingwebhookconfiguration", deploy.ConfigurationName, remedy) }
		}},
		// Before the next one: pods keep their last valid configuration, and some may not have
		// left that of another registry yet, so that they would differ.
		{"configuration with a fault", "cluster/config", "keeps: unknown key", "privatelink install",
			patch("configmap", deploy.Name, `[{"op": "replace", "path": "/data/privatelink.yaml", "value": "registry: 111111111111.dkr.ecr.us-east-1.amazonaws.com/castai\nkeeps: []\n"}]`)},
		{"configuration with another registry", "cluster/config", "registry: the cluster has 111111111111", "privatelink install",
			patch("configmap", deploy.Name, `[{"op": "replace", "path": "/data/privatelink.yaml", "value": "registry: 111111111111.dkr.ecr.us-east-1.amazonaws.com/castai\n"}]`)},
		{"webhook scaled to 0", "cluster/replicas", "scaled to 0", "--replicas=2", patch("deployment", deploy.Name, `[{"op": "replace", "path": "/spec/replicas", "value": 0}]`)},
		{"one replica only", "cluster/replicas", "only one replica", "--replicas=2", patch("deployment", deploy.Name, `[{"op": "replace", "path": "/spec/replicas", "value": 1}]`)},
		{"webhook not installed", "cluster/replicas", "there is no Deployment", "privatelink install", remove("deployment", deploy.Name, in...)},
		{"Service with a wrong target port", "cluster/service", "targets port 9999", "privatelink install",
			patch("service", deploy.Name, `[{"op": "replace", "path": "/spec/ports/0/targetPort", "value": 9999}]`)},
		{"Service that selects no pod", "cluster/service", "no ready pod is behind", service, func(t *testing.T) func() {
			c.patched(t, "service", deploy.Name, `[{"op": "add", "path": "/spec/selector/color", "value": "blue"}]`)
			return func() { c.patched(t, "service", deploy.Name, service) }
		}},
		{"NetworkPolicy without the webhook's port", "cluster/network-policy", "none allows port 9443", "privatelink install",
			patch("networkpolicy", deploy.Name, `[{"op": "replace", "path": "/spec/ingress/0/ports/0/port", "value": 8443}]`)},
		{"Pod Security refuses the webhook's own pods", "cluster/pod-security", "hostNetwork", "enforce=privileged",
			func(t *testing.T) func() {
				// Paused, it keeps the replicas that it has.
				c.patched(t, "deployment", deploy.Name, `[{"op": "add", "path": "/spec/paused", "value": true}, {"op": "add", "path": "/spec/template/spec/hostNetwork", "value": true}]`)
				return func() {
					c.patched(t, "deployment", deploy.Name, `[{"op": "remove", "path": "/spec/template/spec/hostNetwork"}, {"op": "remove", "path": "/spec/paused"}]`)
				}
			}},
		{"the webhook may not publish its CA", "cluster/rbac", "may not get mutatingwebhookconfigurations/zz-privatelink-webhook, patch", "privatelink install",
			remove("clusterrolebinding", deploy.Name)},
		{"CA Secret deleted", "cluster/ca-secret", "there is no Secret", "privatelink install", remove("secret", deploy.CASecret, in...)},
		{"the guard deleted", "cluster/guard", "there is no ValidatingAdmissionPolicy", "privatelink install", remove("validatingadmissionpolicy", deploy.GuardName)},
		{"the guard without a binding", "cluster/guard", "there is no ValidatingAdmissionPolicyBinding", "privatelink install", remove("validatingadmissionpolicybinding", deploy.GuardName)},
		{"the guard changed by hand", "cluster/guard", "spec.validations", "privatelink install",
			patch("validatingadmissionpolicy", deploy.GuardName, `[{"op": "replace", "path": "/spec/validations/0/expression", "value": "true"}]`)},
		{"the account's policy deleted", "cluster/account-policy", "there is no ValidatingAdmissionPolicy", "privatelink install", remove("validatingadmissionpolicy", deploy.AccountPolicyName)},
		{"the account's policy without a binding", "cluster/account-policy", "there is no ValidatingAdmissionPolicyBinding", "privatelink install", remove("validatingadmissionpolicybinding", deploy.AccountPolicyName)},
		{"the account's policy changed by hand", "cluster/account-policy", "spec.validations", "privatelink install",
			patch("validatingadmissionpolicy", deploy.AccountPolicyName, `[{"op": "replace", "path": "/spec/validations/2/expression", "value": "true"}]`)},
		{"the account's policy only warns", "cluster/account-policy", "spec.validationActions of the binding", "privatelink install",
			patch("validatingadmissionpolicybinding", deploy.AccountPolicyName, `[{"op": "replace", "path": "/spec/validationActions", "value": ["Warn"]}]`)},
		{"another webhook is called later", "cluster/injectors", injector, "sorts before", func(t *testing.T) func() {
			// It only has to be there: a call would fail, and be ignored.
			kubectl(t, laterWebhook, "apply", "-f", "-")
			return func() { kubectl(t, laterWebhook, "delete", "-f", "-") }
		}},
		{"the control plane does not reach port 9443", "cluster/rewrite", "failed calling webhook", "authorize-security-group-ingress", func(t *testing.T) func() {
			firewall(t, "add table inet doctor\nadd chain inet doctor out { type filter hook output priority 0; }\nadd rule inet doctor out tcp dport 9443 drop\n")
			return func() { firewall(t, "delete table inet doctor\n") }
		}},
		{"a pod from before the webhook", "cluster/pods", "ghcr.io/castai/images/agent:v1", "kubectl replace --force", func(t *testing.T) func() {
			undo := c.deleted(t, "mutatingwebhookconfiguration", deploy.ConfigurationName)
			kubectl(t, barePod("left-over", "ghcr.io/castai/images/agent:v1"), "apply", "-f", "-")
			undo()
			return func() { kubectl(t, "", "delete", "pod", "left-over", "--namespace", agentNamespace, "--now") }
		}},
		{"a pod whose image is not in ECR", "cluster/pulls", "not found", "privatelink mirror", func(t *testing.T) func() {
			kubectl(t, barePod("unmirrored", "ghcr.io/castai/images/agent:v0.0.1-nowhere"), "apply", "-f", "-")
			return func() { kubectl(t, "", "delete", "pod", "unmirrored", "--namespace", agentNamespace, "--now") }
		}},
		{"Pod Security refuses CAST AI's pods", "cluster/creation", "DaemonSet/on-the-node", "pod-security.kubernetes.io/enforce=privileged", func(t *testing.T) func() {
			kubectl(t, "", "label", "namespace", agentNamespace, "pod-security.kubernetes.io/enforce=restricted")
			kubectl(t, onTheNode, "apply", "-f", "-")
			return func() {
				kubectl(t, onTheNode, "delete", "-f", "-")
				kubectl(t, "", "label", "namespace", agentNamespace, "pod-security.kubernetes.io/enforce-")
			}
		}},
	}
}

// policyFaults are those of the other engine.
func (c *doctorRun) policyFaults() []fault {
	remove := func(kind string) func(*testing.T) func() {
		return func(t *testing.T) func() { return c.deleted(t, kind, deploy.PolicyName) }
	}
	return []fault{
		{"the policy deleted", "cluster/policy", "there is no MutatingAdmissionPolicy", "--engine policy", remove("mutatingadmissionpolicy")},
		{"the policy without a binding", "cluster/policy", "there is no MutatingAdmissionPolicyBinding", "--engine policy", remove("mutatingadmissionpolicybinding")},
		{"the policy changed by hand", "cluster/policy", "spec.reinvocationPolicy", "--engine policy", func(t *testing.T) func() {
			return c.patched(t, "mutatingadmissionpolicy", deploy.PolicyName, `[{"op": "replace", "path": "/spec/reinvocationPolicy", "value": "Never"}]`)
		}},
	}
}

const laterWebhook = `apiVersion: admissionregistration.k8s.io/v1
kind: MutatingWebhookConfiguration
metadata: {name: zzz-injector}
webhooks:
- name: sidecar.injector.test
  clientConfig: {url: "https://127.0.0.1:1/"}
  rules: [{operations: [CREATE], apiGroups: [""], apiVersions: [v1], resources: [pods]}]
  namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: castai-agent}}
  objectSelector: {matchLabels: {matches: nothing}}
  failurePolicy: Ignore
  sideEffects: None
  admissionReviewVersions: [v1]
`

const onTheNode = `apiVersion: apps/v1
kind: DaemonSet
metadata: {name: on-the-node, namespace: castai-agent}
spec:
  selector: {matchLabels: {app: on-the-node}}
  template:
    metadata: {labels: {app: on-the-node}}
    spec:
      hostPID: true
      containers: [{name: main, image: "ghcr.io/castai/images/agent:v1"}]
`

// barePod is the manifest of a pod without a controller.
func barePod(name, image string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: Pod\nmetadata: {name: %s, namespace: %s}\nspec: {terminationGracePeriodSeconds: 0, containers: [{name: main, image: %q}]}\n", name, agentNamespace, image)
}

func firewall(t *testing.T, rules string) {
	t.Helper()
	cmd := exec.CommandContext(testCtx, "nft", "-f", "-")
	cmd.Stdin = strings.NewReader(rules)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("nft: %v: %s", err, out)
	}
}

// withFiles gives the webhook certificates from a Secret, as with a PKI of the
// customer, and makes the API server trust their CA.
func (c *doctorRun) withFiles(t *testing.T, from, to time.Time) {
	t.Helper()
	cert, key, ca := issue(t, from, to)
	kubectl(t, fmt.Sprintf("apiVersion: v1\nkind: Secret\nmetadata: {name: own-pki, namespace: %s}\ndata: {tls.crt: %s, tls.key: %s}\n",
		deploy.Namespace, encode(cert), encode(key)), "apply", "-f", "-")
	kubectl(t, "", "patch", "deployment", deploy.Name, "--namespace", deploy.Namespace, "--patch", `{"spec": {"template": {"metadata": {"annotations": {"issued": "`+from.Format(time.RFC3339)+`"}}, "spec": {
		"volumes": [{"name": "pki", "secret": {"secretName": "own-pki"}}],
		"containers": [{"name": "webhook", "volumeMounts": [{"name": "pki", "mountPath": "/etc/pki", "readOnly": true}],
			"env": [{"name": "PRIVATELINK_TLS_CERT_FILE", "value": "/etc/pki/tls.crt"}, {"name": "PRIVATELINK_TLS_PRIVATE_KEY_FILE", "value": "/etc/pki/tls.key"}]}]}}}}`)
	kubectl(t, "", "rollout", "status", "--timeout=120s", "--namespace", deploy.Namespace, "deployment/"+deploy.Name)
	drained(t)
	trust(t, ca)
}

// trust replaces the CA of the webhook configuration.
func trust(t *testing.T, ca []byte) {
	t.Helper()
	var operations []map[string]string
	for i := range 2 {
		operations = append(operations, map[string]string{"op": "add", "path": fmt.Sprintf("/webhooks/%d/clientConfig/caBundle", i), "value": encode(ca)})
	}
	text, err := json.Marshal(operations)
	if err != nil {
		t.Fatal(err)
	}
	kubectl(t, "", "patch", "mutatingwebhookconfiguration", deploy.ConfigurationName, "--type=json", "--patch", string(text))
}

func encode(text []byte) string { return base64.StdEncoding.EncodeToString(text) }

// issue makes a CA, and a serving certificate for the webhook that is valid
// between two times.
func issue(t *testing.T, from, to time.Time) (cert, key, ca []byte) {
	t.Helper()
	sign := func(template, parent *x509.Certificate, public any, by *ecdsa.PrivateKey) []byte {
		der, err := x509.CreateCertificate(rand.Reader, template, parent, public, by)
		if err != nil {
			t.Fatal(err)
		}
		return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	}
	keys := [2]*ecdsa.PrivateKey{}
	for i := range keys {
		var err error
		if keys[i], err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			t.Fatal(err)
		}
	}
	authority := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "own PKI"}, NotBefore: time.Now().AddDate(-1, 0, 0), NotAfter: time.Now().AddDate(9, 0, 0), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), DNSNames: []string{deploy.Name + "." + deploy.Namespace + ".svc"}, NotBefore: from, NotAfter: to, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	ca = sign(authority, authority, keys[0].Public(), keys[0])
	cert = sign(leaf, authority, keys[1].Public(), keys[0])
	der, err := x509.MarshalPKCS8PrivateKey(keys[1])
	if err != nil {
		t.Fatal(err)
	}
	return cert, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), ca
}

// certificateFaults are those of an installation with certificates from files:
// self-managed certificates repair themselves before a check could run.
func (c *doctorRun) certificateFaults() []fault {
	day := 24 * time.Hour
	renew := func(t *testing.T) func() {
		return func() { c.withFiles(t, time.Now().Add(-day), time.Now().Add(89*day)) }
	}
	return []fault{
		{"caBundle of another CA", "cluster/ca-bundle", "does not trust pod", "base64", func(t *testing.T) func() {
			_, _, foreign := issue(t, time.Now(), time.Now())
			trust(t, foreign)
			return renew(t)
		}},
		{"caBundle lost", "cluster/ca-bundle", "has no caBundle", "cainjector", func(t *testing.T) func() {
			kubectl(t, "", "patch", "mutatingwebhookconfiguration", deploy.ConfigurationName, "--type=json", `--patch=[{"op": "remove", "path": "/webhooks/0/clientConfig/caBundle"}]`)
			return renew(t)
		}},
		{"certificate about to expire", "cluster/certificate", "expires in", "renew", func(t *testing.T) func() {
			c.withFiles(t, time.Now().Add(-85*day), time.Now().Add(5*day))
			return renew(t)
		}},
	}
}

// createAgentNamespace creates the namespace and waits for its service account.
func createAgentNamespace(t *testing.T) {
	t.Helper()
	kubectl(t, "", "create", "namespace", agentNamespace)
	eventually(t, 30*time.Second, func(ctx context.Context) error {
		_, err := n.Client.CoreV1().ServiceAccounts(agentNamespace).Get(ctx, "default", metav1.GetOptions{})
		return err
	})
}
