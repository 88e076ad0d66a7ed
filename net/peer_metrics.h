// The counters and times of net/, all named shufflefs_peer_*. Two objects over the same Metrics
// share them.
//
// Threads: any. Ownership: refers to the Metrics. Cost: one relaxed atomic add per event.
#pragma once

#include "base/metrics.h"
#include "net/messages.h"

namespace shufflefs::net {

struct PeerMetrics {
  explicit PeerMetrics(Metrics& metrics);

  Counter& connections_opened;
  Counter& connections_accepted;
  Counter& connections_refused;
  Counter& connections_closed;
  Counter& sent_bytes;
  Counter& received_bytes;
  Counter& connect_failures;
  Counter& request_failures;
  Counter& request_retries;
  Counter& timeouts;
  Counter& protocol_errors;
  Counter& handshakes_refused;
  Counter& handshakes_crowded_out;

  // Requests sent to peers, and answered for them, by type. REQUIRES: a type of kRequestTypes.
  [[nodiscard]] Counter& asked(MessageType type) { return *asked_.at(index_of(type)); }
  [[nodiscard]] Counter& answered(MessageType type) { return *answered_.at(index_of(type)); }
  // From the call to the answer or failure, queueing included.
  [[nodiscard]] Histogram& request_time(MessageType type) { return *times_.at(index_of(type)); }

  // Payloads only, counted by who asked: the sum over all nodes counts each transfer once.
  Labelled<Counter>& pushed_bytes;   // to the peer
  Labelled<Counter>& fetched_bytes;  // from the peer

 private:
  std::array<Counter*, kRequestTypes.size()> asked_{};
  std::array<Counter*, kRequestTypes.size()> answered_{};
  std::array<Histogram*, kRequestTypes.size()> times_{};
};

}  // namespace shufflefs::net
