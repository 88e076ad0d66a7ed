#include "net/peer_metrics.h"

namespace shufflefs::net {

PeerMetrics::PeerMetrics(Metrics& metrics)
    : connections_opened(metrics.counter("shufflefs_peer_connections_opened_total",
                                         "Connections made to other nodes.")),
      connections_accepted(metrics.counter("shufflefs_peer_connections_accepted_total",
                                           "Connections made by other nodes.")),
      connections_refused(metrics.counter("shufflefs_peer_connections_refused_total",
                                          "Connections closed at once: too many.")),
      connections_closed(metrics.counter("shufflefs_peer_connections_closed_total",
                                         "Connections closed, of either kind.")),
      sent_bytes(metrics.counter("shufflefs_peer_sent_bytes_total", "Bytes sent to other nodes.")),
      received_bytes(metrics.counter("shufflefs_peer_received_bytes_total",
                                     "Bytes received from other nodes.")),
      connect_failures(metrics.counter("shufflefs_peer_connect_failures_total",
                                       "Connects and hellos that failed.")),
      request_failures(
          metrics.counter("shufflefs_peer_request_failures_total", "Requests that got no answer.")),
      request_retries(metrics.counter("shufflefs_peer_request_retries_total",
                                      "Requests resent over a fresh connection.")),
      timeouts(metrics.counter("shufflefs_peer_timeouts_total",
                               "Requests and connections that timed out.")),
      protocol_errors(
          metrics.counter("shufflefs_peer_protocol_errors_total",
                          "Invalid frames: garbage, too large, damaged, unknown version.")),
      handshakes_refused(metrics.counter("shufflefs_peer_handshakes_refused_total",
                                         "Callers refused for their secret, certificate or name.")),
      handshakes_crowded_out(metrics.counter("shufflefs_peer_handshakes_crowded_out_total",
                                             "Unfinished handshakes closed: too many.")),
      pushed_bytes(metrics.counters("shufflefs_peer_pushed_bytes_total",
                                    "Bytes of blocks pushed to the peer.", "peer")),
      fetched_bytes(metrics.counters("shufflefs_peer_fetched_bytes_total",
                                     "Bytes of blocks read from the peer.", "peer")) {
  auto& asked =
      metrics.counters("shufflefs_peer_asked_total", "Requests sent to other nodes.", "type");
  auto& answered = metrics.counters("shufflefs_peer_answered_total",
                                    "Requests received from other nodes.", "type");
  auto& times = metrics.histograms("shufflefs_peer_request_seconds",
                                   "Time of requests to other nodes, queueing included.", "type");
  for (std::size_t i = 0; i < kRequestTypes.size(); ++i) {
    const std::string name(kRequestTypes.at(i).name);
    asked_.at(i) = &asked.with(name);
    answered_.at(i) = &answered.with(name);
    times_.at(i) = &times.with(name);
  }
}

}  // namespace shufflefs::net
