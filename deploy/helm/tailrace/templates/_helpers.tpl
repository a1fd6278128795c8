{{- define "tailrace.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 52 | trimSuffix "-" }}
{{- end }}

{{/* At most 52 characters: Kubernetes appends a hash of 10 and a hyphen to the name of a StatefulSet, in a label of 63. */}}
{{- define "tailrace.fullname" -}}
{{- $name := include "tailrace.name" . }}
{{- $joined := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) }}
{{- .Values.fullnameOverride | default $joined | trunc 52 | trimSuffix "-" }}
{{- end }}

{{/* What may never change: a StatefulSet's selector is immutable. */}}
{{- define "tailrace.selector" -}}
app.kubernetes.io/name: {{ include "tailrace.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "tailrace.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{ include "tailrace.selector" . }}
{{- end }}

{{- define "tailrace.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (ternary (include "tailrace.fullname" .) "default" .Values.serviceAccount.create) }}
{{- end }}

{{- define "tailrace.image" -}}
{{- with .Values.image }}
{{- if .digest }}{{ .repository }}@{{ .digest }}{{ else }}{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end }}
{{- end }}

{{- define "tailrace.scheme" -}}
{{- ternary "https" "http" (hasKey .Values.files "TAILRACE_TLS_CERT_FILE") }}
{{- end }}

{{- define "tailrace.memory" -}}
{{- .Values.resources.memory | default (printf "%dMi" (add (div (mul (int .Values.cacheMiB) 3) 2) 128)) }}
{{- end }}

{{/* Ports of kafka.bootstrapServers, as JSON. */}}
{{- define "tailrace.kafkaPorts" -}}
{{- $ports := list }}
{{- range splitList "," .Values.kafka.bootstrapServers }}
{{- $ports = append $ports (regexFind "[0-9]+$" (trim .) | default "9092" | int) }}
{{- end }}
{{- uniq $ports | toJson }}
{{- end }}

{{/* Every setting by its variable, as YAML. */}}
{{- define "tailrace.settings" -}}
{{- $settings := dict
  "TAILRACE_KAFKA_BOOTSTRAP_SERVERS" (required "kafka.bootstrapServers is required: brokers, as in kafka:9092" .Values.kafka.bootstrapServers)
  "TAILRACE_TOPICS" (required "topics is required: a list, as in [orders]" (join "," .Values.topics))
  "TAILRACE_TENANT_FROM" (required "tenantFrom is required: header:NAME, key, none, …" .Values.tenantFrom)
  "TAILRACE_AUTH" .Values.auth
  "TAILRACE_LISTEN" (printf "%s:8080" .Values.listenAddress)
  "TAILRACE_ADMIN_LISTEN" (printf "%s:9464" .Values.listenAddress)
  "TAILRACE_CACHE_SIZE" (printf "%dMiB" (int .Values.cacheMiB))
  "TAILRACE_DRAIN_DELAY" (printf "%ds" (int .Values.drain.delay))
  "TAILRACE_DRAIN_TIMEOUT" (printf "%ds" (int .Values.drain.timeout))
  "TAILRACE_LOG_FORMAT" "json" }}
{{- if .Values.autoscaling.enabled }}
{{- $_ := set $settings "TAILRACE_MAX_CONNECTION_AGE" "10m" }}
{{- end }}
{{- if .Values.limits }}
{{- $_ := set $settings "TAILRACE_LIMITS_FILE" "/etc/tailrace/limits/limits.toml" }}
{{- end }}
{{- range $property, $value := .Values.kafka.properties }}
{{- $_ := set $settings (printf "TAILRACE_KAFKA_%s" ($property | replace "." "_" | upper)) (kindIs "float64" $value | ternary (int64 $value) $value | toString) }}
{{- end }}
{{- range $variable, $file := .Values.files }}
{{- $_ := set $settings $variable (printf "/etc/tailrace/files/%s/%s" ($variable | lower) $file.key) }}
{{- end }}
{{- $settings := mergeOverwrite $settings .Values.config }}
{{- if eq .Values.auth "jwt" }}
{{- $keys := list "TAILRACE_JWT_SECRET_FILE" "TAILRACE_JWT_PUBLIC_KEY_FILE" "TAILRACE_JWT_JWKS_URL" "TAILRACE_JWT_JWKS_FILE" }}
{{- $found := false }}
{{- range $keys }}{{- if hasKey $settings . }}{{- $found = true }}{{- end }}{{- end }}
{{- if not $found }}
{{- fail (printf "auth: jwt needs a key, one of %s in files or config; or auth: none, and everybody reads every tenant" (join ", " $keys)) }}
{{- end }}
{{- end }}
{{- toYaml $settings }}
{{- end }}
