// A node is drained and leaves when it says that this is safe: every block of its map outputs must
// be on another node then, and at the end, whoever else was drained at the same time or later, on
// one that is still there.
#include <fmt/format.h>

#include <algorithm>

#include "sim/world.h"

namespace shufflefs::sim {
namespace {

constexpr auto kLook = std::chrono::milliseconds(500);
constexpr int kLooks = 40;

}  // namespace

void World::drain_some_node() {
  SimNode* node = any_working_node();
  // Two must stay: the candidates of every partition.
  const auto staying = std::ranges::count_if(nodes_, [this](const auto& other) {
    return is_member_[other->index()] &&
           !(other->works() && other->engine().drain_status().draining);
  });
  if (node == nullptr || staying < 3 || node->engine().drain_status().draining) return;
  note(node->name().str() + " is drained");
  node->engine().drain(true);
  watch_drain(*node, node->incarnation(), kLooks);
}

void World::drain_two_nodes() {
  drain_some_node();
  after(std::chrono::milliseconds(random_.below(3000)), [this] { drain_some_node(); });
}

bool World::copies_last() const {
  const Scenario& s = scenario_;
  return s.harms + s.new_disks + s.sick_disks + s.full_disks + s.flipped_bits + s.leaves == 0 &&
         !s.power_losses;
}

void World::watch_drain(SimNode& node, uint64_t incarnation, int looks) {
  after(kLook, [this, &node, incarnation, looks] {
    // A restarted node is not drained any more.
    if (!node.works() || node.incarnation() != incarnation || has_left_[node.index()]) return;
    if (node.engine().drain_status().safe_to_stop) return check_drained(node);
    if (looks > 0) return watch_drain(node, incarnation, looks - 1);
    note(node.name().str() + " is not drained in time and stays");
    node.engine().drain(false);
  });
}

void World::check_drained(SimNode& node) {
  for (const auto& [writing, written] : truth_.all()) {
    if (!copies_last() || written.origin != node.index() || !written.is_live()) continue;
    if (truth_.find(written.shuffle, written.map).size() > 1) continue;  // another attempt counts
    for (uint32_t p = 0; p < written.lengths.size(); ++p) {
      const auto partition = static_cast<merge::PartitionId>(p);
      const uint64_t length = written.length(partition);
      if (length == 0 || length > kMaxBlockBytes) continue;
      const bool elsewhere = std::ranges::any_of(nodes_, [&](const auto& other) {
        return other.get() != &node &&
               merged_check_.holds(other->disk(), other->data_dirs(), written, partition);
      });
      if (!elsewhere)
        violate(fmt::format("{} says that it may be stopped, but map {} of {}/{} is only there",
                            node.name().str(), number(written.map), to_string(written.shuffle), p));
    }
  }
  ++outcome_.drains;
  drained_[node.index()] = true;
  note(node.name().str() + " has been drained and leaves");
  is_member_[node.index()] = false;
  has_left_[node.index()] = true;
  node.begin_stop();
  tell_members();
}

void World::check_nothing_left_behind() {
  if (!copies_last()) return;
  for (const auto& [writing, written] : truth_.all()) {
    if (!drained_[written.origin] || !written.is_live()) continue;
    if (truth_.find(written.shuffle, written.map).size() > 1) continue;  // another attempt counts
    for (uint32_t p = 0; p < written.lengths.size(); ++p) {
      const auto partition = static_cast<merge::PartitionId>(p);
      const uint64_t length = written.length(partition);
      if (length == 0 || length > kMaxBlockBytes) continue;
      const bool is_there = std::ranges::any_of(nodes_, [&](const auto& node) {
        return !has_left_[node->index()] &&
               merged_check_.holds(node->disk(), node->data_dirs(), written, partition);
      });
      if (!is_there)
        violate(fmt::format("map {} of {}/{} has gone with the nodes that were drained",
                            number(written.map), to_string(written.shuffle), p));
    }
  }
}

}  // namespace shufflefs::sim
