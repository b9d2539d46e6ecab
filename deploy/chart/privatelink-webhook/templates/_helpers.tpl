{{/*
Sets the values that are missing, and checks values together. Every template calls
this first: after helm upgrade --reuse-values, the values are those of an older
release, and lack what is new.
*/}}
{{- define "privatelink.values" -}}
{{- range $key, $default := include "privatelink.defaults" . | fromYaml -}}
  {{- if kindIs "invalid" (index $.Values $key) -}}
    {{- $_ := set $.Values $key $default -}}
  {{- else if has $key (list "image" "podDisruptionBudget" "networkPolicy" "certManager" "monitoring") -}}
    {{- $section := index $.Values $key -}}
    {{- range $name, $value := $default -}}
      {{- if kindIs "invalid" (index $section $name) -}}
        {{- $_ := set $section $name $value -}}
      {{- end -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- if not .Values.registry -}}
  {{- fail "registry is missing: set it to the prefix of your private registry, such as 123456789012.dkr.ecr.us-east-1.amazonaws.com/castai" -}}
{{- end -}}
{{- range $key, $_ := .Values.podLabels -}}
  {{- if hasKey $.Values.commonLabels $key -}}
    {{- fail (printf "podLabels: %s is one of commonLabels, too: set it once" $key) -}}
  {{- end -}}
{{- end -}}
{{- range $key, $_ := .Values.monitoring.labels -}}
  {{- if hasKey $.Values.commonLabels $key -}}
    {{- fail (printf "monitoring.labels: %s is one of commonLabels, too: set it once" $key) -}}
  {{- end -}}
{{- end -}}
{{- include "privatelink.checkNamespaceSelector" .Values.namespaceSelector -}}
{{- if eq .Values.engine "webhook" -}}
  {{- if has .Release.Namespace .Values.namespaces -}}
    {{- fail (printf "namespaces: the webhook would be called for its own pods in %s: install it into a namespace that the list does not have" .Release.Namespace) -}}
  {{- end -}}
{{- else if semverCompare "<1.36.0-0" .Capabilities.KubeVersion.Version -}}
  {{- fail (printf "engine: policy needs Kubernetes 1.36 or newer, and this is %s: use engine webhook, or name the version of the cluster with --kube-version if there is no cluster" .Capabilities.KubeVersion.Version) -}}
{{- end -}}
{{- end -}}

{{/*
Refuses a selector that a namespace could meet without a label of its owner's choice:
kube-system and the webhook's own namespace have only labels that Kubernetes and its
components set.
*/}}
{{- define "privatelink.checkNamespaceSelector" -}}
{{- $equal := keys (.matchLabels | default dict) -}}
{{- $present := list -}}
{{- range .matchExpressions -}}
  {{- if eq .operator "In" -}}
    {{- $equal = append $equal .key -}}
  {{- else if eq .operator "Exists" -}}
    {{- $present = append $present .key -}}
  {{- end -}}
{{- end -}}
{{- if has "kubernetes.io/metadata.name" $equal -}}
  {{- fail "namespaceSelector: selects namespaces by name: list the names in namespaces" -}}
{{- end -}}
{{- $isChosen := false -}}
{{- range concat $equal $present -}}
  {{- if not (regexMatch "^([^/]*[.])?(kubernetes|k8s)[.]io/" .) -}}
    {{- $isChosen = true -}}
  {{- end -}}
{{- end -}}
{{- if and . (not $isChosen) -}}
  {{- fail "namespaceSelector: selects namespaces that have no label of yours, so it could select kube-system and the webhook's own: require a label of your own: matchLabels, or matchExpressions with In or Exists" -}}
{{- end -}}
{{- end -}}

