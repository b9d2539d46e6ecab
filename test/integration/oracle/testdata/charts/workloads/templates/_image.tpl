{{- define "image" -}}
{{- with .Values.global }}{{ with .registry }}{{ trimSuffix "/" . }}/{{ end }}{{ end -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default (printf "v%s" .Chart.AppVersion) }}
{{- end -}}
