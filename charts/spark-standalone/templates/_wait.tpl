{{/*
An init container that ends when the shuffle service of its node can be used: call with (list . IMAGE). An executor that
starts earlier would end itself, because it cannot register.
*/}}
{{- define "spark-standalone.wait" -}}
{{- $root := index . 0 -}}
- name: wait-for-shuffle
  image: {{ include "spark-standalone.spark-image" $root | quote }}
  imagePullPolicy: {{ $root.Values.spark.image.pullPolicy }}
  command: [bash, -c]
  args:
    - |
      until_=$((SECONDS + {{ $root.Values.shuffleService.waitSeconds }}))
      while true; do
        problem=
        {{- if include "spark-standalone.is-shufflefs" $root }}
        if ! grep -q " {{ include "spark-standalone.mount" $root }} fuse.shufflefs " /proc/mounts; then
          problem="nothing is mounted at {{ include "spark-standalone.mount" $root }}"
        elif ! timeout 5 stat "{{ include "spark-standalone.mount" $root }}/local/disk0" >/dev/null 2>&1; then
          problem="the mount {{ include "spark-standalone.mount" $root }} does not answer"
        fi
        {{- end }}
        if [ -z "$problem" ] && ! (exec 3<>"/dev/tcp/$NODE_IP/{{ $root.Values.shuffleService.port }}") 2>/dev/null; then
          problem="nothing answers at $NODE_IP:{{ $root.Values.shuffleService.port }}"
        fi
        [ -z "$problem" ] && echo "the shuffle service of node $NODE_NAME is ready" && exit 0
        echo "waiting for the shuffle service of node $NODE_NAME: $problem;" \
          "is its pod ready? kubectl get pods -l app=spark-shuffle -o wide"
        [ "$SECONDS" -ge "$until_" ] && exit 1
        sleep 2
      done
  env:
    - name: NODE_IP
      valueFrom: {fieldRef: {fieldPath: status.hostIP}}
    - name: NODE_NAME
      valueFrom: {fieldRef: {fieldPath: spec.nodeName}}
  {{- if include "spark-standalone.is-shufflefs" $root }}
  volumeMounts: {{- include "spark-standalone.shuffle-mount" $root | nindent 4 }}
  {{- end }}
{{- end -}}

{{/*
How a pod sees the shuffle service's directory. shufflefs: the parent of the mount, so that a new mount appears in pods that
run; read-only, so that nothing is written below the mount while it is missing. The mount itself can be written.
*/}}
{{- define "spark-standalone.shuffle-mount" -}}
- name: shuffle-data
  mountPath: {{ .Values.shuffleService.hostPath }}
  {{- if include "spark-standalone.is-shufflefs" . }}
  mountPropagation: HostToContainer
  readOnly: true
  {{- end }}
{{- end -}}

{{- define "spark-standalone.shuffle-volume" -}}
- name: shuffle-data
  hostPath:
    path: {{ .Values.shuffleService.hostPath }}
    type: DirectoryOrCreate
{{- end -}}
