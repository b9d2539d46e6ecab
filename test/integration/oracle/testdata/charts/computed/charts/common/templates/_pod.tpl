{{- define "common.pod" -}}
apiVersion: v1
kind: Pod
metadata: {name: {{ .name }}}
spec: {containers: [{name: c, image: {{ .image | quote }}}]}
{{- end -}}
