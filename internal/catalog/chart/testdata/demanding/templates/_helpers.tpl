{{- define "demanding.key" -}}
{{- required "an API key is needed" .Values.castai.apiKey -}}
{{- end -}}
{{- define "demanding.piped" -}}
{{- .Values.castai.clusterID | required "a cluster is needed" -}}
{{- end -}}
{{- define "demanding.nothing" -}}
{{- .Values.database.main.host -}}
{{- end -}}
