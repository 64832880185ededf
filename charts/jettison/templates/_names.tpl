{{- define "jettison.name" -}}
{{- .Values.nameOverride | default "docker-registry" | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- /* As twuni's chart has it, whose claim and selectors go on under the same names. */ -}}
{{- define "jettison.fullname" -}}
{{- $name := .Values.nameOverride | default "docker-registry" -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- .Values.fullnameOverride | default $full | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- /* A CronJob adds eleven characters for its Jobs. */ -}}
{{- define "jettison.jobname" -}}
{{- include "jettison.fullname" . | trunc 34 | trimSuffix "-" -}}
{{- end -}}

{{- define "jettison.namespace" -}}
{{- .Values.namespace | default .Release.Namespace -}}
{{- end -}}

{{- define "jettison.selector" -}}
app: {{ include "jettison.name" . }}
release: {{ .Release.Name }}
{{- end -}}

{{- define "jettison.labels" -}}
{{ include "jettison.selector" . }}
chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
heritage: {{ .Release.Service }}
{{- end -}}

{{- /* The labels of a pod of a job: another `app`, so that no service sends requests there. */ -}}
{{- define "jettison.joblabels" -}}
app: {{ include "jettison.name" . | trunc 58 | trimSuffix "-" }}-jobs
release: {{ .Release.Name }}
{{- end -}}

{{- define "jettison.secret" -}}
{{- .Values.existingSecret | default (printf "%s-secret" (include "jettison.fullname" .)) -}}
{{- end -}}

{{- define "jettison.s3secret" -}}
{{- .Values.secrets.s3.secretRef | default (include "jettison.secret" .) -}}
{{- end -}}

{{- /* Empty where the registry speaks no TLS. */ -}}
{{- define "jettison.tlssecret" -}}
{{- if .Values.tlsSecretName -}}
{{- .Values.tlsSecretName -}}
{{- else if .Values.tls.crt -}}
{{- include "jettison.fullname" . }}-tls
{{- end -}}
{{- end -}}

{{- define "jettison.stateful" -}}
{{- if or .Values.useStatefulSet (has .Values.persistence.type (list "sts" "StatefulSet")) -}}true{{- end -}}
{{- end -}}

{{- /* Whether a StatefulSet makes the claims. */ -}}
{{- define "jettison.claimtemplate" -}}
{{- if and (include "jettison.stateful" .) .Values.persistence.enabled (not .Values.persistence.existingClaim) (eq .Values.storage "filesystem") -}}true{{- end -}}
{{- end -}}

{{- define "jettison.claim" -}}
{{- if .Values.persistence.existingClaim -}}
{{- .Values.persistence.existingClaim -}}
{{- else if include "jettison.claimtemplate" . -}}
data-{{ include "jettison.fullname" . }}-0
{{- else -}}
{{- include "jettison.fullname" . -}}
{{- end -}}
{{- end -}}

{{- define "jettison.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}

{{- define "jettison.port" -}}
{{- .Values.configData.http.addr | splitList ":" | last -}}
{{- end -}}

{{- define "jettison.metricsport" -}}
{{- ((.Values.configData.http.debug).addr | default ":5001") | splitList ":" | last -}}
{{- end -}}

{{- define "jettison.serviceaccount" -}}
{{- if or .Values.serviceAccount.create .Values.serviceAccount.name -}}
serviceAccountName: {{ .Values.serviceAccount.name | default (include "jettison.fullname" .) }}
{{- end -}}
{{- end -}}
