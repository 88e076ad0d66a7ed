{{/* The command line of the daemon, as a YAML list. */}}
{{- define "spark-standalone.daemon-args" -}}
{{- $service := .Values.shuffleService -}}
- serve
- --in-pod
- --node=$(NODE_NAME)
- --mount={{ include "spark-standalone.mount" . }}
{{- range $service.dataPaths }}
- --data={{ . }}
{{- end }}
- --peer-listen=$(POD_IP):{{ $service.peerPort }}
- --members=dns:{{ include "spark-standalone.shuffle-name" . }}.{{ .Release.Namespace }}.svc.{{ .Values.clusterDomain }}:{{ $service.peerPort }}
- --http-listen={{ include "spark-standalone.http-host" . }}:{{ $service.httpPort }}
- --spark-listen=0.0.0.0:{{ $service.port }}
- --memory={{ $service.memoryMiB }}M
- --spark.memory={{ $service.sparkMemoryMiB }}M
{{- if $service.peerSecret.enabled }}
- --secret-file=/etc/shufflefs/secrets/secret
{{- else }}
- --insecure=true
{{- end }}
{{- if $service.monitoring.serviceMonitor.enabled }}
- --http-token-file=/etc/shufflefs/secrets/http-token
{{- end }}
{{- range $key, $value := $service.config }}
- {{ printf "--%s=%v" $key $value | quote }}
{{- end }}
{{- end -}}

{{/* Status and metrics: on loopback, unless Prometheus is to reach them. */}}
{{- define "spark-standalone.http-host" -}}
{{- if .Values.shuffleService.monitoring.serviceMonitor.enabled -}}$(POD_IP){{- else -}}127.0.0.1{{- end -}}
{{- end -}}

{{/* The command of a probe; call with (list . OPTION). */}}
{{- define "spark-standalone.probe" -}}
{{- $root := index . 0 -}}
{{- $words := list "shufflefs-probe" -}}
{{- with index . 1 -}}{{- $words = append $words . -}}{{- end -}}
{{- $words = append $words (include "spark-standalone.http-host" $root | replace "$(POD_IP)" "pod") -}}
{{- append $words (toString $root.Values.shuffleService.httpPort) | toJson -}}
{{- end -}}

{{/* The Secret with the keys "secret", between the nodes, and "http-token", for Prometheus; empty if neither is wanted. */}}
{{- define "spark-standalone.secret-name" -}}
{{- $service := .Values.shuffleService -}}
{{- if and (include "spark-standalone.is-shufflefs" .) (or $service.peerSecret.enabled $service.monitoring.serviceMonitor.enabled) -}}
{{- default (include "spark-standalone.shuffle-name" .) $service.peerSecret.existingSecret -}}
{{- end -}}
{{- end -}}
