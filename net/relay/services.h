// What the connections of one relay share.
//
// Threads: reactor; the metrics any.
#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <functional>
#include <string>

#include "base/asio_runtime.h"
#include "merge/merged_reader.h"
#include "net/ess/limits.h"
#include "net/relay/choice.h"

namespace shufflefs::net::relay {

// There whether a relay runs or not, as the page of metrics lists all.
struct RelayMetrics {
  explicit RelayMetrics(Metrics& metrics);
  // What the gauges show from now on, for as long as the server lives.
  struct Gauges {
    std::function<double()> redirects;
    std::function<double()> connections;
    std::function<double()> held_bytes;
  };
  void show(Gauges gauges);
  void count(merge::MergedSource source, uint64_t bytes);
  void count_origin(uint64_t bytes);
  Metrics& all;
  Counter& connections;
  Counter& requests;
  Counter& forwarded;
  Counter& failed;
  Labelled<Counter>& blocks;   // by source
  Labelled<Counter>& bytes;    // by source
  Labelled<Counter>& origins;  // blocks from their origin, by reason
};

struct RelayTimes {
  Duration origin_patience = std::chrono::seconds(15);  // as long as Spark's client tries
  Duration connect = std::chrono::seconds(5);           // one attempt
  Duration origin_silence = std::chrono::seconds(100);  // Spark's client gives up after 120 s
};

struct Services {
  AsioRuntime& runtime;
  merge::MergedReaders& readers;
  ess::Usage& usage;
  RelayMetrics& metrics;
  const ess::EssLimits& limits;
  RelayTimes times;
  uint64_t ahead_bytes = 0;
  uint32_t mark = 0;        // SO_MARK of connections to origins; 0: none
  int64_t next_stream = 0;  // of our own streams: at least kFirstStream
};

// Streams that an origin has opened have smaller numbers.
inline constexpr int64_t kFirstStream = int64_t{1} << 62U;

// What a client has asked for with one request, chunk by chunk.
struct RelayStream {
  explicit RelayStream(Runtime& runtime) : news(runtime), chosen(runtime) {}
  int64_t id = 0;
  ess::BlockList blocks;
  ess::Usage::Share share;
  std::vector<bool> asked;
  std::size_t left = 0;           // chunks that have not been asked for
  std::vector<uint32_t> waiting;  // asked for, and nobody has begun
  Event news;                     // of `waiting` or `left`
  Event chosen;
  Readers readers;
  std::vector<Choice> choices;  // by chunk, once chosen is set
};

}  // namespace shufflefs::net::relay
