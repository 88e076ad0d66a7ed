// Who is there. Implemented by net::Membership (what the nodes tell each other, begun with a list
// or DNS), by a fixed list in tests, and by the simulator.
//
// Threads: names(), view_hash(), self(), health() and differences() from any thread; the rest on
// the reactor.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/hash.h"
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

// A member that has had another list of members than this node for more than a few seconds. The
// names are at most kMostNames of each kind, sorted.
struct ViewDifference {
  static constexpr std::size_t kMostNames = 10;
  NodeName node;
  std::vector<NodeName> missing_here;
  std::vector<NodeName> missing_there;
};

// Of sorted names: nodes whose members are the same have the same. 64 bits of FNV-1a; every name
// ends with a zero byte.
[[nodiscard]] inline uint64_t hash_of_view(std::span<const NodeName> names) {
  uint64_t hash = fnv1a({});
  for (const NodeName& name : names)
    hash = fnv1a(std::string_view("\0", 1), fnv1a(name.str(), hash));
  return hash;
}

class Cluster {
 public:
  virtual ~Cluster() = default;
  [[nodiscard]] virtual NodeName self() const = 0;
  // All members that this node knows of, itself included, sorted, whether they are up or not. A
  // member that joins or leaves is known everywhere within seconds, not at once.
  [[nodiscard]] virtual std::vector<NodeName> names() const = 0;
  // hash_of_view(names()), without the cost: for comparing with what another node says.
  [[nodiscard]] virtual uint64_t view_hash() const = 0;
  // Nothing for a name that is not a member. The node may be down: its calls then fail fast.
  [[nodiscard]] virtual std::shared_ptr<NodeApi> node(const NodeName& name) = 0;
  [[nodiscard]] virtual bool is_up(const NodeName& name) const = 0;
  [[nodiscard]] virtual std::vector<PeerHealth> health() const = 0;
  [[nodiscard]] virtual std::vector<ViewDifference> differences() const { return {}; }
  // Called on the reactor each time a peer is seen for the first time or has been restarted (its
  // incarnation changed): it has forgotten what was announced to it.
  virtual void on_new_incarnation(std::function<void(NodeName)> listener) = 0;
};

}  // namespace shufflefs::merge
