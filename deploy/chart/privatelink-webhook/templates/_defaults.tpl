{{/*
Generated: the content of values.yaml, for releases whose values are older.
*/}}
{{- define "privatelink.defaults" -}}
registry: ""
namespaces:
- castai-agent
namespaceSelector: {}
rules: []
keep: []
envVars:
- JMX_EXPORTER_INIT_IMAGE
- SCANNERS_IMAGE
repositories: {}
track: {}
engine: webhook
guard: warn
failurePolicy: ""
replicas: 2
image:
  repository: ""
  tag: ""
  digest: ""
  pullPolicy: IfNotPresent
imagePullSecrets: []
resources:
  limits:
    memory: 128Mi
  requests:
    cpu: 10m
    memory: 64Mi
nodeSelector:
  kubernetes.io/os: linux
tolerations:
- key: scheduling.cast.ai/paused-cluster
  operator: Exists
- key: CriticalAddonsOnly
  operator: Exists
affinity: {}
topologySpreadConstraints:
- labelSelector:
    matchLabels:
      app.kubernetes.io/name: privatelink-webhook
  matchLabelKeys:
  - pod-template-hash
  maxSkew: 1
  topologyKey: topology.kubernetes.io/zone
  whenUnsatisfiable: ScheduleAnyway
- labelSelector:
    matchLabels:
      app.kubernetes.io/name: privatelink-webhook
  matchLabelKeys:
  - pod-template-hash
  maxSkew: 1
  topologyKey: kubernetes.io/hostname
  whenUnsatisfiable: ScheduleAnyway
priorityClassName: system-cluster-critical
podLabels: {}
podAnnotations: {}
commonLabels: {}
podDisruptionBudget:
  enabled: true
  maxUnavailable: 1
networkPolicy:
  enabled: true
hostNetwork: false
certManager:
  enabled: false
monitoring:
  scrapeAnnotations: true
  podMonitor: false
  prometheusRule: false
  dashboard: false
  labels: {}
{{- end -}}
