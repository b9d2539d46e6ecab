// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/castai/privatelink-webhook/deploy"
)

// changes are one JSON patch for each field of a webhook configuration except
// caBundle. They are valid: an administrator may make each of them.
var changes = map[string]string{
	"webhooks.name":                           `[{"op":"replace","path":"/webhooks/0/name","value":"evil.privatelink.cast.ai"}]`,
	"webhooks.clientConfig.url":               `[{"op":"replace","path":"/webhooks/0/clientConfig","value":{"url":"https://evil.example/"}}]`,
	"webhooks.clientConfig.service":           `[{"op":"replace","path":"/webhooks/0/clientConfig/service","value":{"namespace":"evil","name":"evil","path":"/","port":1}}]`,
	"webhooks.clientConfig.service.name":      `[{"op":"replace","path":"/webhooks/0/clientConfig/service/name","value":"evil"}]`,
	"webhooks.clientConfig.service.namespace": `[{"op":"replace","path":"/webhooks/0/clientConfig/service/namespace","value":"evil"}]`,
	"webhooks.clientConfig.service.path":      `[{"op":"remove","path":"/webhooks/0/clientConfig/service/path"}]`,
	"webhooks.clientConfig.service.port":      `[{"op":"replace","path":"/webhooks/0/clientConfig/service/port","value":1}]`,
	"webhooks.rules":                          `[{"op":"replace","path":"/webhooks/0/rules/0/resources","value":["secrets"]}]`,
	"webhooks.rules of all objects":           `[{"op":"replace","path":"/webhooks/0/rules","value":[{"operations":["*"],"apiGroups":["*"],"apiVersions":["*"],"resources":["*/*"]}]}]`,
	"webhooks.failurePolicy":                  `[{"op":"replace","path":"/webhooks/0/failurePolicy","value":"Ignore"}]`,
	"webhooks.matchPolicy":                    `[{"op":"replace","path":"/webhooks/0/matchPolicy","value":"Exact"}]`,
	"webhooks.namespaceSelector":              `[{"op":"replace","path":"/webhooks/0/namespaceSelector","value":{}}]`,
	"webhooks.objectSelector":                 `[{"op":"add","path":"/webhooks/0/objectSelector","value":{"matchLabels":{"a":"b"}}}]`,
	"webhooks.sideEffects":                    `[{"op":"replace","path":"/webhooks/0/sideEffects","value":"NoneOnDryRun"}]`,
	"webhooks.timeoutSeconds":                 `[{"op":"replace","path":"/webhooks/0/timeoutSeconds","value":30}]`,
	"webhooks.admissionReviewVersions":        `[{"op":"add","path":"/webhooks/0/admissionReviewVersions/-","value":"v1beta1"}]`,
	"webhooks.reinvocationPolicy":             `[{"op":"replace","path":"/webhooks/0/reinvocationPolicy","value":"Never"}]`,
	"webhooks.matchConditions":                `[{"op":"remove","path":"/webhooks/0/matchConditions/0"}]`,
	"webhooks of the last entry":              `[{"op":"replace","path":"/webhooks/1/timeoutSeconds","value":30}]`,
	"webhooks, one more":                      `[{"op":"copy","from":"/webhooks/0","path":"/webhooks/-"},{"op":"replace","path":"/webhooks/0/name","value":"evil.privatelink.cast.ai"}]`,
	"webhooks, one fewer":                     `[{"op":"remove","path":"/webhooks/0"}]`,
	"webhooks, reordered":                     `[{"op":"move","from":"/webhooks/0","path":"/webhooks/1"}]`,
	"webhooks, none":                          `[{"op":"replace","path":"/webhooks","value":[]}]`,
	"metadata.labels":                         `[{"op":"add","path":"/metadata/labels/evil","value":"true"}]`,
	"metadata.labels, removed":                `[{"op":"remove","path":"/metadata/labels"}]`,
	"metadata.annotations":                    `[{"op":"add","path":"/metadata/annotations","value":{"cert-manager.io/inject-ca-from":"evil/evil"}}]`,
	"metadata.ownerReferences":                `[{"op":"add","path":"/metadata/ownerReferences","value":[{"apiVersion":"v1","kind":"Namespace","name":"gone","uid":"00000000-0000-0000-0000-000000000000"}]}]`,
	"metadata.finalizers":                     `[{"op":"add","path":"/metadata/finalizers","value":["evil.example/never"]}]`,
}

// allowed are the fields that need no change above: the caBundle, and metadata that
// the API server sets or keeps itself.
var allowed = []string{
	"metadata.name", "metadata.generateName", "metadata.namespace", "metadata.selfLink", "metadata.uid", "metadata.resourceVersion", "metadata.generation",
	"metadata.creationTimestamp", "metadata.deletionTimestamp", "metadata.deletionGracePeriodSeconds", "metadata.managedFields",
	"webhooks.clientConfig.caBundle",
}

