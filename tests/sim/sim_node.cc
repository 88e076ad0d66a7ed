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
  merge::EngineOptions options = config_.engine;
  if (config_.late_events)
    options.has_unread_events = [life = life_.get()] { return !life->untold.empty(); };
  life_->engine = std::make_unique<merge::Engine>(*life_->runtime, disk_, *life_->memory,
                                                  life_->metrics, std::move(options));
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

std::vector<std::string> SimNode::sound_dirs() const {
  std::vector<std::string> sound = data_dirs();
  if (!life_) return sound;
  for (const merge::DiskStatus& disk : life_->engine->disk_status()) {
    if (!disk.failed.empty()) std::erase(sound, disk.path);
  }
  return sound;
}

SimNode::Counts SimNode::counts() const {
  Counts sum = past_;
  if (!life_) return sum;
  sum.evictions += life_->metrics.value("shufflefs_merge_evictions_total");
  sum.busy += life_->metrics.value("shufflefs_push_busy_answers_total");
  sum.duplicates += life_->metrics.value("shufflefs_push_duplicate_blocks_total");
  return sum;
}

void SimNode::spark_file_changed(const std::string& path, bool removed) {
  merge::CommitSink& commits = life_->engine->commits();
  if (!config_.late_events) {
    if (removed)
      commits.spark_file_removed(path);
    else
      commits.spark_file_appeared(path);
    return;
  }
  if (life_->untold.empty()) life_->drops = commits.drops_heard();
  life_->untold.emplace_back(path, removed);
  life_->events_lost = life_->events_lost || random_.chance(0.05);
  if (!std::exchange(life_->telling, true)) spawn(tell_later());
}

Task<void> SimNode::tell_later() {
  co_await sleep_for(*life_->runtime, std::chrono::milliseconds(random_.below(1500)));
  (void)co_await offload(*life_->runtime, [this]() -> Status {
    tell_now();
    return ok();
  });
}

void SimNode::tell_now() {
  merge::CommitSink& commits = life_->engine->commits();
  while (!life_->untold.empty()) {
    // It counts as untold until the engine knows it, and all of them while any was lost.
    if (std::exchange(life_->events_lost, false)) {
      const std::size_t covered = life_->untold.size();
      commits.spark_events_lost(life_->drops);
      life_->untold.erase(life_->untold.begin(),
                          life_->untold.begin() + static_cast<std::ptrdiff_t>(covered));
      continue;
    }
    const auto [path, removed] = life_->untold.front();
    if (removed)
      commits.spark_file_removed(path);
    else
      commits.spark_file_appeared(path, life_->drops);
    life_->untold.pop_front();
  }
  life_->telling = false;
}

void SimNode::crash() {
  past_ = counts();
  std::set<std::string> removed;
  for (const auto& [path, was_removed] : life_->untold) {
    if (was_removed) removed.insert(path);
  }
  if (!removed.empty()) hooks_.removals_untold(removed);
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
