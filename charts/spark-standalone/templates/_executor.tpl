{{/*
The template of executors' pods. The host's network for the same reason as with workers; ports are chosen freely, so that
several executors fit on a node. SPARK_EXECUTOR_DIRS (spark-defaults.conf) and not spark.local.dir: over the latter Spark
on Kubernetes mounts a volume of its own.
*/}}
{{- define "spark-standalone.executor-template" -}}
apiVersion: v1
kind: Pod
spec:
  hostNetwork: true
  dnsPolicy: ClusterFirstWithHostNet
  enableServiceLinks: false
  initContainers:
    {{- include "spark-standalone.wait" (list .) | nindent 4 }}
  containers:
    - name: executor
      volumeMounts:
        {{- include "spark-standalone.shuffle-mount" . | nindent 8 }}
  volumes:
    {{- include "spark-standalone.shuffle-volume" . | nindent 4 }}
{{- end -}}
