#include "sim/sim_cluster.h"

#include <algorithm>

namespace shufflefs::sim {

SimCluster::SimCluster(Schedule& schedule, SimRuntime& runtime, uint64_t seed, merge::NodeName self,
                       Probe probe)
    : schedule_(schedule),
      runtime_(runtime),
      random_(seed),
      self_(std::move(self)),
      probe_(std::move(probe)) {}

void SimCluster::add(const merge::NodeName& name, std::size_t index,
                     std::shared_ptr<merge::NodeApi> node) {
  Peer& peer = peers_[name];
  peer.index = index;
  peer.node = std::move(node);
  peer.up = name == self_;
}

void SimCluster::set_members(std::vector<merge::NodeName> names) {
  names_ = std::move(names);
  for (const merge::NodeName& name : names_) look_at(name);
}

void SimCluster::look_at(const merge::NodeName& name) {
  Peer& peer = peers_.at(name);
  if (name == self_ || peer.looking) return;
  peer.looking = true;
  const Duration delay = std::chrono::milliseconds(random_.between(1, 1000));
  schedule_.after(delay, Action([this, alive = std::weak_ptr<bool>(alive_), name] {
                    if (!alive.expired()) look(name);
                  }));
}

void SimCluster::look(const merge::NodeName& name) {
  Peer& peer = peers_.at(name);
  peer.looking = false;
  const auto seen = probe_(peer.index);
  peer.up = seen.has_value();
  if (!seen) {
    if (std::ranges::binary_search(names_, name)) look_at(name);
    return;
  }
  peer.pause = std::chrono::milliseconds(100);
  if (seen == peer.incarnation || !std::ranges::binary_search(names_, name)) return;
  peer.incarnation = seen;
  runtime_.post(Action([this, name] {
    for (const auto& listener : listeners_) listener(name);
  }));
}

std::optional<std::string> SimCluster::refusal(const merge::NodeName& name) const {
  const Peer& peer = peers_.at(name);
  if (peer.up || schedule_.now() >= peer.retry_at) return std::nullopt;
  return "it did not answer";
}

void SimCluster::heard(const merge::NodeName& name, bool answered) {
  Peer& peer = peers_.at(name);
  peer.up = answered;
  if (answered) {
    peer.pause = std::chrono::milliseconds(100);
    return;
  }
  peer.retry_at = schedule_.now() + peer.pause;
  peer.pause = std::min<Duration>(peer.pause * 2, std::chrono::seconds(2));
  look_at(name);
}

std::shared_ptr<merge::NodeApi> SimCluster::node(const merge::NodeName& name) {
  if (!std::ranges::binary_search(names_, name)) return nullptr;
  return peers_.at(name).node;
}

bool SimCluster::is_up(const merge::NodeName& name) const {
  return std::ranges::binary_search(names_, name) && peers_.at(name).up;
}

std::vector<merge::PeerHealth> SimCluster::health() const {
  std::vector<merge::PeerHealth> health;
  for (const merge::NodeName& name : names_) {
    const Peer& peer = peers_.at(name);
    health.push_back({name, "sim", name == self_, peer.up, peer.up ? "" : "it did not answer", 0});
  }
  return health;
}

}  // namespace shufflefs::sim
