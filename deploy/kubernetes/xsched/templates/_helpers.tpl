{{- define "xsched.labels" -}}
app.kubernetes.io/name: xsched
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}
{{- define "xsched.selector" -}}
app.kubernetes.io/name: xsched
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}
{{- define "xsched.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}
