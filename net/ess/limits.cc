#include "net/ess/limits.h"

namespace shufflefs::net::ess {

EssMetrics::EssMetrics(Metrics& metrics)
    : connections(metrics.counter("shufflefs_spark_connections_total",
                                  "Connections of Spark's clients to the shuffle service.")),
      connections_refused(metrics.counter("shufflefs_spark_connections_refused_total",
                                          "Connections closed at once: there were too many.")),
      limit_closes(metrics.counter(
          "shufflefs_spark_limit_closes_total",
          "Connections closed because they asked for more than a limit allows (spark.memory, "
          "streams per connection).")),
      protocol_errors(metrics.counter("shufflefs_spark_protocol_errors_total",
                                      "Connections closed because of bytes that are no frame.")),
      auth_failures(metrics.counter("shufflefs_spark_auth_failures_total",
                                    "Handshakes and messages refused by authentication.")),
      slow_clients(metrics.counter("shufflefs_spark_slow_clients_total",
                                   "Connections closed because the client took nothing.")),
      slow_disks(metrics.counter("shufflefs_spark_slow_disks_total",
                                 "Connections closed because a disk did not answer.")),
      signs_of_life(metrics.counter("shufflefs_spark_signs_of_life_total",
                                    "Empty frames sent while a disk was slow.")),
      requests(metrics.counter("shufflefs_spark_requests_total", "RPCs received.")),
      requests_failed(
          metrics.counter("shufflefs_spark_requests_failed_total", "RPCs answered by a failure.")),
      registrations(
          metrics.counter("shufflefs_spark_registrations_total", "Executors registered.")),
      chunks(metrics.counter("shufflefs_spark_chunks_total", "Blocks sent.")),
      chunks_failed(
          metrics.counter("shufflefs_spark_chunks_failed_total", "Blocks answered by a failure.")),
      chunk_bytes(metrics.counter("shufflefs_spark_chunk_bytes_total", "Bytes of blocks sent.")),
      cold_chunks(metrics.counter("shufflefs_spark_cold_reads_total",
                                  "Reads that had to wait for a disk.")),
      read_ahead_bytes(metrics.counter(
          "shufflefs_spark_read_ahead_bytes_total",
          "Bytes that disks were asked to read ahead for blocks that lie close together.")),
      rpc_seconds(metrics.histogram("shufflefs_spark_rpc_seconds",
                                    "RPCs from their arrival to the answer.")),
      chunk_seconds(metrics.histogram(
          "shufflefs_spark_chunk_seconds",
          "Blocks from their request to their first byte: waiting behind others, and the disk.")) {}

}  // namespace shufflefs::net::ess