func TestAStolenTokenChangesNothingButTheCABundle(t *testing.T) {
	shipped(t)
	t.Parallel()
	thief := withToken(t, deploy.Namespace).AdmissionregistrationV1().MutatingWebhookConfigurations()
	admin := h.Client.AdmissionregistrationV1().MutatingWebhookConfigurations()
	dryRun := metav1.PatchOptions{DryRun: []string{metav1.DryRunAll}}
	for name, patch := range changes {
		t.Run(name, func(t *testing.T) {
			if _, err := admin.Patch(testCtx, deploy.ConfigurationName, types.JSONPatchType, []byte(patch), dryRun); err != nil {
				t.Errorf("an administrator may not make this change: %v", err)
			}
			eventually(t, 5*time.Second, func() error { // until the API server has learned of the policy
				_, err := thief.Patch(testCtx, deploy.ConfigurationName, types.JSONPatchType, []byte(patch), dryRun)
				if err == nil || !strings.Contains(err.Error(), deploy.AccountPolicyName) {
					return fmt.Errorf("the webhook's account may make this change: %v", err)
				}
				return nil
			})
		})
	}
	t.Run("server-side apply", func(t *testing.T) {
		force := metav1.PatchOptions{DryRun: dryRun.DryRun, FieldManager: "thief", Force: new(true)}
		_, err := thief.Patch(testCtx, deploy.ConfigurationName, types.ApplyYAMLPatchType, []byte(`{apiVersion: admissionregistration.k8s.io/v1, kind: MutatingWebhookConfiguration,
			metadata: {name: `+deploy.ConfigurationName+`}, webhooks: [{name: pods.privatelink.cast.ai, timeoutSeconds: 30}]}`), force)
		if err == nil || !strings.Contains(err.Error(), deploy.AccountPolicyName) {
			t.Errorf("the webhook's account may apply a timeout: %v", err)
		}
	})
	bundle := base64.StdEncoding.EncodeToString([]byte(authority(t)))
	for name, patch := range map[string]string{
		"set":     `[{"op":"add","path":"/webhooks/0/clientConfig/caBundle","value":"` + bundle + `"}]`,
		"removed": `[{"op":"remove","path":"/webhooks/1/clientConfig/caBundle"}]`,
	} {
		t.Run("caBundle, "+name, func(t *testing.T) {
			if _, err := thief.Patch(testCtx, deploy.ConfigurationName, types.JSONPatchType, []byte(patch), dryRun); err != nil {
				t.Errorf("the webhook cannot publish its CA: %v", err)
			}
		})
	}
}

// A field of another version of Kubernetes would be missing in the test above.
func TestTheChangesOfAStolenTokenAreComplete(t *testing.T) {
	t.Parallel()
	var walk func(prefix string, of reflect.Type)
	walk = func(prefix string, of reflect.Type) {
		for i := range of.NumField() {
			field := of.Field(i)
			tag, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			name, kind := strings.TrimPrefix(prefix+"."+tag, "."), field.Type
			for kind.Kind() == reflect.Pointer || kind.Kind() == reflect.Slice {
				kind = kind.Elem()
			}
			switch {
			case tag == "": // the kind
			case name == "metadata" || name == "webhooks" || name == "webhooks.clientConfig":
				walk(name, kind)
			case changes[name] == "" && !strings.Contains(strings.Join(allowed, " ")+" ", name+" "):
				t.Errorf("no change of %s is tried", name)
			}
		}
	}
	walk("", reflect.TypeFor[admissionv1.MutatingWebhookConfiguration]())
}

// The webhook publishes into entries of any number, also one that a newer bundle added.
func TestTheCAIsPublishedInEveryEntry(t *testing.T) {
	shipped(t)
	admin := h.Client.AdmissionregistrationV1().MutatingWebhookConfigurations()
	_, err := admin.Patch(testCtx, deploy.ConfigurationName, types.JSONPatchType,
		[]byte(`[{"op":"copy","from":"/webhooks/0","path":"/webhooks/2"},{"op":"replace","path":"/webhooks/2/name","value":"more.privatelink.cast.ai"},{"op":"remove","path":"/webhooks/2/clientConfig/caBundle"}]`), metav1.PatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := admin.Patch(testCtx, deploy.ConfigurationName, types.JSONPatchType, []byte(`[{"op":"remove","path":"/webhooks/2"}]`), metav1.PatchOptions{}); err != nil {
			t.Error(err)
		}
	})
	eventually(t, 10*time.Second, func() error {
		if n := len(caBundles(t)); n < 3 {
			return fmt.Errorf("%d entries", n)
		}
		return trusted(t)
	})
}

// withToken returns a client with a token of the webhook's account, as one that was
// read from a pod.
func withToken(t *testing.T, namespace string) kubernetes.Interface {
	t.Helper()
	token, err := h.Token(testCtx, namespace, deploy.Name)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := h.WriteKubeconfig(file, token); err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.BuildConfigFromFlags("", file)
	if err != nil {
		t.Fatal(err)
	}
	config.WarningHandler = rest.NoWarnings{}
	config.QPS, config.Burst = 100, 200
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// The API server checks the types of the policy's expressions, and reports what
// does not fit in the status.
func TestThePoliciesHaveNoTypeErrors(t *testing.T) {
	shipped(t)
	t.Parallel()
	for _, name := range []string{deploy.AccountPolicyName, deploy.GuardName} {
		eventually(t, 20*time.Second, func() error {
			p, err := h.Client.AdmissionregistrationV1().ValidatingAdmissionPolicies().Get(testCtx, name, metav1.GetOptions{})
			if err != nil {
				return err
			}
			if p.Status.TypeChecking == nil || p.Status.ObservedGeneration != p.Generation {
				return errors.New(name + " was not checked yet")
			}
			if len(p.Status.TypeChecking.ExpressionWarnings) > 0 {
				text, err := json.Marshal(p.Status.TypeChecking.ExpressionWarnings)
				return fmt.Errorf("%s: %s (%v)", name, text, err)
			}
			return nil
		})
	}
}
