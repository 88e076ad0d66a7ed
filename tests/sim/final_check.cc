// What must hold when every fault has ended and nothing is under way.
#include <fmt/format.h>

#include <algorithm>

#include "merge/placement.h"
#include "sim/world.h"

namespace shufflefs::sim {
namespace {

bool has_only_crashes(const Scenario& s) {
  return s.crashes > 0 &&
         s.removals + s.rewrites + s.drops + s.cuts + s.slow_nodes + s.sick_disks + s.full_disks +
                 s.flipped_bits + s.joins + s.leaves + s.drains + s.bursts + s.squeezes + s.harms +
                 s.new_disks + s.twins + s.hangs + s.reuses ==
             0 &&
         !s.lossy_network && !s.old_views;
}

}  // namespace

bool World::check_rest() {
  check_disks();
  spread_drops();
  read_everything();
  // What is lost at rest, too.
  for (uint64_t i = 0; i < scenario_.harms && !outcome_.violation; ++i) harm_some_output();
  if (scenario_.harms > 0 && !outcome_.violation) read_everything();
  check_all_merged();
  check_told();
  check_nothing_left_behind();
  check_memory();
  return !outcome_.violation;
}

void World::check_disks() {
  for (const auto& node : nodes_) {
    // It may have gone while a disk of it was away.
    if (has_left_[node->index()]) continue;
    // What a failed disk still has is not in use; a drop that it missed is done when it is back.
    for (const std::string& directory : node->sound_dirs()) {
      if (const auto wrong = merged_check_.whole(node->disk(), directory)) violate(*wrong);
      for (const std::string& path : node->disk().files_below(directory + "/merged")) {
        const std::string_view name = std::string_view(path).substr(path.rfind('/') + 1);
        outcome_.segments += std::ranges::count(name, '.') == 2 ? 1 : 0;  // <p>.<n>.data
      }
    }
  }
}

// Who had missed a drop has heard of it by now.
void World::spread_drops() {
  for (const PartialDrop& drop : partial_drops_) {
    const bool is_known = std::ranges::any_of(
        drop.carried_out_by, [this](std::size_t node) { return !has_left_[node]; });
    for (const uint64_t writing : drop.writings) {
      WrittenMap& written = truth_.all().at(writing);
      if (!is_known || written.removed_at || written.uncertain_for_good) continue;
      written.uncertain = false;
      written.dropped = true;
      written.removed_at = schedule_.steps();
    }
  }
}

// Each partition from some node; of a large cluster, and of many, some of them.
void World::read_everything() {
  for (const merge::ShuffleKey& shuffle : shuffles_) {
    for (uint32_t p = 0; p < scenario_.partitions; ++p) {
      if ((nodes_.size() > 16 || scenario_.partitions > 64) && !random_.chance(0.1)) continue;
      SimNode* node = any_working_node();
      if (node == nullptr) return;
      spawn_readers(*node, shuffle, static_cast<merge::PartitionId>(p));
      if (!advance(std::chrono::milliseconds(1))) return;  // they are counted once they have begun
      if (!advance_until([this] { return reads_open_ == 0; }, std::chrono::minutes(2)))
        violate(fmt::format("{}/{} is being read without end", to_string(shuffle), p));
      if (outcome_.violation) return;
    }
  }
}

// After a restart in good health everything has been offered again, so everything that may be
// merged is. So it is when nothing but crashes has happened: a node that comes back is offered what
// it owns, what it has lost with its process included.
void World::check_all_merged() {
  if (!scenario_.restart_at_end && !has_only_crashes(scenario_)) return;
  if (may_count_backwards()) return;  // nobody merges what is below
  // More may have come than an owner can write while the pushers are patient.
  if (scenario_.bursts > 0 && outcome_.chunks_given_up > 0) return;
  // Nor does a pusher read what was removed and is not told of yet, or never will be.
  const bool removals_are_late = (scenario_.late_events && scenario_.removals > 0) ||
                                 std::ranges::any_of(truth_.all(), [](const auto& entry) {
                                   return entry.second.is_half_removed;
                                 });
  if (scenario_.restart_at_end && outcome_.chunks_given_up > 0 && drops_.empty() &&
      !removals_are_late &&
      scenario_.harms + scenario_.new_disks + scenario_.twins + scenario_.sick_disks == 0)
    violate(fmt::format("{} chunks were given up although nothing was wrong",
                        outcome_.chunks_given_up));
  for (const auto& [writing, written] : truth_.all()) {
    if (!written.is_sound() || has_left_[written.origin]) continue;
    if (truth_.find(written.shuffle, written.map).size() > 1) continue;  // written again
    for (uint32_t p = 0; p < written.lengths.size(); ++p) {
      const auto partition = static_cast<merge::PartitionId>(p);
      const uint64_t length = written.length(partition);
      if (length == 0 || length > kMaxBlockBytes) continue;
      const bool merged = std::ranges::any_of(nodes_, [&](const auto& node) {
        return merged_check_.holds(node->disk(), node->data_dirs(), written, partition);
      });
      if (!merged)
        violate(fmt::format("map {} of {}/{} is not merged anywhere", number(written.map),
                            to_string(written.shuffle), p));
    }
  }
}

// Both candidates of each block know that it exists, so that the loss of its origin is noticed. An
// origin that has left can tell nobody of those who became a candidate since.
void World::check_told() {
  std::vector<merge::NodeName> names;
  std::map<merge::NodeName, std::size_t> index;
  for (const SimNode::Member& member : members()) {
    names.push_back(member.name);
    index[member.name] = member.index;
  }
  std::ranges::sort(names);
  for (const auto& [writing, written] : truth_.all()) {
    if (!written.is_sound() || has_left_[written.origin]) continue;
    if (truth_.find(written.shuffle, written.map).size() > 1) continue;  // written again
    const merge::Placement placement(written.shuffle, names,
                                     static_cast<uint32_t>(written.lengths.size()));
    for (uint32_t p = 0; p < written.lengths.size(); ++p) {
      const auto partition = static_cast<merge::PartitionId>(p);
      const std::set<Witness> told = written.witnesses(partition);
      for (const auto& candidate :
           {std::optional(placement.owner(partition)), placement.second(partition)}) {
        if (!candidate || index.at(*candidate) == written.origin) continue;
        const std::size_t node = index.at(*candidate);
        if (!told.contains({node, nodes_[node]->incarnation()}))
          violate(fmt::format("{} was never told of map {} of {}/{}", candidate->str(),
                              number(written.map), to_string(written.shuffle), p));
      }
    }
  }
}

void World::check_memory() {
  const auto all_given_back = [this] {
    return std::ranges::all_of(nodes_, [](const auto& node) {
      return !node->works() || node->memory().used_bytes() == 0;
    });
  };
  // Answers to questions of nodes that have gone may still be on their way.
  if (advance_until(all_given_back, std::chrono::minutes(1))) return;
  for (const auto& node : nodes_) {
    if (!node->works()) continue;
    for (const MemoryPurpose purpose : MemoryBudget::kPurposes) {
      const ByteBudget& share = node->memory().of(purpose);
      if (share.used_bytes() > 0)
        violate(fmt::format("{} has not given back {} bytes of its memory for {}",
                            node->name().str(), share.used_bytes(), to_string(purpose)));
    }
  }
}

}  // namespace shufflefs::sim
