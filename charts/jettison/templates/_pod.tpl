{{- define "jettison.config" -}}
{{- include "jettison.refusals" . -}}
{{- $config := deepCopy .Values.configData -}}
{{- if .Values.metrics.enabled -}}
{{- $debug := dict "addr" ":5001" "prometheus" (dict "path" "/metrics") -}}
{{- $debug = mergeOverwrite $debug (($config.http).debug | default dict) -}}
{{- $_ := set $debug.prometheus "enabled" true -}}
{{- $_ := set $config.http "debug" $debug -}}
{{- end -}}
{{- toYaml $config -}}
{{- end -}}

{{- define "jettison.variable" }}
- name: {{ .name }}
  value: {{ .value | toString | quote }}
{{- end -}}

{{- define "jettison.secretvariable" }}
- name: {{ .name }}
  valueFrom:
    secretKeyRef:
      name: {{ .secret }}
      key: {{ .key }}
{{- end -}}

{{- define "jettison.env" -}}
{{- $own := include "jettison.secret" . -}}
{{- if or .Values.secrets.haSharedSecret .Values.existingSecret (not .Values.secrets.create) }}
- name: REGISTRY_HTTP_SECRET
  valueFrom:
    secretKeyRef:
      name: {{ $own }}
      key: haSharedSecret
      optional: true
{{- end }}
{{- if .Values.secrets.htpasswd }}
{{- include "jettison.variable" (dict "name" "REGISTRY_AUTH" "value" "htpasswd") }}
{{- include "jettison.variable" (dict "name" "REGISTRY_AUTH_HTPASSWD_REALM" "value" "Registry Realm") }}
{{- include "jettison.variable" (dict "name" "REGISTRY_AUTH_HTPASSWD_PATH" "value" "/auth/htpasswd") }}
{{- end }}
{{- if include "jettison.tlssecret" . }}
{{- include "jettison.variable" (dict "name" "REGISTRY_HTTP_TLS_CERTIFICATE" "value" "/etc/ssl/docker/tls.crt") }}
{{- include "jettison.variable" (dict "name" "REGISTRY_HTTP_TLS_KEY" "value" "/etc/ssl/docker/tls.key") }}
{{- end }}
{{- if eq .Values.storage "filesystem" }}
{{- include "jettison.variable" (dict "name" "REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY" "value" "/var/lib/registry") }}
{{- else if eq .Values.storage "s3" }}
{{- range $key := list "region" "bucket" "regionEndpoint" "rootdirectory" "encrypt" "secure" "forcepathstyle" "skipverify" }}
{{- $value := index $.Values.s3 $key }}
{{- if not (or (kindIs "invalid" $value) (eq (toString $value) "")) }}
{{- include "jettison.variable" (dict "name" (printf "REGISTRY_STORAGE_S3_%s" (upper $key)) "value" $value) }}
{{- end }}
{{- end }}
{{- if or .Values.secrets.s3.secretRef .Values.secrets.s3.accessKey }}
{{- $secret := include "jettison.s3secret" . }}
{{- include "jettison.secretvariable" (dict "name" "REGISTRY_STORAGE_S3_ACCESSKEY" "secret" $secret "key" "s3AccessKey") }}
{{- include "jettison.secretvariable" (dict "name" "REGISTRY_STORAGE_S3_SECRETKEY" "secret" $secret "key" "s3SecretKey") }}
{{- end }}
{{- else if eq .Values.storage "azure" }}
{{- range $key := list "AccountName" "AccountKey" "Container" }}
{{- include "jettison.secretvariable" (dict "name" (printf "REGISTRY_STORAGE_AZURE_%s" (upper $key)) "secret" $own "key" (printf "azure%s" $key)) }}
{{- end }}
{{- end }}
{{- if .Values.persistence.deleteEnabled }}
{{- include "jettison.variable" (dict "name" "REGISTRY_STORAGE_DELETE_ENABLED" "value" "true") }}
{{- end }}
{{- with .Values.extraEnvVars }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "jettison.mounts" -}}
- name: config
  mountPath: {{ .Values.configPath }}
{{- if .Values.secrets.htpasswd }}
- name: auth
  mountPath: /auth
  readOnly: true
{{- end }}
{{- if eq .Values.storage "filesystem" }}
- name: data
  mountPath: /var/lib/registry/
{{- end }}
{{- if include "jettison.tlssecret" . }}
- name: tls-cert
  mountPath: /etc/ssl/docker
  readOnly: true
{{- end }}
{{- $taken := list }}
{{- range .Values.extraVolumeMounts }}
{{- $taken = append $taken (trimSuffix "/" .mountPath) }}
{{- end }}
{{- if not (has "/tmp" $taken) }}
- name: jettison-tmp
  mountPath: /tmp
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "jettison.volumes" -}}
- name: config
  configMap:
    name: {{ include "jettison.fullname" . }}-config
