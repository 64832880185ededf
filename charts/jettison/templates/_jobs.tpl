{{- /* A claim that one node mounts takes the job to the node of the registry's pod. */ -}}
{{- define "jettison.jobaffinity" -}}
{{- $affinity := dict -}}
{{- with .Values.affinity.nodeAffinity -}}
{{- $_ := set $affinity "nodeAffinity" . -}}
{{- end -}}
{{- if and (eq .Values.storage "filesystem") (eq .Values.persistence.accessMode "ReadWriteOnce") -}}
{{- $labels := include "jettison.selector" . | fromYaml -}}
{{- $term := dict "topologyKey" "kubernetes.io/hostname" "labelSelector" (dict "matchLabels" $labels) -}}
{{- $_ := set $affinity "podAffinity" (dict "requiredDuringSchedulingIgnoredDuringExecution" (list $term)) -}}
{{- end -}}
{{- if $affinity -}}{{- toYaml $affinity -}}{{- end -}}
{{- end -}}

{{- /* A CronJob of a command on the storage; .job has its name, values, args and mounts. */ -}}
{{- define "jettison.cronjob" -}}
{{- $job := .job -}}
apiVersion: batch/v1
kind: CronJob
metadata:
  name: {{ include "jettison.jobname" . }}-{{ $job.name }}
  namespace: {{ include "jettison.namespace" . }}
  labels: {{- include "jettison.labels" . | nindent 4 }}
spec:
  schedule: {{ $job.values.schedule | quote }}
  {{- with $job.values.timeZone }}
  timeZone: {{ . | quote }}
  {{- end }}
  concurrencyPolicy: Forbid
  startingDeadlineSeconds: 3600
  jobTemplate:
    metadata:
      labels: {{- include "jettison.joblabels" . | nindent 8 }}
    spec:
      backoffLimit: 0
      template:
        metadata:
          labels:
            {{- include "jettison.joblabels" . | nindent 12 }}
            {{- with mergeOverwrite dict .Values.podLabels $job.values.podLabels }}
            {{- toYaml . | nindent 12 }}
            {{- end }}
          {{- with mergeOverwrite dict .Values.podAnnotations $job.values.podAnnotations }}
          annotations: {{- toYaml . | nindent 12 }}
          {{- end }}
        spec:
          restartPolicy: Never
          {{- include "jettison.podsettings" . | trim | nindent 10 }}
          {{- with include "jettison.jobaffinity" . }}
          affinity: {{- . | nindent 12 }}
          {{- end }}
          containers:
            - name: {{ $job.name }}
              {{- include "jettison.container" . | nindent 14 }}
                {{- with $job.mounts }}
                {{- toYaml . | nindent 16 }}
                {{- end }}
              args: {{- toYaml $job.args | nindent 16 }}
              resources: {{- toYaml $job.values.resources | nindent 16 }}
              env:
                - name: HOME
                  value: /tmp
                {{- if ne .Values.storage "filesystem" }}
                # Beside the registry of this release, which `gc` asks whether it heeds a collection.
                - name: REGISTRY_HTTP_ADDR
                  value: {{ printf "%s:%v" (include "jettison.fullname" .) .Values.service.port }}
                {{- end }}
                {{- include "jettison.env" . | trim | nindent 16 }}
          volumes:
            {{- include "jettison.volumes" . | nindent 12 }}
            {{- with $job.volumes }}
            {{- toYaml . | nindent 12 }}
            {{- end }}
{{- end -}}
