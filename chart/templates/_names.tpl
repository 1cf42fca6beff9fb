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

{{- define "bellhop.image" -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ default $.Chart.AppVersion .tag }}{{ end }}
{{- end }}
{{- end }}

{{/* What every container may do: nothing that its program does not need. */}}
{{- define "bellhop.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- define "bellhop.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{/*
The sources of the volume of secrets: KEY for hooks, NAME/KEY for secretRefs. Optional: a Secret that comes later
is picked up, and Bellhop says what it misses until then.
*/}}
{{- define "bellhop.secretSources" -}}
- secret:
    name: {{ include "bellhop.keysName" . }}
    optional: true
{{- range $name, $keys := include "bellhop.secretRefs" . | fromJson }}
- secret:
    name: {{ $name }}
    optional: true
    items:
      {{- range $key, $_ := $keys }}
      - key: {{ $key }}
        path: {{ $name }}/{{ $key }}
      {{- end }}
{{- end }}
{{- end }}

{{/* "true" if the pod speaks to the Kubernetes API, and needs a token for it. */}}
{{- define "bellhop.api" -}}
{{- if or .Values.kubernetesEvents.enabled .Values.secretsFromAPI .Values.fluxReconcile.namespaces }}true{{ end }}
{{- end }}

{{- define "bellhop.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "bellhop.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{/*
What tells this cluster from others. Without access to the cluster it is empty, and Bellhop takes a name of its
queue's own.
*/}}
{{- define "bellhop.installation" -}}
{{- if .Values.installation }}
{{- .Values.installation }}
{{- else }}
{{- with lookup "v1" "Namespace" "" "kube-system" }}{{ .metadata.uid }}{{ end }}
{{- end }}
{{- end }}

{{- define "bellhop.publicURL" -}}
{{- if .Values.publicURL }}
{{- .Values.publicURL }}
{{- else if and .Values.ingress.enabled .Values.ingress.hosts }}
{{- ternary "https" "http" (not (empty .Values.ingress.tls)) }}://{{ first .Values.ingress.hosts }}
{{- else if and .Values.gateway.enabled .Values.gateway.hostnames -}}
https://{{ first .Values.gateway.hostnames }}
{{- end }}
{{- end }}

{{- define "bellhop.servicePort" -}}
{{- default (ternary 443 80 .Values.tls.enabled) .Values.service.port }}
{{- end }}

{{/* The Service with the admin port: the receiver's, unless the outside reaches that. */}}
{{- define "bellhop.adminServiceName" -}}
{{- $name := include "bellhop.fullname" . }}
{{- if ne .Values.service.type "ClusterIP" }}
{{- $name = printf "%s-admin" ($name | trunc 57 | trimSuffix "-") }}
{{- end }}
{{- $name }}
{{- end }}

{{/* The Secrets of certificates: tls.crt, tls.key, and ca.crt where the issuer tells it. */}}
{{- define "bellhop.tlsName" -}}
{{- default (printf "%s-tls" (include "bellhop.fullname" .)) .Values.tls.existingSecret }}
{{- end }}

{{- define "bellhop.admissionName" -}}
{{- printf "%s-admission" (include "bellhop.fullname" .) }}
{{- end }}

{{- define "bellhop.admissionTLSName" -}}
{{- default (include "bellhop.admissionName" .) .Values.admission.existingSecret }}
{{- end }}

{{/* The Secret of the admin API's token. */}}
{{- define "bellhop.adminTokenName" -}}
{{- default (printf "%s-admin" (include "bellhop.fullname" .)) .Values.admin.token.existingSecret }}
{{- end }}

{{/* The names by which a Service of the release is called inside the cluster, as {"names": [...]}. */}}
{{- define "bellhop.serviceNames" -}}
{{- $name := index . 0 }}
{{- $namespace := index . 1 }}
{{- $names := list }}
{{- range list "%s" "%s.%s" "%s.%s.svc" "%s.%s.svc.cluster.local" }}
{{- $names = append $names (ternary $name (printf . $name $namespace) (eq . "%s")) }}
{{- end }}
{{- dict "names" $names | toJson }}
{{- end }}

{{/* "true" if the chart makes the certificate of the receiver, or that of admission. */}}
{{- define "bellhop.makesTLS" -}}
{{- if and .Values.tls.enabled (not .Values.tls.existingSecret) }}true{{ end }}
{{- end }}

{{- define "bellhop.makesAdmissionTLS" -}}
{{- if and .Values.admission.enabled (not .Values.admission.existingSecret) }}true{{ end }}
{{- end }}

{{/*
What values are wrong together. The schema judges them one by one.
*/}}
{{- define "bellhop.check" -}}
{{- $wrong := list }}
{{- with .Values }}
{{- if eq .queue.type "embedded" }}
  {{- if gt (int .replicas) 1 }}
    {{- $wrong = append $wrong "replicas: the embedded queue is a directory of one process: write replicas: 1, or queue.type: nats" }}
  {{- end }}
  {{- if .autoscaling.enabled }}
    {{- $wrong = append $wrong "autoscaling.enabled: the embedded queue is a directory of one process: leave it out, or write queue.type: nats" }}
  {{- end }}
  {{- if .podDisruptionBudget.enabled }}
    {{- $wrong = append $wrong "podDisruptionBudget.enabled: the embedded queue has one pod, and a budget would keep its node from being drained: leave it out, or write queue.type: nats" }}
  {{- end }}
  {{- if or .queue.nats.url .queue.nats.secretRef.name .queue.nats.filesSecret }}
    {{- $wrong = append $wrong "queue.nats: is of no effect with queue.type: embedded: write queue.type: nats" }}
  {{- end }}
{{- else if and .queue.nats.url .queue.nats.secretRef.name }}
  {{- $wrong = append $wrong "queue.nats: write url or secretRef, not both" }}
{{- else if not (or .queue.nats.url .queue.nats.secretRef.name) }}
  {{- $wrong = append $wrong "queue.nats: write url, such as nats://nats.nats.svc:4222, or secretRef" }}
{{- end }}
{{- if and .secrets .existingSecret }}
  {{- $wrong = append $wrong "secrets: existingSecret holds the keys: write one of the two" }}
{{- end }}
{{- if and .existingConfigMap (or .hooks .providers .routes) }}
  {{- $wrong = append $wrong "existingConfigMap: it is the whole configuration: leave out hooks, providers and routes" }}
{{- end }}
{{- if and (include "bellhop.makesTLS" $) (not .certManager.enabled) }}
  {{- $wrong = append $wrong "tls: write certManager.enabled: true, or tls.existingSecret" }}
{{- end }}
{{- if and (include "bellhop.makesAdmissionTLS" $) (not .certManager.enabled) }}
  {{- $wrong = append $wrong "admission: write certManager.enabled: true, or admission.existingSecret" }}
{{- end }}
{{- if and .ingress.enabled (not .ingress.hosts) }}
  {{- $wrong = append $wrong "ingress.hosts: write the host names, such as [hooks.example.com]" }}
{{- end }}
{{- if and .gateway.enabled (not .gateway.parentRefs) }}
  {{- $wrong = append $wrong "gateway.parentRefs: write the Gateway, such as [{name: public, namespace: gateways}]" }}
{{- end }}
{{- if ge (int .preStopSleepSeconds) (int .terminationGracePeriodSeconds) }}
  {{- $wrong = append $wrong "preStopSleepSeconds: is part of terminationGracePeriodSeconds and must leave some of it: write less" }}
{{- end }}
{{- end }}
{{- if $wrong }}
{{- fail (printf "\n%s" (join "\n" $wrong)) }}
{{- end }}
{{- end }}
