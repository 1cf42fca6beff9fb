{{- define "bellhop.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "bellhop.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "bellhop.selectorLabels" -}}
app.kubernetes.io/name: {{ include "bellhop.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "bellhop.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "bellhop.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "bellhop.configMapName" -}}
{{- default (include "bellhop.fullname" .) .Values.existingConfigMap }}
{{- end }}

{{/* The Secret that holds the keys of the endpoints. */}}
{{- define "bellhop.keysName" -}}
{{- default (printf "%s-keys" (include "bellhop.fullname" .)) .Values.existingSecret }}
{{- end }}

{{/* The keys of that Secret that belong to hooks which name none of their own, as {"keys": [...]}. */}}
{{- define "bellhop.keys" -}}
{{- $keys := list }}
{{- range .Values.hooks }}
{{- if not (or .keyPath .keyPaths .secretRef) }}
{{- $keys = append $keys (printf "%s.key" .name) }}
{{- end }}
{{- end }}
{{- dict "keys" $keys | toJson }}
{{- end }}

{{/*
The Secrets that secretRef and certSecretRef name, as {"NAME": {"KEY": true}}. A hook's secretRef names its key
(token if it does not); a provider may read any of the keys below.
*/}}
{{- define "bellhop.secretRefs" -}}
{{- $refs := dict }}
{{- range .Values.hooks }}
{{- with .secretRef }}
{{- $_ := set $refs .name (merge (default dict (get $refs .name)) (dict (default "token" .key) true)) }}
{{- end }}
{{- end }}
{{- range $provider := .Values.providers }}
{{- range $ref := list $provider.secretRef $provider.certSecretRef }}
{{- with $ref }}
{{- $keys := default dict (get $refs .name) }}
{{- range list "address" "token" "username" "password" "proxy" "headers" "caFile" "certFile" "keyFile" "ca.crt" "tls.crt" "tls.key" }}
{{- $_ := set $keys . true }}
{{- end }}
{{- $_ := set $refs .name $keys }}
{{- end }}
{{- end }}
{{- end }}
{{- toJson $refs }}
{{- end }}
