// One simulated node's view of the members: who they are, who seems to be up, who has restarted.
// As net::Membership, but without a heartbeat to everybody each second: a peer is looked at (with
// the delay that a heartbeat would have) when something has happened to it or a call to it has
// failed, and again each second for as long as it is down.
#pragma once

#include <map>

#include "merge/cluster.h"
#include "sim/sim_runtime.h"

namespace shufflefs::sim {

class SimCluster final : public merge::Cluster {
 public:
  // What a heartbeat would see: the peer's incarnation, or nothing if it cannot be reached.
  using Probe = std::function<std::optional<uint64_t>(std::size_t peer)>;

  SimCluster(Schedule& schedule, SimRuntime& runtime, uint64_t seed, merge::NodeName self,
             Probe probe);

  // Makes a peer known; `index` is for the probe. Once.
  [[nodiscard]] bool knows(const merge::NodeName& name) const { return peers_.contains(name); }
  void add(const merge::NodeName& name, std::size_t index, std::shared_ptr<merge::NodeApi> node);
  // Those that are not in the list leave. Sorted, all of them known.
  void set_members(std::vector<merge::NodeName> names);
  // Something may have happened to the peer: look at it soon.
  void look_at(const merge::NodeName& name);

  // For the peer's NodeApi.
  [[nodiscard]] std::optional<std::string> refusal(const merge::NodeName& name) const;
  void heard(const merge::NodeName& name, bool answered);

  [[nodiscard]] merge::NodeName self() const override { return self_; }
  [[nodiscard]] std::vector<merge::NodeName> names() const override { return names_; }
  [[nodiscard]] uint64_t view_hash() const override { return merge::hash_of_view(names_); }
  [[nodiscard]] std::shared_ptr<merge::NodeApi> node(const merge::NodeName& name) override;
  [[nodiscard]] bool is_up(const merge::NodeName& name) const override;
  [[nodiscard]] std::vector<merge::PeerHealth> health() const override;
  void on_new_incarnation(std::function<void(merge::NodeName)> listener) override {
    listeners_.push_back(std::move(listener));
  }

 private:
  struct Peer {
    std::size_t index = 0;
    std::shared_ptr<merge::NodeApi> node;
    bool up = false;
    bool looking = false;
    TimePoint retry_at{};
    Duration pause = std::chrono::milliseconds(100);
    std::optional<uint64_t> incarnation;
  };
  void look(const merge::NodeName& name);

  Schedule& schedule_;
  SimRuntime& runtime_;
  Random random_;
  const merge::NodeName self_;
  const Probe probe_;
  std::vector<merge::NodeName> names_;
  std::map<merge::NodeName, Peer> peers_;
  std::vector<std::function<void(merge::NodeName)>> listeners_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace shufflefs::sim
