// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package cluster

import (
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
)

// hook has the arguments port, address and caBundle.
const hook = `
apiVersion: v1
kind: Service
metadata: {name: hook, namespace: default}
spec: {ports: [{port: 443, targetPort: %[1]d}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: hook, namespace: default, labels: {kubernetes.io/service-name: hook}}
addressType: %[2]s
ports: [{port: %[1]d}]
endpoints: [{addresses: ["%[3]s"]}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: hook}
webhooks:
- name: hook.example.com
  clientConfig: {service: {name: hook, namespace: default}, caBundle: %[4]s}
  rules: [{operations: [CREATE], apiGroups: [""], apiVersions: [v1], resources: [configmaps]}]
  namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: default}}
  admissionReviewVersions: [v1]
  sideEffects: None
`

// What the end-to-end tests of the webhook stand on: a Service with neither a
// node nor a kube-proxy leads the API server to a listener in the test.
func TestAWebhookServiceIsCalledByItsEndpoint(t *testing.T) {
	c := start(t, Config{})
	address, err := HostAddress()
	if err != nil {
		t.Skip(err)
	}
	family := "IPv4"
	if strings.Contains(address, ":") {
		family = "IPv6"
	}
	l := layout{dir: t.TempDir()}
	if err := writeServingCertificate(l, []string{"hook.default.svc"}); err != nil {
		t.Fatal(err)
	}
	port := refuse(t, address, l, "not today")
	ca, err := os.ReadFile(l.caFile())
	if err != nil {
		t.Fatal(err)
	}
	manifest := fmt.Sprintf(hook, port, family, address, base64.StdEncoding.EncodeToString(ca))
	if _, err := c.Kubectl(t.Context(), strings.NewReader(manifest), "apply", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	// A server observes a new webhook and its endpoint by watch.
	for range 100 {
		_, err = c.Kubectl(t.Context(), nil, "create", "configmap", "x", "--dry-run=server")
		if err != nil && strings.Contains(err.Error(), "not today") {
			return
		}
	}
	t.Errorf("creating a ConfigMap: %v, want the refusal of the webhook", err)
}

// refuse serves a webhook that denies all requests, and returns its port.
func refuse(t *testing.T, address string, l layout, why string) int {
	t.Helper()
	listener, err := net.Listen("tcp", net.JoinHostPort(address, "0"))
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var review struct {
			Request struct{ UID string }
		}
		if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","response":{"uid":%q,"allowed":false,"status":{"message":%q}}}`, review.Request.UID, why)
	})}
	cert, err := tls.LoadX509KeyPair(l.servingCertificate(), l.servingKey())
	if err != nil {
		t.Fatal(err)
	}
	server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}}
	go func() {
		if err := server.ServeTLS(listener, "", ""); !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	}()
	t.Cleanup(func() { _ = server.Close() })
	return listener.Addr().(*net.TCPAddr).Port
}
