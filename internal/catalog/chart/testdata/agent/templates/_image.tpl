{{- /* The prefix goes before the repository as it stands, as in CAST AI's charts. */ -}}
{{- define "agent.image" -}}
{{- with .Values.global.registry }}{{ trimSuffix "/" . }}/{{ end }}
{{- .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
