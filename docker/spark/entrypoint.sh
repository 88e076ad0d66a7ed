#!/usr/bin/env bash
# What a container of this image runs, by its first argument or SPARK_MODE:
#
#   master      Spark's standalone master          SPARK_LOCAL_HOSTNAME, SPARK_MASTER_PORT, SPARK_MASTER_WEBUI_PORT
#   worker      a standalone worker                SPARK_MASTER_URL, SPARK_LOCAL_HOSTNAME, SPARK_WORKER_WEBUI_PORT
#   shuffle     Spark's own shuffle service        SPARK_SHUFFLE_SERVICE_PORT
#   submit      spark-submit with the arguments    SPARK_MASTER_URL
#   history     the history server                 SPARK_HISTORY_OPTS
#   driver, executor   what spark-submit --master k8s starts
#
# Anything else is executed as it is.
set -euo pipefail

SPARK_HOME=${SPARK_HOME:-/opt/spark}
spark_class=$SPARK_HOME/bin/spark-class
mode=${1:-${SPARK_MODE:-}}
if (($# > 0)); then shift; fi

# Says so once the port answers: Spark's service itself only logs that it is starting.
announce_shuffle() {
  local port=$1
  for _ in {1..600}; do
    if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
      echo "Started external shuffle service on port $port"
      return
    fi
    sleep 0.2
  done
  echo "The external shuffle service does not answer on port $port after 2 minutes" >&2
}

# The options that the driver gives to executors on Kubernetes, one in each SPARK_JAVA_OPT_<n>.
java_options() {
  env | sed -n 's/^SPARK_JAVA_OPT_\([0-9]*\)=/\1 /p' | sort -n | cut -d' ' -f2-
}

case $mode in
  master)
    exec "$spark_class" org.apache.spark.deploy.master.Master \
      --host "${SPARK_LOCAL_HOSTNAME:-$(hostname -i | cut -d' ' -f1)}" \
      --port "${SPARK_MASTER_PORT:-7077}" --webui-port "${SPARK_MASTER_WEBUI_PORT:-8080}" "$@"
    ;;
  worker)
    exec "$spark_class" org.apache.spark.deploy.worker.Worker \
      --host "${SPARK_LOCAL_HOSTNAME:-$(hostname -i | cut -d' ' -f1)}" \
      --webui-port "${SPARK_WORKER_WEBUI_PORT:-8081}" "$@" "${SPARK_MASTER_URL:?is not set}"
    ;;
  shuffle)
    echo "Starting External Shuffle Service..."
    export SPARK_SHUFFLE_SERVICE_PORT=${SPARK_SHUFFLE_SERVICE_PORT:-7337}
    export SPARK_SHUFFLE_OPTS="-Dspark.shuffle.service.port=$SPARK_SHUFFLE_SERVICE_PORT ${SPARK_SHUFFLE_OPTS:-}"
    announce_shuffle "$SPARK_SHUFFLE_SERVICE_PORT" &
    exec "$spark_class" org.apache.spark.deploy.ExternalShuffleService "$@"
    ;;
  submit)
    exec "$SPARK_HOME/bin/spark-submit" ${SPARK_MASTER_URL:+--master "$SPARK_MASTER_URL"} "$@"
    ;;
  history)
    exec "$spark_class" org.apache.spark.deploy.history.HistoryServer "$@"
    ;;
  driver)
    exec "$SPARK_HOME/bin/spark-submit" --conf "spark.driver.bindAddress=${SPARK_DRIVER_BIND_ADDRESS:?is not set}" \
      --conf "spark.executorEnv.SPARK_DRIVER_POD_IP=$SPARK_DRIVER_BIND_ADDRESS" --deploy-mode client "$@"
    ;;
  executor)
    mapfile -t options < <(java_options)
    exec "${JAVA_HOME:-/usr}/bin/java" "${options[@]}" "-Xms$SPARK_EXECUTOR_MEMORY" "-Xmx$SPARK_EXECUTOR_MEMORY" \
      -cp "${SPARK_CONF_DIR:-$SPARK_HOME/conf}:${SPARK_CLASSPATH:-}:$SPARK_HOME/jars/*" \
      org.apache.spark.scheduler.cluster.k8s.KubernetesExecutorBackend \
      --driver-url "$SPARK_DRIVER_URL" --executor-id "$SPARK_EXECUTOR_ID" --cores "$SPARK_EXECUTOR_CORES" \
      --app-id "$SPARK_APPLICATION_ID" --hostname "$SPARK_EXECUTOR_POD_IP" \
      --resourceProfileId "$SPARK_RESOURCE_PROFILE_ID" --podName "$SPARK_EXECUTOR_POD_NAME"
    ;;
  '')
    echo "Say what to run: master, worker, shuffle, submit, history or a command (or set SPARK_MODE)" >&2
    exit 2
    ;;
  *) exec "$mode" "$@" ;;
esac
