#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <unordered_set>

#include "base/seeded_hash.h"
#include "merge/catalog.h"
#include "merge/placement.h"

namespace shufflefs::merge {
namespace {

using NodeAnswer = std::pair<NodeName, PartitionInfo>;

// Answers with merged blocks, the one with most first, ties by name.
std::vector<const NodeAnswer*> holders_of(const std::vector<NodeAnswer>& answers) {
  std::vector<const NodeAnswer*> holders;
  for (const NodeAnswer& answer : answers) {
    if (!answer.second.merged.empty()) holders.push_back(&answer);
  }
  std::sort(holders.begin(), holders.end(), [](const NodeAnswer* a, const NodeAnswer* b) {
    return std::pair(b->second.merged.size(), a->first) <
           std::pair(a->second.merged.size(), b->first);
  });
  return holders;
}

class PlanMaker {
 public:
  PlanMaker(const ShuffleKey& shuffle, PartitionId partition,
            const std::vector<NodeAnswer>& answers, const std::vector<UnreachableNode>& unreachable)
      : answers_(answers) {
    plan_.shuffle = shuffle;
    plan_.partition = partition;
    for (const UnreachableNode& node : unreachable) {
      reasons_[node.node] = node.reason;
      plan_.unreachable.push_back(node.node.str() + ": " + node.reason);
    }
    for (const auto& [name, info] : answers) {
      for (const BlockAtOrigin& block : info.at_origin)
        at_origin_.try_emplace(block.map, name, block.length);
      for (const HeardBlock& block : info.heard) heard_.try_emplace(block.map, block);
    }
  }

  void add_merged() {
    for (const NodeAnswer* holder : holders_of(answers_)) {
      const std::size_t before = plan_.blocks.size();
      bool whole = before == 0;
      for (const MergedBlock& block : holder->second.merged) {
        if (was_removed(block.map) || was_replaced(block) || !taken_.insert(block.map).second) {
          whole = false;
          continue;
        }
        add({block.map, 0, block.length, MergedAt{holder->first, block.offset, block.crc},
             origin_of(block.map)});
        plan_.merged_bytes += block.length;
        ++plan_.maps_merged;
      }
      if (whole)
        plan_.whole_at = holder->first;
      else if (plan_.blocks.size() > before)
        plan_.whole_at.reset();
    }
  }

  void add_from_origins() {
    for (const auto& [map, where] : at_origin_) {  // by map id
      if (taken_.contains(map)) continue;
      if (where.second == 0) {
        ++plan_.maps_merged;
        ++empty_;
        continue;
      }
      add({map, 0, where.second, std::nullopt, where.first});
      plan_.whole_at.reset();
    }
  }

  // Blocks that were announced, but whose origin does not answer and that nobody has merged.
  void find_lost() {
    for (const auto& [map, heard] : heard_) {
      if (taken_.contains(map) || at_origin_.contains(map) || answered(heard.origin)) continue;
      if (!heard.non_empty) {
        ++plan_.maps_merged;
        ++empty_;
        continue;
      }
      ++lost_;
      plan_.incomplete =
          fmt::format("the block of map {} is not merged and its origin {} does not answer ({})",
                      number(map), heard.origin.str(),
                      reasons_.contains(heard.origin) ? reasons_[heard.origin] : "not a member");
    }
  }

  // With neither candidate alive nobody could have told of a block that is missing.
  void check_witnesses(const std::vector<NodeName>& members) {
    uint32_t count = number(plan_.partition) + 1;
    bool known = false;
    for (const auto& [name, info] : answers_) {
      known = known || info.partition_count > 0;
      count = std::max(count, info.partition_count);
    }
    if (members.empty() || (!known && reasons_.empty())) return;
    const Placement placement(plan_.shuffle, members, count);
    plan_.owner = placement.owner(plan_.partition);
    const auto second = placement.second(plan_.partition);
    if (!known || answered(*plan_.owner) || !second || answered(*second)) return;
    plan_.incomplete =
        fmt::format("neither {} nor {} answers: nobody else knows which map outputs there are",
                    plan_.owner->str(), second->str());
  }

  PartitionPlan finish() {
    if (plan_.incomplete) plan_.whole_at.reset();
    plan_.maps = taken_.size() + from_origin_ + empty_ + lost_;
    return std::move(plan_);
  }

