{{/* Matches the series that the ServiceMonitor brings of this release. */}}
{{- define "bellhop.monitoringSelector" -}}
namespace={{ .Release.Namespace | quote }},job={{ .Release.Name | quote }}
{{- end }}
