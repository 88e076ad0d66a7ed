// What goes wrong in a simulation: nodes, network, memory, disks, and who is a member.
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "sim/world.h"

namespace shufflefs::sim {

// ---- nodes -----------------------------------------------------------------------------------------

void World::crash_some_node() {
  SimNode* node = any_working_node();
  if (node == nullptr) return;
  // At some disk operation soon, or right now between two steps.
  if (random_.chance(0.7))
    node->disk().crash_after(random_.between(1, 60));
  else
    crash(*node);
}

void World::crash(SimNode& node) {
  node.disk().freeze();
  node.crash();
  ++outcome_.crashes;
  note(node.name().str() + " has crashed");
  notice(node);
  after(std::chrono::milliseconds(random_.between(10, 15'000)), [this, &node] { restart(node); });
}

void World::restart(SimNode& node) {
  if (node.lives() || has_left_[node.index()]) return;
  if (disks_hang(node)) {  // it would wait for them
    after(std::chrono::seconds(1), [this, &node] { restart(node); });
    return;
  }
  const bool power_lost = scenario_.power_losses && random_.chance(0.5);
  if (power_lost) merged_check_.excuse_all(node.disk());
  node.disk().thaw(power_lost);
  // Recovery too may be interrupted.
  if (scenario_.crashes > 0 && random_.chance(0.1)) node.disk().crash_after(random_.between(1, 40));
  forget_members(node.index());
  const bool started = node.start(members_for(node.index()));
  note(fmt::format("{} starts again{}: {}", node.name().str(),
                   power_lost ? " after a loss of power" : "", started ? "fine" : "in vain"));
  if (!started) {
    node.disk().freeze();
    after(std::chrono::seconds(3), [this, &node] { restart(node); });
    return;
  }
  notice(node);
}

void World::stop_some_node() {
  SimNode* node = any_working_node();
  if (node == nullptr) return;
  note(node->name().str() + " is stopped");
  node->begin_stop();
  after(std::chrono::milliseconds(random_.between(3000, 12'000)), [this, node] { restart(*node); });
}

// ---- network ---------------------------------------------------------------------------------------

void World::cut_something() {
  if (nodes_.size() < 2) return;
  const std::size_t a = random_.below(nodes_.size());
  const bool all_links = random_.chance(0.3);
  std::vector<std::pair<std::size_t, std::size_t>> cut;
  for (std::size_t b = 0; b < nodes_.size(); ++b) {
    if (b != a) cut.emplace_back(a, b);
  }
  if (!all_links) cut = {cut[random_.below(cut.size())]};
  for (const auto& [x, y] : cut) network_.cut(x, y);
  note(fmt::format("{} is cut from {}", nodes_[a]->name().str(),
                   all_links ? "all" : nodes_[cut[0].second]->name().str()));
  after(std::chrono::milliseconds(random_.between(100, 30'000)), [this, cut] {
    for (const auto& [x, y] : cut) network_.mend(x, y);
  });
}

void World::slow_some_node() {
  const std::size_t node = random_.below(nodes_.size());
  note(nodes_[node]->name().str() + " is slow");
  network_.slow_down(node, 200);
  const Duration time = make_disks_slow(node, random_.between(10, 3000));
  after(time, [this, node] { network_.slow_down(node, 1); });
}

Duration World::make_disks_slow(std::size_t node, uint64_t factor) {
  const Duration time = std::chrono::milliseconds(random_.between(1000, 20'000));
  disk_slowness_[node] = static_cast<uint32_t>(factor);
  after(time, [this, node] { disk_slowness_[node] = 1; });
  return time;
}

// ---- memory ----------------------------------------------------------------------------------------

void World::squeeze_some_node() {
  SimNode* node = any_working_node();
  if (node == nullptr) return;
  ByteBudget& share = node->memory().of(MemoryPurpose::kReceive);
  const uint64_t bytes = share.total_bytes() * random_.between(80, 100) / 100;
  // As long as the last byte of a request may take to come.
  const Duration time = std::chrono::milliseconds(random_.between(2000, 10'000));
  note(fmt::format("{} has {} bytes of memory for requests in use", node->name().str(), bytes));
  node->spawn(hold(*node, bytes, time));
  write_map();
}

Task<void> World::hold(SimNode& node, uint64_t bytes, Duration time) {
  const auto lease =
      co_await node.memory().of(MemoryPurpose::kReceive).acquire(bytes, std::chrono::seconds(10));
  if (lease) co_await sleep_for(node.engine().runtime(), time);
}

// ---- disks -----------------------------------------------------------------------------------------

// What cannot be written to its log is committed anew after a restart.
void World::distrust_log(const SimNode& node) {
  has_unsafe_log_.insert(node.index());
  for (auto& [writing, written] : truth_.all())
    written.may_come_again = written.may_come_again || written.origin == node.index();
}

void World::sicken_disk() {
  SimNode& node = *nodes_[random_.below(nodes_.size())];
  distrust_log(node);
  const std::string& directory = node.data_dirs()[random_.below(node.data_dirs().size())];
  DiskFaults& faults = node.disk().faults(directory);
  if (random_.chance(0.3))
    faults.gone = true;
  else
    faults.error_chance = 0.02 + 0.01 * static_cast<double>(random_.below(30));
  note(fmt::format("{} has I/O errors", directory));
  after(std::chrono::milliseconds(random_.between(500, 20'000)), [&faults] {
    faults.gone = false;
    faults.error_chance = 0;
  });
}

void World::fill_disk() {
  SimNode& node = *nodes_[random_.below(nodes_.size())];
  distrust_log(node);
  const std::string& directory = node.data_dirs()[random_.below(node.data_dirs().size())];
  DiskFaults& faults = node.disk().faults(directory);
  faults.capacity = random_.between(0, 100'000);
  note(fmt::format("{} is nearly full", directory));
  after(std::chrono::milliseconds(random_.between(500, 20'000)),
        [&faults] { faults.capacity = UINT64_MAX; });
}

void World::flip_bit() {
  SimNode& node = *nodes_[random_.below(nodes_.size())];
  const auto path = node.disk().corrupt_one([](const std::string& candidate) {
    return candidate.find("/merged/") != std::string::npos && candidate.ends_with(".data");
  });
  if (!path) return;
  merged_check_.excuse(*path);
  note("a bit is flipped in " + *path);
}

// Also of nodes that are down.
void World::harm_some_output() {
  // Of what nobody has heard of, nobody could know that it is lost.
  const auto is_known = [this](const WrittenMap& written) {
    if (nodes_.size() > 1) return !written.told.empty();
    SimNode& origin = *nodes_[written.origin];
    return !scenario_.late_events ||
           (origin.works() && origin.engine().commits().is_committed(written.shuffle, written.map));
  };
  const auto live = live_outputs([&](const WrittenMap& written) {
    return !written.harm && !has_left_[written.origin] && is_known(written);
  });
  if (live.empty()) return;
  WrittenMap& written = *live[random_.below(live.size())];
  SimDisk& disk = nodes_[written.origin]->disk();
  const std::string& path = written.files[random_.below(written.files.size())];
  if (disk.peek(path) == nullptr || disk.peek(path)->empty()) return;
  auto harm = static_cast<SimDisk::Harm>(random_.below(4));
  // Other bytes, or less of a file that is a block by itself: before its blocks are merged nothing
  // tells that.
  const bool is_pair = path.ends_with(".data") || path.ends_with(".index");
  bool is_silent = harm == SimDisk::Harm::kReplaced || (harm == SimDisk::Harm::kCut && !is_pair);
  if (is_silent && !is_all_merged(written)) {
    harm = SimDisk::Harm::kLost;
    is_silent = false;
  }
  disk.harm(path, harm);
  written.harm = harm;
  written.is_silent_harm = is_silent;
  if (harm == SimDisk::Harm::kLost && written.is_spark && scenario_.late_events)
    written.uncertain = written.uncertain_for_good = true;
  has_unreadable_ = has_unreadable_ || harm == SimDisk::Harm::kUnreadable;
  constexpr std::array kNames = {"lost", "cut", "replaced", "unreadable"};
  note(fmt::format("{} is {}", path, kNames.at(static_cast<std::size_t>(harm))));
}

void World::replace_some_disk() {
  SimNode* node = any_working_node();
  if (node == nullptr) return;
  crash(*node);
  const std::vector<std::string>& directories = node->data_dirs();
  const bool all = random_.chance(0.5);
  const std::string only = directories[random_.below(directories.size())];
  // A partition may have further segments there.
  merged_check_.excuse_all(node->disk());
  for (const std::string& directory : directories) {
    if (!all && directory != only) continue;
    node->disk().replace_disk(directory);
    note("there is a new disk in the place of " + directory);
    for (auto& [writing, written] : truth_.all()) {
      const bool was_there = std::ranges::any_of(
          written.files, [&](const auto& path) { return path.starts_with(directory + "/"); });
      if (written.origin != node->index()) continue;
      written.may_come_again = true;
      if (was_there) written.is_forgotten_at_origin = true;
    }
  }
  // What it was told may have been written there.
  for (auto& [writing, written] : truth_.all()) {
    std::erase_if(written.told, [&](const auto& who) { return who.first.first == node->index(); });
    written.removal_told.erase(node->index());
  }
  for (PartialDrop& drop : partial_drops_) drop.carried_out_by.erase(node->index());
}

void World::hang_some_disk() {
  SimNode& node = *nodes_[random_.below(nodes_.size())];
  const bool all = random_.chance(0.3);
  const std::string only = node.data_dirs()[random_.below(node.data_dirs().size())];
  const Duration time = std::chrono::milliseconds(random_.between(500, 40'000));
  for (const std::string& directory : node.data_dirs()) {
    if (!all && directory != only) continue;
    note(directory + " hangs");
    DiskFaults& faults = node.disk().faults(directory);
    faults.hangs = true;
    after(time, [this, &faults, directory] {
      note(directory + " goes on");
      faults.hangs = false;
    });
  }
}

void World::jump_some_clock() {
  const std::size_t node = random_.below(nodes_.size());
  const Duration by = std::chrono::seconds(random_.between(1, random_.chance(0.5) ? 60 : 20'000));
  clock_skew_[node] += random_.chance(0.5) ? by : -by;
  note(fmt::format("the clock of {} jumps", nodes_[node]->name().str()));
}

// ---- members ---------------------------------------------------------------------------------------

void World::tell_members() {
  for (const auto& node : nodes_) {
    // As a lookup of the members each few seconds would find it.
    schedule_.after(std::chrono::milliseconds(active_ ? random_.below(6000) : 0),
                    Action([this, node = node.get()] {
                      if (node->works() && is_member_[node->index()])
                        node->learn_members(members_for(node->index()));
                    }));
  }
}

std::vector<SimNode::Member> World::members_for(std::size_t node) const {
  std::vector<SimNode::Member> list = members();
  std::erase_if(
      list, [&](const SimNode::Member& member) { return unknown_.contains({node, member.index}); });
  return list;
}

// It begins with an old list, if the scenario says so, in which at least one other is. The cluster
// tells it of the rest, within a bound.
void World::forget_members(std::size_t node) {
  if (!scenario_.old_views || !active_ || random_.chance(0.5)) return;
  std::vector<SimNode::Member> others = members();
  std::erase_if(others, [node](const SimNode::Member& member) { return member.index == node; });
  if (others.empty()) return;
  const std::size_t known = random_.below(others.size());
  for (std::size_t i = 0; i < others.size(); ++i) {
    if (i != known && random_.chance(0.6)) forget_member(node, others[i].index);
  }
}

void World::forget_member(std::size_t node, std::size_t member) {
  if (!scenario_.old_views || node == member) return;
  unknown_.emplace(node, member);
  schedule_.after(std::chrono::milliseconds(random_.between(1000, 30'000)),
                  Action([this, node, member] {
                    if (unknown_.erase({node, member}) == 0) return;
                    note(fmt::format("{} hears of {}", nodes_[node]->name().str(),
                                     nodes_[member]->name().str()));
                    if (nodes_[node]->works() && is_member_[node])
                      nodes_[node]->learn_members(members_for(node));
                  }));
}

void World::join_node() {
  add_node();
  note(nodes_.back()->name().str() + " joins");
  for (std::size_t i = 0; i + 1 < nodes_.size(); ++i) forget_member(i, nodes_.size() - 1);
  forget_members(nodes_.size() - 1);
  (void)nodes_.back()->start(members_for(nodes_.size() - 1));
  tell_members();
}

void World::leave_node() {
  SimNode* node = any_working_node();
  const auto staying = std::ranges::count(is_member_, true);
  if (node == nullptr || staying < 3) return;
  note(node->name().str() + " leaves for good");
  is_member_[node->index()] = false;
  has_left_[node->index()] = true;
  if (random_.chance(0.5))
    node->begin_stop();
  else
    node->crash();
  tell_members();
}

}  // namespace shufflefs::sim