- name: jettison-tmp
  emptyDir: {}
{{- if .Values.secrets.htpasswd }}
- name: auth
  secret:
    secretName: {{ include "jettison.secret" . }}
    items:
      - key: htpasswd
        path: htpasswd
{{- end }}
{{- if and (eq .Values.storage "filesystem") (or .job (not (include "jettison.claimtemplate" .))) }}
- name: data
{{- if .Values.persistence.enabled }}
  persistentVolumeClaim:
    claimName: {{ include "jettison.claim" . }}
{{- else if .Values.emptydir.size }}
  emptyDir:
    sizeLimit: {{ .Values.emptydir.size }}
{{- else }}
  emptyDir: {}
{{- end }}
{{- end }}
{{- with include "jettison.tlssecret" . }}
- name: tls-cert
  secret:
    secretName: {{ . }}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- /* What pods of the registry and of its jobs have alike. */ -}}
{{- define "jettison.podsettings" -}}
{{- with include "jettison.serviceaccount" . }}
{{ . }}
{{- end }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- if .Values.securityContext.enabled }}
securityContext: {{- omit .Values.securityContext "enabled" | toYaml | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "jettison.container" -}}
image: {{ include "jettison.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{- if .Values.containerSecurityContext.enabled }}
securityContext: {{- omit .Values.containerSecurityContext "enabled" | toYaml | nindent 2 }}
{{- end }}
{{- if .Values.envRenderSecret }}
envFrom:
  - secretRef:
      name: {{ include "jettison.fullname" . }}-env
{{- end }}
volumeMounts: {{- include "jettison.mounts" . | nindent 2 }}
{{- end -}}

{{- define "jettison.probe" -}}
{{- if .probe -}}
{{ toYaml .probe }}
{{- else -}}
httpGet:
  path: /
  port: {{ include "jettison.port" .root }}
{{- if include "jettison.tlssecret" .root }}
  scheme: HTTPS
{{- end }}
{{- end -}}
{{- end -}}

{{- define "jettison.pod" -}}
metadata:
  labels:
    {{- include "jettison.selector" . | nindent 4 }}
    {{- with .Values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    checksum/config: {{ include "jettison.config" . | sha256sum }}
    {{- if not .Values.existingSecret }}
    checksum/secret: {{ list .Values.secrets .Values.envRenderSecret .Values.tls | toYaml | sha256sum }}
    {{- end }}
    {{- with .Values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  {{- include "jettison.podsettings" . | trim | nindent 2 }}
  {{- with .Values.affinity }}
  affinity: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.initContainers }}
  initContainers: {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: {{ include "jettison.name" . }}
      {{- include "jettison.container" . | nindent 6 }}
      args: [serve, {{ .Values.configPath }}/config.yml]
      ports:
        - name: registry
          containerPort: {{ include "jettison.port" . }}
        {{- if .Values.metrics.enabled }}
        - name: http-metrics
          containerPort: {{ include "jettison.metricsport" . }}
        {{- end }}
      livenessProbe: {{- include "jettison.probe" (dict "root" . "probe" .Values.livenessProbe) | nindent 8 }}
      readinessProbe: {{- include "jettison.probe" (dict "root" . "probe" .Values.readinessProbe) | nindent 8 }}
      resources: {{- toYaml .Values.resources | nindent 8 }}
      {{- with include "jettison.env" . | trim }}
      env: {{- . | nindent 8 }}
      {{- end }}
    {{- with .Values.extraContainers }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  volumes: {{- include "jettison.volumes" . | nindent 4 }}
{{- end -}}