 private:
  void add(PlannedBlock block) {
    block.offset = plan_.bytes;
    plan_.bytes += block.length;
    if (!block.merged) ++from_origin_;
    plan_.blocks.push_back(std::move(block));
  }
  // Who has it, or had when it was announced: its answer may be older than the push.
  [[nodiscard]] std::optional<NodeName> origin_of(MapId map) const {
    if (const auto at = at_origin_.find(map); at != at_origin_.end()) return at->second.first;
    if (const auto heard = heard_.find(map); heard != heard_.end()) return heard->second.origin;
    return std::nullopt;
  }
  [[nodiscard]] bool answered(const NodeName& node) const {
    return std::any_of(answers_.begin(), answers_.end(),
                       [&](const NodeAnswer& a) { return a.first == node; });
  }
  // Its origin has another output under the same map id by now.
  [[nodiscard]] bool was_replaced(const MergedBlock& block) const {
    const auto origin = at_origin_.find(block.map);
    return origin != at_origin_.end() && origin->second.second != block.length;
  }
  // Its origin is alive and does not have it (any more): the map output was unlinked.
  [[nodiscard]] bool was_removed(MapId map) const {
    if (at_origin_.contains(map)) return false;
    const auto heard = heard_.find(map);
    return heard != heard_.end() && answered(heard->second.origin);
  }

  const std::vector<NodeAnswer>& answers_;
  PartitionPlan plan_;
  std::map<NodeName, std::string> reasons_;
  std::map<MapId, std::pair<NodeName, uint64_t>> at_origin_;
  std::map<MapId, HeardBlock> heard_;
  std::set<MapId> taken_;
  uint64_t from_origin_ = 0;
  uint64_t empty_ = 0;
  uint64_t lost_ = 0;
};

// Nodes that have accepted different users' map outputs before they heard of each other: whoever
// may read the one's may not read the other's (merge/app_owners.h).
bool of_several_users(const std::vector<std::pair<NodeName, PartitionInfo>>& answers) {
  std::optional<uint32_t> user;
  for (const auto& [name, info] : answers) {
    if (!info.owner) continue;
    if (user && *user != info.owner->uid) return true;
    user = info.owner->uid;
  }
  return false;
}

}  // namespace

PartitionPlan make_plan(ShuffleKey shuffle, PartitionId partition,
                        const std::vector<NodeName>& members,
                        const std::vector<std::pair<NodeName, PartitionInfo>>& answers,
                        const std::vector<UnreachableNode>& unreachable) {
  if (of_several_users(answers)) {
    PartitionPlan plan;
    plan.shuffle = std::move(shuffle);
    plan.partition = partition;
    plan.incomplete = "the nodes have map outputs of different users for this application";
    return plan;
  }
  PlanMaker maker(shuffle, partition, answers, unreachable);
  maker.add_merged();
  maker.add_from_origins();
  maker.find_lost();
  maker.check_witnesses(members);
  return maker.finish();
}

PartitionPlan make_merged_plan(ShuffleKey shuffle, PartitionId partition,
                               const std::vector<std::pair<NodeName, PartitionInfo>>& answers) {
  PartitionPlan plan;
  plan.shuffle = std::move(shuffle);
  plan.partition = partition;
  if (of_several_users(answers)) return plan;
  std::unordered_set<uint64_t, SeededHash> taken;
  for (const NodeAnswer* holder : holders_of(answers)) {
    const auto& [name, info] = *holder;
    const std::size_t before = plan.blocks.size();
    for (const MergedBlock& block : info.merged) {
      if (!taken.insert(number(block.map)).second) continue;
      plan.blocks.push_back({block.map, plan.bytes, block.length,
                             MergedAt{name, block.offset, block.crc}, std::nullopt});
      plan.bytes += block.length;
    }
    if (before == 0)
      plan.owner = plan.whole_at = name;
    else if (plan.blocks.size() > before)
      plan.whole_at.reset();  // blocks of two nodes
  }
  plan.merged_bytes = plan.bytes;
  plan.maps = plan.maps_merged = plan.blocks.size();
  return plan;
}

}  // namespace shufflefs::merge
