// Who is there. Implemented by net::Membership (a static list or DNS), by a fixed list in tests,
// and by the simulator.
//
// Threads: names(), self() and health() from any thread; the rest on the reactor.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "merge/node_api.h"

namespace shufflefs::merge {

struct PeerHealth {
  NodeName name;
  std::string address;  // host:port of the peer protocol
  bool self = false;
  bool up = false;
  std::string reason;        // why it is not up
  double round_trip_ms = 0;  // of the last heartbeat
};

class Cluster {
 public:
  virtual ~Cluster() = default;
  [[nodiscard]] virtual NodeName self() const = 0;
  // The members by configuration, this node included, sorted; the same on every node, whether they
  // are up or not.
  [[nodiscard]] virtual std::vector<NodeName> names() const = 0;
  // Nothing for a name that is not a member. The node may be down: its calls then fail fast.
  [[nodiscard]] virtual std::shared_ptr<NodeApi> node(const NodeName& name) = 0;
  [[nodiscard]] virtual bool is_up(const NodeName& name) const = 0;
  [[nodiscard]] virtual std::vector<PeerHealth> health() const = 0;
  // A hash of names(): nodes that know the same members have the same.
  [[nodiscard]] virtual uint64_t view_hash() const { return hash_of(names()); }
  [[nodiscard]] static uint64_t hash_of(const std::vector<NodeName>& sorted) {
    uint64_t hash = sorted.size();
    for (const NodeName& name : sorted) hash = hash * 0x9E3779B97F4A7C15ULL + number(tag_of(name));
    return hash;
  }
  // Called on the reactor each time a peer is seen for the first time or has been restarted (its
  // incarnation changed): it has forgotten what was announced to it.
  virtual void on_new_incarnation(std::function<void(NodeName)> listener) = 0;
};

}  // namespace shufflefs::merge
