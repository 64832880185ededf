{{- /* What cannot be honoured is refused, all of it at once; nothing is left out in silence. */ -}}
{{- define "jettison.refusals" -}}
{{- $no := list -}}
{{- if .Values.proxy.enabled -}}
{{- $no = append $no "proxy.enabled: jettison serve is no cache of another registry; keep twuni's chart for the mirror" -}}
{{- end -}}
{{- if .Values.swift -}}
{{- $no = append $no "swift: there is no driver for it; use filesystem, s3, azure or gcs" -}}
{{- end -}}
{{- if .Values.secrets.swift -}}
{{- $no = append $no "secrets.swift: there is no driver for it; remove it" -}}
{{- end -}}
{{- if .Values.redis -}}
{{- $no = append $no "redis: blobs are looked up in the storage, so no cache is needed; remove it" -}}
{{- end -}}
{{- if not (has .Values.kind (list "" "Deployment")) -}}
{{- $no = append $no (printf "kind: %s is not made; leave it out, or set useStatefulSet" .Values.kind) -}}
{{- end -}}
{{- if not (has .Values.storage (list "filesystem" "s3" "azure" "gcs")) -}}
{{- $no = append $no (printf "storage: %s is no driver that there is; use filesystem, s3, azure or gcs" .Values.storage) -}}
{{- end -}}
{{- $last := .Values.image.repository | splitList "/" | last -}}
{{- if has $last (list "registry" "distribution") -}}
{{- $no = append $no (printf "image.repository: %s is Distribution, and this chart runs Jettison; remove image from the values" .Values.image.repository) -}}
{{- end -}}
{{- if and (contains "OWNER" .Values.image.repository) (regexMatch "^v?[23](\\.[0-9]+)*$" (toString .Values.image.tag)) -}}
{{- $no = append $no (printf "image.tag: %v is a version of Distribution; remove image from the values" .Values.image.tag) -}}
{{- end -}}
{{- if and (eq .Values.storage "s3") (not .Values.s3.bucket) -}}
{{- $no = append $no "s3.bucket: is needed with storage: s3" -}}
{{- end -}}
{{- if and (eq .Values.storage "s3") (not .Values.s3.region) -}}
{{- $no = append $no "s3.region: is needed with storage: s3" -}}
{{- end -}}
{{- if ne (empty .Values.secrets.s3.accessKey) (empty .Values.secrets.s3.secretKey) -}}
{{- $no = append $no "secrets.s3: accessKey and secretKey are needed both, or neither" -}}
{{- end -}}
{{- $azure := .Values.secrets.azure -}}
{{- if and (eq .Values.storage "azure") (not .Values.existingSecret) .Values.secrets.create (not (and $azure.accountName $azure.accountKey $azure.container)) -}}
{{- $no = append $no "secrets.azure: accountName, accountKey and container are needed with storage: azure" -}}
{{- end -}}
{{- if and (eq .Values.storage "gcs") (not ((.Values.configData.storage).gcs).bucket) -}}
{{- $no = append $no "configData.storage.gcs.bucket: is needed with storage: gcs" -}}
{{- end -}}
{{- if ne (empty .Values.tls.crt) (empty .Values.tls.key) -}}
{{- $no = append $no "tls: crt and key are needed both, or neither" -}}
{{- end -}}
{{- if not (regexMatch ":[0-9]+$" (.Values.configData.http.addr | default "")) -}}
{{- $no = append $no "configData.http.addr: has to end with a port, such as :5000" -}}
{{- end -}}
{{- if eq (.Values.configData.http.net | default "tcp") "unix" -}}
{{- $no = append $no "configData.http.net: a service cannot reach a socket" -}}
{{- end -}}
{{- $stateful := include "jettison.stateful" . -}}
{{- if and $stateful .Values.autoscaling.enabled -}}
{{- $no = append $no "autoscaling.enabled: scales a Deployment; not with useStatefulSet" -}}
{{- end -}}
{{- if and $stateful (include "jettison.claimtemplate" .) (gt (int .Values.replicaCount) 1) -}}
{{- $no = append $no "replicaCount: each pod of the StatefulSet would have images of its own; set 1, or persistence.existingClaim with ReadWriteMany" -}}
{{- end -}}
{{- if and .Values.autoscaling.enabled (eq .Values.storage "filesystem") (not .Values.persistence.enabled) -}}
{{- $no = append $no "autoscaling.enabled: without persistence.enabled each pod would have images of its own" -}}
{{- end -}}
{{- if and (gt (int .Values.replicaCount) 1) (eq .Values.storage "filesystem") (not .Values.persistence.enabled) -}}
{{- $no = append $no "replicaCount: without persistence.enabled each pod would have images of its own" -}}
{{- end -}}
{{- range $name, $job := dict "garbageCollect" .Values.garbageCollect "prune" .Values.prune -}}
{{- if and $job.enabled (eq $.Values.storage "filesystem") -}}
{{- if not $.Values.persistence.enabled -}}
{{- $no = append $no (printf "%s.enabled: needs persistence.enabled, as a job cannot reach the pod's own disk" $name) -}}
{{- else if eq $.Values.persistence.accessMode "ReadWriteOncePod" -}}
{{- $no = append $no (printf "%s.enabled: no other pod can mount a claim that is ReadWriteOncePod; use configData.jettison.retention" $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and .Values.prune.enabled (not .Values.prune.policy) -}}
{{- $no = append $no "prune.policy: is needed with prune.enabled; see docs/retention.md" -}}
{{- end -}}
{{- if and .Values.garbageCollect.untaggedAge (not .Values.garbageCollect.deleteUntagged) -}}
{{- $no = append $no "garbageCollect.untaggedAge: has no meaning without deleteUntagged" -}}
{{- end -}}
{{- range $name := list "serviceMonitor" "podMonitor" "prometheusRule" -}}
{{- if and (index $.Values.metrics $name).enabled (not $.Values.metrics.enabled) -}}
{{- $no = append $no (printf "metrics.%s.enabled: needs metrics.enabled" $name) -}}
{{- end -}}
{{- end -}}
{{- if $no -}}
{{- fail (printf "\n\nThese values cannot be honoured:\n  - %s\n" (join "\n  - " $no)) -}}
{{- end -}}
{{- end -}}
