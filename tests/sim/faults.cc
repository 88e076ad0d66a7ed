// What goes wrong in a simulation: nodes, network, memory, disks, and who is a member.
#include <fmt/format.h>

#include <algorithm>

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
  const bool power_lost = scenario_.power_losses && random_.chance(0.5);
  if (power_lost) merged_check_.excuse_all(node.disk());
  node.disk().thaw(power_lost);
  // Recovery too may be interrupted.
  if (scenario_.crashes > 0 && random_.chance(0.1)) node.disk().crash_after(random_.between(1, 40));
  const bool started = node.start(members());
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

void World::sicken_disk() {
  SimNode& node = *nodes_[random_.below(nodes_.size())];
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

// ---- members ---------------------------------------------------------------------------------------

void World::tell_members() {
  for (const auto& node : nodes_) {
    // As a lookup of the members each few seconds would find it.
    schedule_.after(std::chrono::milliseconds(active_ ? random_.below(6000) : 0),
                    Action([this, node = node.get()] {
                      if (node->works() && is_member_[node->index()])
                        node->learn_members(members());
                    }));
  }
}

void World::join_node() {
  add_node();
  note(nodes_.back()->name().str() + " joins");
  // It has not heard of the drops, so what it writes under such a name counts as of before them.
  murky_.insert(dropped_.begin(), dropped_.end());
  (void)nodes_.back()->start(members());
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
