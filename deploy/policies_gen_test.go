// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"strings"
	"testing"
	"text/template"

	"github.com/castai/privatelink-webhook/internal/cel"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// guardTemplate is guard/guard.yaml without its generated expressions.
const guardTemplate = `# The expressions are generated from the rewrite rules; go test ./deploy compares,
# and rewrites this file with -update. Why each field is as it is:
# docs/reference/engines.md.
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata:
  name: privatelink-guard
  labels:
    app.kubernetes.io/name: privatelink-guard
    app.kubernetes.io/part-of: castai-privatelink
spec:
  failurePolicy: Ignore # for a pod beyond the cost budget; Fail where the binding denies
  matchConstraints:
    matchPolicy: Equivalent
    namespaceSelector:
      matchExpressions:
      - key: kubernetes.io/metadata.name
        operator: In
        values: [castai-agent]
    objectSelector: {}
    resourceRules:
    - operations: [CREATE, UPDATE]
      apiGroups: [""]
      apiVersions: [v1]
      resources: [pods]
      scope: Namespaced
    - operations: [UPDATE]
      apiGroups: [""]
      apiVersions: [v1]
      resources: [pods/ephemeralcontainers]
      scope: Namespaced
  matchConditions:
  {{- range .Conditions }}
  - name: {{ .Name }}
    expression: |-
      {{ indent .Expression }}
  {{- end }}
  variables:
  {{- range .Variables }}
  - name: {{ .Name }}
    expression: |-
      {{ indent .Expression }}
  {{- end }}
  validations:
  - expression: size(variables.public) == 0
    message: "privatelink: the pod has a public image; privatelink explain says why it was not rewritten"
    # Quoted, since a warning with control characters is dropped; cut, since
    # an image may be of any length. The value of an environment variable may be a
    # secret, so that its location stands for it.
    messageExpression: |-
      "privatelink: " + string(variables.public.map(images, size(images)).sum()) + " public, first "
        + [variables.public[0][0]].map(i, i[2] == "" ? i[3] : i[0] + "/" + i[1] + "/env/" + i[2]).map(text, strings.quote(size(text) > 120 ? text.substring(0, 117) + "..." : text))[0]
        + ": nodes cannot pull it without a route to its registry; privatelink explain says why it was not rewritten, and keep in privatelink.yaml allows it"
    reason: Forbidden
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: privatelink-guard
  labels:
    app.kubernetes.io/name: privatelink-guard
    app.kubernetes.io/part-of: castai-privatelink
spec:
  policyName: privatelink-guard
  validationActions: [Warn, Audit]
`

// policyTemplate is policy/policy.yaml without its generated expressions.
const policyTemplate = `# The expressions are generated from the rewrite rules; go test ./deploy compares,
# and rewrites this file with -update. Why each field is as it is:
# docs/reference/engines.md.
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicy
metadata:
  name: privatelink
  labels:
    app.kubernetes.io/name: privatelink
    app.kubernetes.io/part-of: castai-privatelink
spec:
  failurePolicy: Ignore
  reinvocationPolicy: IfNeeded
  matchConstraints:
    matchPolicy: Equivalent
    namespaceSelector:
      matchExpressions:
      - key: kubernetes.io/metadata.name
        operator: In
        values: [castai-agent]
    objectSelector: {}
    resourceRules:
    - operations: [CREATE, UPDATE]
      apiGroups: [""]
      apiVersions: [v1]
      resources: [pods]
      scope: Namespaced
    - operations: [UPDATE]
      apiGroups: [""]
      apiVersions: [v1]
      resources: [pods/ephemeralcontainers]
      scope: Namespaced
  matchConditions:
  {{- range .Conditions }}
  - name: {{ .Name }}
    expression: |-
      {{ indent .Expression }}
  {{- end }}
  variables:
  {{- range .Variables }}
  - name: {{ .Name }}
    expression: |-
      {{ indent .Expression }}
  {{- end }}
  mutations:
  - patchType: JSONPatch
    jsonPatch:
      expression: |-
        {{ indent .Mutation | indentMore }}
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicyBinding
metadata:
  name: privatelink
  labels:
    app.kubernetes.io/name: privatelink
    app.kubernetes.io/part-of: castai-privatelink
spec:
  policyName: privatelink
`

func TestThePoliciesHoldTheExpressionsThatTheDefaultRulesGenerate(t *testing.T) {
	r := rules(t, rewrite.Config{Registry: placeholder})
	for file, of := range map[string]struct {
		template string
		with     map[string]any
	}{
		"guard/guard.yaml":   {guardTemplate, map[string]any{"Conditions": cel.GuardConditions(), "Variables": cel.GuardVariables(r)}},
		"policy/policy.yaml": {policyTemplate, map[string]any{"Conditions": cel.PolicyConditions(), "Variables": cel.PolicyVariables(r), "Mutation": cel.PolicyMutation()}},
	} {
		compare(t, file, fill(t, of.template, of.with))
	}
}

func fill(t *testing.T, text string, with any) string {
	t.Helper()
	parsed, err := template.New("").Funcs(template.FuncMap{
		"indent":     func(s string) string { return strings.ReplaceAll(s, "\n", "\n      ") },
		"indentMore": func(s string) string { return strings.ReplaceAll(s, "\n", "\n  ") },
	}).Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := parsed.Execute(&out, with); err != nil {
		t.Fatal(err)
	}
	return out.String()
}
