#include "sim/sim_node.h"

#include <boost/asio/co_spawn.hpp>

namespace shufflefs::sim {

SimNode::SimNode(Schedule& schedule, Network& network, uint64_t seed, Config config, Hooks hooks)
    : schedule_(schedule),
      network_(network),
      random_(seed),
      config_(std::move(config)),
      hooks_(std::move(hooks)),
      disk_(random_.next(), hooks_.disk) {
  for (const std::string& directory : config_.engine.data_dirs) {
    (void)disk_.make_directories(directory);
    (void)disk_.faults(directory);
  }
}

SimNode::~SimNode() {
  if (life_) crash();
}

bool SimNode::start(const std::vector<Member>& members) {
  incarnation_ = random_.next();
  life_ = std::make_unique<Life>();
  runtimes_.push_back(std::make_unique<SimRuntime>(
      schedule_, SimRuntime::Options{random_.next(), hooks_.clock_skew, hooks_.disk_delay}));
  life_->runtime = runtimes_.back().get();
  life_->memory = std::make_unique<MemoryBudget>(*life_->runtime, config_.memory);
  life_->cluster = std::make_unique<SimCluster>(schedule_, *life_->runtime, random_.next(), name(),
                                                hooks_.probe);
  life_->engine = std::make_unique<merge::Engine>(*life_->runtime, disk_, *life_->memory,
                                                  life_->metrics, config_.engine);
  life_->gate = std::make_unique<Gate>(*life_->runtime, "simulation");
  if (!life_->engine->prepare()) {
    crash();
    return false;
  }
  add_members(members);
  life_->engine->start(*life_->cluster);
  return true;
}

void SimNode::add_members(const std::vector<Member>& members) {
  for (const Member& member : members) {
    if (life_->cluster->knows(member.name)) continue;
    if (member.index == config_.index) {
      life_->cluster->add(member.name, member.index, life_->engine->local_node());
      continue;
    }
    SimCluster& cluster = *life_->cluster;
    SimPeer::Link link{
        *life_->runtime,
        network_,
        life_->memory->of(MemoryPurpose::kAnswer),
        config_.index,
        member.index,
        [&cluster, name = member.name] { return cluster.refusal(name); },
        [&cluster, name = member.name](bool answered) { cluster.heard(name, answered); },
        [this, to = member.index](const merge::AnnounceRequest& request) {
          hooks_.announced(to, request);
        }};
    cluster.add(member.name, member.index, std::make_shared<SimPeer>(std::move(link)));
  }
  std::vector<merge::NodeName> names;
  for (const Member& member : members) names.push_back(member.name);
  std::ranges::sort(names);
  life_->cluster->set_members(std::move(names));
}

void SimNode::learn_members(const std::vector<Member>& members) {
  if (life_) add_members(members);
}

SimNode::Counts SimNode::counts() const {
  Counts sum = past_;
  if (!life_) return sum;
  sum.evictions += life_->metrics.value("shufflefs_merge_evictions_total");
  sum.busy += life_->metrics.value("shufflefs_push_busy_answers_total");
  sum.duplicates += life_->metrics.value("shufflefs_push_duplicate_blocks_total");
  return sum;
}

void SimNode::crash() {
  past_ = counts();
  // Coroutines go while everything that they refer to is still there.
  life_->runtime->kill();
  life_.reset();
}

void SimNode::begin_stop() {
  life_->stopping = true;
  // Not into the gate, which it closes.
  asio::co_spawn(life_->runtime->executor(), stop_life(),
                 [this](const std::exception_ptr& /*none*/) { life_->stopped = true; });
}

Task<void> SimNode::stop_life() {
  co_await life_->gate->close();
  co_await life_->engine->stop();
}

void SimNode::bury_if_stopped() {
  if (life_ && life_->stopped) crash();
}

void SimNode::serve(merge::NodeName caller, WireFrame request, Answer answer) {
  life_->gate->spawn(answer_one(std::move(caller), std::move(request), std::move(answer)));
}

Task<void> SimNode::answer_one(merge::NodeName caller, WireFrame request, Answer answer) {
  answer(co_await serve_frame(life_->memory->of(MemoryPurpose::kReceive),
                              {*life_->engine->local_node(), incarnation_, std::move(caller)},
                              std::move(request)));
}

}  // namespace shufflefs::sim
