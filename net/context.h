// What every part of net/ is given: the reactor, the memory budget, the metrics, who we are, and
// the time limits.
//
// Threads: constant after construction. Ownership: the referred-to objects outlive everything made
// from a Context.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>

#include "base/asio_runtime.h"
#include "base/memory_budget.h"
#include "base/metrics.h"
#include "merge/ids.h"

namespace shufflefs::net {

inline constexpr uint16_t kDefaultPeerPort = 7338;

// Defaults are what production uses; tests shorten them.
struct NetOptions {
  // Asking.
  Duration connect_timeout = std::chrono::seconds(1);  // name lookup and TCP connect
  Duration hello_timeout =
      std::chrono::seconds(5);  // both sides: from the connect to the end of the hello
  Duration request_timeout =
      std::chrono::seconds(5);  // from the call to the answer, queueing included
  Duration payload_timeout =
      std::chrono::seconds(10);  // the same for push and reads, which move bulk
  Duration idle_close =
      std::chrono::seconds(60);  // an unused connection is closed by who opened it
  Duration backoff_first = std::chrono::milliseconds(100);
  Duration backoff_limit = std::chrono::seconds(2);
  Duration heartbeat_interval = std::chrono::seconds(1);
  Duration heartbeat_timeout = std::chrono::seconds(2);
  Duration lookup_interval = std::chrono::seconds(5);  // of the members by DNS
  // How long the list of a peer may be another one before it is told.
  Duration view_patience = std::chrono::seconds(5);
  std::size_t push_connections = 2;      // per peer; bulk must not block questions
  std::size_t question_connections = 4;  // per peer
  // Answering.
  Duration server_idle = std::chrono::minutes(5);
  Duration frame_timeout =
      std::chrono::seconds(10);  // from the first byte of a request to its last
  Duration accept_pause = std::chrono::milliseconds(100);
  std::size_t max_server_connections = 4096;
  // Connections whose handshake is not over: beyond it the oldest one gives way.
  std::size_t max_handshakes = 512;
  std::size_t max_handshakes_per_address = 128;
  // Both.
  Duration budget_patience =
      std::chrono::seconds(3);  // the wait for memory, during which the socket is not read
  // What a node without memory for a push tells its sender: come again after so long.
  Duration busy_pause = std::chrono::milliseconds(250);
  uint64_t max_payload_bytes = (64ULL << 20U) + (64ULL << 10U);  // of a push
};

// `incarnation` is a random number made at process start: another one means that the process was
// restarted.
struct NodeIdentity {
  merge::NodeName name;
  uint64_t incarnation = 0;
};

class MemberTable;
class PeerAuth;

struct Context {
  AsioRuntime& runtime;
  ByteBudget& budget;  // for requests of other nodes
  Metrics& metrics;
  NodeIdentity self;
  NetOptions options;
  const PeerAuth* auth = nullptr;  // none: whoever reaches the port is a peer
  // For their answers to ours; `budget` if there is none. Where both come from one budget, nodes
  // that push to each other could wait for each other (base/memory_budget.h).
  ByteBudget* answers = nullptr;
  // Who says hello becomes a member in it. None: this side only asks, and is no member for others.
  std::shared_ptr<MemberTable> members = nullptr;
};

}  // namespace shufflefs::net
