{{- define "spark-standalone.fullname" -}}
{{- default .Release.Name .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* For metadata.labels; call with (list . "component"). */}}
{{- define "spark-standalone.labels" -}}
{{- $root := index . 0 -}}
helm.sh/chart: {{ $root.Chart.Name }}-{{ $root.Chart.Version }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
{{ include "spark-standalone.selector" . }}
{{- end -}}

{{/* For selectors: never changes in the life of a release. */}}
{{- define "spark-standalone.selector" -}}
{{- $root := index . 0 -}}
app: {{ index . 1 }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
{{- end -}}

{{- define "spark-standalone.spark-image" -}}
{{ .Values.spark.image.repository }}:{{ .Values.spark.image.tag }}
{{- end -}}

{{- define "spark-standalone.is-shufflefs" -}}
{{- if and .Values.shuffleService.enabled (eq .Values.shuffleService.implementation "shufflefs") -}}true{{- end -}}
{{- end -}}

{{/* Whether Spark's reducers read merged partitions; then drivers see the mount, too. */}}
{{- define "spark-standalone.has-client" -}}
{{- if and (include "spark-standalone.is-shufflefs" .) .Values.shuffleService.client.enabled -}}true{{- end -}}
{{- end -}}

{{- define "spark-standalone.shuffle-image" -}}
{{- $image := .Values.shuffleService.image -}}
{{- if include "spark-standalone.is-shufflefs" . -}}
{{ default "shufflefs" $image.repository }}:{{ default .Chart.AppVersion $image.tag }}
{{- else -}}
{{ default .Values.spark.image.repository $image.repository }}:{{ default .Values.spark.image.tag $image.tag }}
{{- end -}}
{{- end -}}

{{- define "spark-standalone.shuffle-name" -}}
{{ include "spark-standalone.fullname" . }}-shuffle
{{- end -}}

{{/* The mount point: one level below the directory that is shared, which a new mount then reaches. */}}
{{- define "spark-standalone.mount" -}}
{{ .Values.shuffleService.hostPath }}/fs
{{- end -}}

{{/* Where executors write, separated by commas. */}}
{{- define "spark-standalone.local-dirs" -}}
{{- if include "spark-standalone.is-shufflefs" . -}}
{{- $dirs := list -}}
{{- range $i, $path := .Values.shuffleService.dataPaths -}}
{{- $dirs = append $dirs (printf "%s/local/disk%d" (include "spark-standalone.mount" $) $i) -}}
{{- end -}}
{{- join "," $dirs -}}
{{- else -}}
{{ .Values.shuffleService.hostPath }}
{{- end -}}
{{- end -}}

{{- define "spark-standalone.worker-host-network" -}}
{{- if kindIs "bool" .Values.worker.hostNetwork -}}
{{- if .Values.worker.hostNetwork -}}true{{- end -}}
{{- else if .Values.shuffleService.enabled -}}true{{- end -}}
{{- end -}}

{{- define "spark-standalone.shuffle-host-network" -}}
{{- if or .Values.shuffleService.hostNetwork (and (include "spark-standalone.is-shufflefs" .) (eq .Values.shuffleService.update "takeover")) -}}true{{- end -}}
{{- end -}}

{{/* nodeSelector, tolerations, affinity, priority class of a component's values. */}}
{{- define "spark-standalone.scheduling" -}}
{{- with .nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end -}}

{{/* The lines of spark-defaults.conf, as a YAML map. What is in spark.conf wins. */}}
{{- define "spark-standalone.conf" -}}
{{- $conf := dict -}}
{{- if eq .Values.mode "standalone" -}}
{{- $_ := set $conf "spark.master" (printf "spark://%s-master:%v" (include "spark-standalone.fullname" .) .Values.master.port) -}}
{{- $_ := set $conf "spark.worker.preferConfiguredMasterAddress" "true" -}}
{{- end -}}
{{- $_ := set $conf "spark.shuffle.service.enabled" (toString .Values.shuffleService.enabled) -}}
{{- $_ := set $conf "spark.shuffle.service.port" (toString .Values.shuffleService.port) -}}
{{- $_ := set $conf "spark.dynamicAllocation.shuffleTracking.enabled" "true" -}}
{{- if .Values.shuffleService.enabled -}}
{{- /* A service that is being replaced is away for some seconds. */ -}}
{{- $_ := set $conf "spark.shuffle.io.maxRetries" "12" -}}
{{- $_ := set $conf "spark.shuffle.io.retryWait" "5s" -}}
{{- $_ := set $conf "spark.shuffle.registration.maxAttempts" "12" -}}
{{- if include "spark-standalone.is-shufflefs" . -}}
{{- /* While a mount is away tasks fail at once, and Spark would try them again on the spot until the job fails. So on another executor. */ -}}
{{- $_ := set $conf "spark.excludeOnFailure.enabled" "true" -}}
{{- $_ := set $conf "spark.excludeOnFailure.timeout" "30s" -}}
{{- $_ := set $conf "spark.stage.maxConsecutiveAttempts" "10" -}}
{{- end -}}
{{- if include "spark-standalone.has-client" . -}}
{{- $jar := printf "%s/.shufflefs/client/shufflefs-spark_%s.jar" (include "spark-standalone.mount" .) .Values.shuffleService.client.scala -}}
{{- $_ := set $conf "spark.shuffle.manager" "org.shufflefs.spark.ShufflefsManager" -}}
{{- $_ := set $conf "spark.driver.extraClassPath" $jar -}}
{{- $_ := set $conf "spark.executor.extraClassPath" $jar -}}
{{- end -}}
{{- if eq .Values.mode "kubernetes" -}}
{{- $_ := set $conf "spark.executorEnv.SPARK_EXECUTOR_DIRS" (include "spark-standalone.local-dirs" . | replace "," ":") -}}
{{- $_ := set $conf "spark.kubernetes.executor.podTemplateFile" "/opt/spark/conf/executor.yaml" -}}
{{- $_ := set $conf "spark.kubernetes.executor.podTemplateContainerName" "executor" -}}
{{- $_ := set $conf "spark.blockManager.port" "0" -}}
{{- end -}}
{{- end -}}
{{- toYaml (merge (dict) .Values.spark.conf $conf) -}}
{{- end -}}

{{/* Annotations of an object of the clean-up after helm uninstall; call with its weight. */}}
{{- define "spark-standalone.cleanup-hook" -}}
helm.sh/hook: post-delete
helm.sh/hook-weight: {{ . | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded,hook-failed
{{- end }}
