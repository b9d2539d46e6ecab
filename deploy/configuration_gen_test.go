// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"testing"

	admissionregv1 "k8s.io/api/admissionregistration/v1"

	"github.com/castai/privatelink-webhook/internal/cel"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// configurationTemplate is base/webhook-configuration.yaml without its
// generated expressions.
const configurationTemplate = `# The expressions are generated from the rewrite rules; go test ./deploy compares,
# and rewrites this file with -update. Why each field is as it is:
# docs/architecture.md.
#
# The name sorts last on purpose: the API server calls webhooks in the order of
# their configurations' names, so this one sees what the others inject.
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingWebhookConfiguration
metadata:
  name: zz-privatelink-webhook
  labels:
    app.kubernetes.io/name: privatelink-webhook
    app.kubernetes.io/part-of: castai-privatelink
webhooks:
{{- range . }}
- name: {{ .Name }}
  admissionReviewVersions: [v1]
  clientConfig: # no caBundle: the webhook, or cert-manager, publishes it
    service:
      namespace: castai-privatelink
      name: privatelink-webhook
      port: 443
      path: /mutate
  rules:
  - operations: [{{ .Operations }}]
    apiGroups: [""]
    apiVersions: [v1]
    resources: [{{ .Resource }}]
    scope: Namespaced
  namespaceSelector:
    matchExpressions:
    - key: kubernetes.io/metadata.name
      operator: In
      values: [castai-agent]
  objectSelector: {}
  matchConditions:
  {{- range .Conditions }}
  - name: {{ .Name }}
    expression: |-
      {{ indent .Expression }}
  {{- end }}
  failurePolicy: Fail
  matchPolicy: Equivalent
  reinvocationPolicy: IfNeeded
  sideEffects: None
  timeoutSeconds: 3
{{- end }}
`

// configuration renders base/webhook-configuration.yaml for the rules.
func configuration(t *testing.T, r *rewrite.Rules) string {
	t.Helper()
	type entry struct {
		Name, Operations, Resource string
		Conditions                 []admissionregv1.MatchCondition
	}
	return fill(t, configurationTemplate, []entry{
		{"pods.privatelink.cast.ai", "CREATE, UPDATE", "pods", cel.PodConditions(r)},
		{"ephemeral.privatelink.cast.ai", "UPDATE", "pods/ephemeralcontainers", cel.EphemeralConditions(r)},
	})
}
