// A node is drained and leaves when it says that this is safe: every block of its map outputs must
// be on another node then.
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
  if (node == nullptr || std::ranges::count(is_member_, true) < 3) return;
  note(node->name().str() + " is drained");
  node->engine().drain(true);
  watch_drain(*node, node->incarnation(), kLooks);
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
  // Merged data is a copy: these may take it away again behind the drain's back.
  const Scenario& s = scenario_;
  const bool copies_last = s.sick_disks + s.full_disks + s.flipped_bits + s.leaves == 0 &&
                           s.drains == 1 && !s.power_losses;
  for (const auto& [writing, written] : truth_.all()) {
    if (!copies_last || written.origin != node.index() || !written.is_live()) continue;
    if (murky_.contains(written.shuffle)) continue;
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
  note(node.name().str() + " has been drained and leaves");
  is_member_[node.index()] = false;
  has_left_[node.index()] = true;
  node.begin_stop();
  tell_members();
}

}  // namespace shufflefs::sim