{{/*
The image of the webhook. A digest without a tag is enough.
*/}}
{{- define "privatelink.image" -}}
{{- $repository := .Values.image.repository | default (printf "%s/privatelink-webhook" .Values.registry) -}}
{{- if .Values.image.digest -}}
  {{- with .Values.image.tag }}{{ $repository = printf "%s:%s" $repository . }}{{ end -}}
  {{- printf "%s@%s" $repository .Values.image.digest -}}
{{- else -}}
  {{- printf "%s:%s" $repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{/*
The webhook's configuration file, privatelink.yaml.
*/}}
{{- define "privatelink.config" -}}
apiVersion: privatelink.cast.ai/v1alpha1
kind: Config
registry: {{ toJson .Values.registry }}
namespaces: {{ toJson .Values.namespaces }}
{{- with .Values.namespaceSelector }}
namespaceSelector: {{ toJson . }}
{{- end }}
rules: {{ toJson .Values.rules }}
keep: {{ toJson .Values.keep }}
envVars: {{ toJson .Values.envVars }}
{{- with .Values.repositories }}
repositories: {{ toJson . }}
{{- end }}
{{- with .Values.track }}
track: {{ toJson . }}
{{- end }}
{{- end -}}

{{/*
Matches a path that begins like a registry host.
*/}}
{{- define "privatelink.hostPattern" -}}
^([^/]*[.][^/]*|localhost|[^/]*_[0-9]+)/
{{- end -}}

{{/*
The prefix of a rule or of keep. Prefixes under which CAST AI publishes the same
images count as the first of them.
*/}}
{{- define "privatelink.source" -}}
{{- $source := . -}}
{{- $aliases := list "us-docker.pkg.dev/castai-hub/library" "us-east4-docker.pkg.dev/castai-hub/library" "ghcr.io/castai/images" -}}
{{- range $alias := $aliases -}}
  {{- if eq $source $alias -}}
    {{- $source = first $aliases -}}
  {{- else if hasPrefix (print $alias "/") $source -}}
    {{- $rest := trimPrefix (print $alias "/") $source -}}
    {{- if not (regexMatch (include "privatelink.hostPattern" .) $rest) -}}
      {{- $source = print (first $aliases) "/" $rest -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- $source -}}
{{- end -}}

{{/*
Refuses a source prefix of .field that no image has, or whose images are never
rewritten.
*/}}
{{- define "privatelink.checkSource" -}}
{{- $source := print .source "/" -}}
{{- if hasPrefix "index.docker.io/" $source -}}
  {{- fail (printf "%s: %s never matches, because its images count as those of docker.io: write docker.io" .field .source) -}}
{{- end -}}
{{- if hasPrefix (print .registry "/") $source -}}
  {{- fail (printf "%s: %s is below the registry, whose images are never rewritten: remove it" .field .source) -}}
{{- end -}}
{{- if regexMatch "^[0-9]{12}[.]dkr[.-]ecr(-fips)?[.][a-z0-9-]+[.](amazonaws[.]com([.]cn)?|amazonaws[.]eu|on[.]aws|on[.]amazonwebservices[.]com[.]cn|c2s[.]ic[.]gov|sc2s[.]sgov[.]gov|cloud[.]adc-e[.]uk|csp[.]hci[.]ic[.]gov)(:[0-9]+)?/" $source -}}
  {{- fail (printf "%s: %s is a private ECR, whose images are never rewritten: remove it" .field .source) -}}
{{- end -}}
{{- end -}}

{{/*
The data of the CEL expressions, as JSON, which is also CEL: the target of each
source prefix, "" for one that is kept, and the numbers of path parts that the
prefixes have, the largest first.
*/}}
{{- define "privatelink.data" -}}
{{- $sources := dict -}}
{{- $targets := dict -}}
{{- $parts := dict -}}
{{- range .Values.rules -}}
  {{- include "privatelink.checkSource" (dict "field" "rules" "source" .source "registry" $.Values.registry) -}}
  {{- if regexMatch "^(localhost|127[.][0-9]+[.][0-9]+[.][0-9]+|[[]::1[]])(:[0-9]+)?/" (print .source "/") -}}
    {{- fail (printf "rules: %s is a node-local registry, whose images are never rewritten: remove the rule" .source) -}}
  {{- end -}}
  {{- if hasPrefix "[" .source -}}
    {{- fail (printf "rules: %s is on an IPv6 host, which has no legal name in ECR: remove the rule" .source) -}}
  {{- end -}}
  {{- $source := include "privatelink.source" .source -}}
  {{- if hasKey $sources $source -}}
    {{- fail (printf "rules: the source %s stands twice: remove one" .source) -}}
  {{- end -}}
  {{- $target := print .target "/" -}}
  {{- if regexMatch (include "privatelink.hostPattern" .) $target -}}
    {{- fail (printf "rules: the target %s begins like a registry host: choose another first part" .target) -}}
  {{- end -}}
  {{- range $other, $_ := $targets -}}
    {{- if or (hasPrefix (print $other "/") $target) (hasPrefix $target (print $other "/")) -}}
      {{- fail (printf "rules: the targets %s and %s overlap: give each rule a path of its own, or two images could get one name" $other (trimSuffix "/" $target)) -}}
    {{- end -}}
  {{- end -}}
  {{- $_ := set $sources $source .target -}}
  {{- $_ := set $targets .target true -}}
  {{- $_ := set $parts (splitList "/" $source | len | toString) true -}}
  {{- $_ := set $parts (splitList "/" .target | len | toString) true -}}
{{- end -}}
{{- range .Values.keep -}}
  {{- include "privatelink.checkSource" (dict "field" "keep" "source" . "registry" $.Values.registry) -}}
  {{- $source := include "privatelink.source" . -}}
  {{- if hasKey $sources $source -}}
    {{- fail (printf "keep: %s is the source of a rule, or stands twice: remove one" .) -}}
  {{- end -}}
  {{- $_ := set $sources $source "" -}}
  {{- $_ := set $parts (splitList "/" $source | len | toString) true -}}
{{- end -}}
{{- $depths := list -}}
{{- range $depth := untilStep 256 0 -1 -}}
  {{- if hasKey $parts (toString $depth) -}}
    {{- $depths = append $depths $depth -}}
  {{- end -}}
{{- end -}}
{{- dict "registry" (toJson .Values.registry) "envVars" (toJson .Values.envVars) "sources" (toJson $sources) "targets" (toJson $targets) "depths" (toJson $depths) | toJson -}}
{{- end -}}

{{/*
The namespaces that are selected by their labels: not those that are selected by
name, the cluster's own, and the webhook's.
*/}}
{{- define "privatelink.namespaceSelector" -}}
{{- $names := concat .Values.namespaces (list "castai-privatelink" "kube-node-lease" "kube-public" "kube-system") -}}
{{- if eq .Values.engine "webhook" -}}
  {{- $names = append $names .Release.Namespace -}}
{{- end -}}
{{- $others := dict "key" "kubernetes.io/metadata.name" "operator" "NotIn" "values" ($names | sortAlpha | uniq) -}}
{{- with .Values.namespaceSelector.matchLabels -}}
matchLabels:
  {{- toYaml . | nindent 2 }}
{{ end -}}
matchExpressions:
{{ toYaml (append (.Values.namespaceSelector.matchExpressions | default (list)) $others) }}
{{- end -}}
