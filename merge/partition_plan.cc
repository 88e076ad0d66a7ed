// How the answers of the nodes become a plan. The rules, one after the other:
//   1. the life of the name: CurrentAnswers
//   2. which commit of a map id counts: commits_that_count
//   3. where each block is: add_merged, add_from_origins
//   4. who must have answered: check_witnesses
//   5. what is not known: check_known
#include "merge/partition_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "merge/ask_nodes.h"
#include "merge/partition_index.h"
#include "merge/placement.h"

namespace shufflefs::merge {
namespace {

using NodeAnswer = std::pair<NodeName, PartitionInfo>;

// Rule 1. The latest life that any answer knows is the name's. A node that knows only an earlier
// one has missed a drop: what it tells of map outputs is over.
struct CurrentAnswers {
  explicit CurrentAnswers(const std::vector<NodeAnswer>& answers) {
    for (const auto& [name, info] : answers) life = std::max(life, info.life);
    for (const NodeAnswer& answer : answers) {
      if (answer.second.life != life) continue;
      list.push_back(&answer);
      partition_count = std::max(partition_count, answer.second.partition_count);
      known = known || answer.second.known;
    }
  }
  [[nodiscard]] bool contains(const NodeName& node) const {
    return std::ranges::any_of(list,
                               [&](const NodeAnswer* answer) { return answer->first == node; });
  }

  uint64_t life = 0;
  std::vector<const NodeAnswer*> list;
  uint32_t partition_count = 0;
  bool known = false;
};

// The commits that are over, as far as anybody says.
class Ended {
 public:
  explicit Ended(const CurrentAnswers& answers) {
    for (const NodeAnswer* answer : answers.list) {
      for (const EndedAt& at : answer->second.ended) {
        for (const CommitRange& range : at.ranges) ranges_[at.origin].add(range);
        for (const EndedMaps::Ended& one : at.maps)
          listed_.push_back({one.map, {one.commit, at.origin}});
      }
    }
    std::ranges::sort(listed_);
  }
  [[nodiscard]] bool contains(const MapCommit& commit) const {
    const auto ranges = ranges_.find(commit.id.origin);
    if (ranges != ranges_.end() && ranges->second.contains(commit.id.commit)) return true;
    return std::ranges::binary_search(listed_, commit);
  }
  [[nodiscard]] const std::vector<MapCommit>& listed() const { return listed_; }

 private:
  std::map<NodeTag, CommitRanges> ranges_;
  std::vector<MapCommit> listed_;  // sorted
};

// Rule 2. Every commit that an answer names is a candidate. It is over if somebody says so, or if
// its origin has made a later one under the same map id. Of those that are left the largest counts.
// Sorted by map id.
std::vector<MapCommit> commits_that_count(const CurrentAnswers& answers) {
  const Ended ended(answers);
  std::vector<MapCommit> named =
      ended.listed();  // it shows that their origins' earlier ones are over
  for (const auto* answer : answers.list) {
    const auto& [name, info] = *answer;
    const NodeTag own = tag_of(name);
    for (const OwnBlock& block : info.own) named.push_back({block.map, {block.commit, own}});
    for (const HeardBlock& block : info.heard)
      named.push_back({block.map, {block.commit, tag_of(block.origin)}});
    for (const MergedBlock& block : info.merged) named.push_back({block.map, block.id});
  }
  std::ranges::sort(named);
  named.erase(std::ranges::unique(named).begin(), named.end());

  std::vector<MapCommit> counting;
  for (auto it = named.begin(); it != named.end();) {
    const MapId map = it->map;
    const auto end =
        std::find_if(it, named.end(), [map](const MapCommit& c) { return c.map != map; });
    std::vector<NodeTag> seen;  // origins that have a larger commit of this map id
    for (auto commit = end; commit != it;) {
      --commit;
      const bool replaced = std::ranges::find(seen, commit->id.origin) != seen.end();
      if (!replaced && !ended.contains(*commit)) {
        counting.push_back(*commit);
        break;
      }
      seen.push_back(commit->id.origin);
    }
    it = end;
  }
  return counting;
}

// Answers with merged blocks, the one with most first, ties by name.
std::vector<const NodeAnswer*> holders_of(const CurrentAnswers& answers) {
  std::vector<const NodeAnswer*> holders;
  for (const NodeAnswer* answer : answers.list) {
    if (!answer->second.merged.empty()) holders.push_back(answer);
  }
  std::ranges::sort(holders, [](const NodeAnswer* a, const NodeAnswer* b) {
    return std::pair(b->second.merged.size(), a->first) <
           std::pair(a->second.merged.size(), b->first);
  });
  return holders;
}

// What is known of the block of a map output that counts.
struct BlockFacts {
  const OwnBlock* own = nullptr;  // as its origin lists it
  bool non_empty = false;         // somebody was told that it has bytes
  bool empty = false;             // somebody was told that it has none
  std::optional<uint32_t> crc{};  // of a merged copy
  bool differs = false;           // another copy has other bytes: nobody can say which are right
  bool planned = false;
};

class PlanMaker {
 public:
  PlanMaker(ShuffleKey shuffle, PartitionId partition, const std::vector<NodeAnswer>& answers)
      : current_(answers), counting_(commits_that_count(current_)), facts_(counting_.size()) {
    plan_.shuffle = std::move(shuffle);
    plan_.partition = partition;
    plan_.life = current_.life;
    plan_.maps = counting_.size();
    for (const NodeAnswer* answer : current_.list) {
      const auto& [name, info] = *answer;
      for (const OwnBlock& block : info.own) {
        if (BlockFacts* const facts = find(block.map, {block.commit, tag_of(name)}))
          facts->own = &block;
      }
      for (const HeardBlock& block : info.heard) {
        names_.try_emplace(tag_of(block.origin), block.origin);
        BlockFacts* const facts = find(block.map, {block.commit, tag_of(block.origin)});
        if (!facts || !block.non_empty) continue;
        (*block.non_empty ? facts->non_empty : facts->empty) = true;
      }
      for (const MergedBlock& block : info.merged) {
        BlockFacts* const facts = find(block.map, block.id);
        if (!facts) continue;
        facts->differs = facts->differs || facts->crc.value_or(block.crc) != block.crc;
        facts->crc = block.crc;
      }
    }
  }

  // Nodes that have accepted different users' map outputs before they heard of each other: whoever
  // may read the one's may not read the other's (merge/app_owners.h).
  [[nodiscard]] bool is_of_several_users() const {
    std::optional<uint32_t> user;
    for (const NodeAnswer* answer : current_.list) {
      const std::optional<FileOwner>& owner = answer->second.owner;
      if (!owner) continue;
      if (user && *user != owner->uid) return true;
      user = owner->uid;
    }
    return false;
  }
  [[nodiscard]] PartitionPlan refuse() const {
    PartitionPlan refused;
    refused.shuffle = plan_.shuffle;
    refused.partition = plan_.partition;
    refused.incomplete = "the nodes have map outputs of different users for this application";
    return refused;
  }

  // Who was asked, and what came of it. The reason of a node that has not answered for itself says
  // why it may have map outputs that it does not list.
  void set_members(const std::vector<NodeName>& members, const std::vector<NodeAnswer>& answers,
                   const std::vector<UnreachableNode>& unreachable) {
    for (const NodeName& member : members) {
      names_.try_emplace(tag_of(member), member);
      silent_.try_emplace(member, "it was not asked");
    }
    for (const UnreachableNode& node : unreachable) {
      names_.try_emplace(tag_of(node.node), node.node);
      silent_[node.node] = node.reason;
      plan_.unreachable.push_back(node.node.str() + ": " + node.reason);
    }
    for (const auto& [name, info] : answers) {
      names_.try_emplace(tag_of(name), name);
      if (info.incomplete.empty()) {
        silent_.erase(name);
        whole_answers_.insert(name);
      } else {
        silent_[name] = info.incomplete;
      }
    }
  }

  // Rule 3, first half: from a merged copy with exactly the identity that counts.
  void add_merged(bool with_origins) {
    for (const NodeAnswer* holder : holders_of(current_)) {
      const std::size_t before = plan_.blocks.size();
      bool whole = before == 0;
      for (const MergedBlock& block : holder->second.merged) {
        BlockFacts* const facts = find(block.map, block.id);
        if (!facts || facts->planned || facts->differs) {
          whole = false;
          continue;
        }
        facts->planned = true;
        PlannedBlock planned{.map = block.map, .id = block.id, .length = block.length};
        planned.merged = MergedAt{holder->first, block.offset, block.crc};
        if (with_origins) {
          planned.origin = name_of(block.id.origin);
          planned.lost_at_origin = is_lost(*facts, planned.origin);
        }
        add(std::move(planned));
        plan_.merged_bytes += block.length;
        ++plan_.maps_merged;
      }
      if (whole)
        plan_.whole_at = holder->first;
      else if (plan_.blocks.size() > before)
        plan_.whole_at.reset();
    }
  }

  // Rule 3, second half: from its origin; or nothing, if it is known to be empty.
  void add_from_origins() {
    for (std::size_t i = 0; i < counting_.size(); ++i) {  // by map id
      const BlockFacts& facts = facts_[i];
      if (facts.planned) continue;
      const auto& [map, id] = counting_[i];
      if (facts.differs) {
        missing(fmt::format("the merged copies of map {} differ: its file was changed in place",
                            number(map)));
        continue;
      }
      const std::optional<NodeName> origin = name_of(id.origin);
      const bool is_there = facts.own && !facts.own->lost;
      if (is_there && facts.own->length > 0) {
        add({.map = map, .id = id, .length = facts.own->length, .origin = origin});
        plan_.whole_at.reset();
      } else if (is_there || (facts.empty && !facts.non_empty)) {
        ++plan_.maps_merged;
      } else {
        missing(fmt::format("the block of map {} is not merged and its origin {} {}", number(map),
                            origin ? origin->str() : "(a node that nobody knows)",
                            why_not(facts, origin)));
      }
    }
  }

  // Rule 4: who has not answered for itself may have map outputs that only the partition's
  // candidates were told of. One other than itself must have answered.
  void check_witnesses(const std::vector<NodeName>& members) {
    if (members.empty() || (!current_.known && silent_.empty())) return;
    const uint32_t count = std::max(number(plan_.partition) + 1, current_.partition_count);
    const Placement placement(plan_.shuffle, members, count);
    const NodeName& first = placement.owner(plan_.partition);
    const std::optional<NodeName> second = placement.second(plan_.partition);
    plan_.owner = first;
    if (!is_known()) return;
    for (const auto& [node, reason] : silent_) {
      const bool witness = vouches(first, node) || (second && vouches(*second, node));
      if (witness) continue;
      missing(
          fmt::format("{} does not answer for itself ({}), and neither {} nor {} can tell "
                      "which map outputs it has",
                      node.str(), reason, first.str(), second ? second->str() : "another"));
      return;
    }
  }

  // Nobody else can know of what a node has still to look at.
  void check_pending() {
    for (const NodeAnswer* answer : current_.list) {
      if (answer->second.pending)
        missing(fmt::format("{} has still to look at files that were written just now",
                            answer->first.str()));
    }
  }

  // Rule 5: a partition is not there only if everybody says so.
  void check_known() {
    plan_.known = is_known();
    if (plan_.known || silent_.empty()) return;
    missing(fmt::format("no node that answers knows it, and {} does not ({})",
                        silent_.begin()->first.str(), silent_.begin()->second));
  }

  PartitionPlan finish() {
    if (plan_.incomplete) plan_.whole_at.reset();
    if (missing_ > 1) *plan_.incomplete += fmt::format("; {} more reasons", missing_ - 1);
    return std::move(plan_);
  }

  // Somebody knows of a shuffle that has this partition.
  [[nodiscard]] bool is_listed() const {
    return number(plan_.partition) < current_.partition_count;
  }
  [[nodiscard]] bool is_known() const { return current_.known && is_listed(); }

 private:
  // Whether the witness was told of all that the node had to tell.
  [[nodiscard]] bool vouches(const NodeName& witness, const NodeName& node) const {
    if (witness == node) return false;
    const auto answer = std::ranges::find_if(
        current_.list, [&](const NodeAnswer* one) { return one->first == witness; });
    return answer != current_.list.end() &&
           std::ranges::find((*answer)->second.unheard, node) == (*answer)->second.unheard.end();
  }
  // Nothing for a commit that does not count.
  BlockFacts* find(MapId map, CommitId id) {
    const MapCommit wanted{map, id};
    const auto it = std::ranges::lower_bound(counting_, wanted);
    if (it == counting_.end() || *it != wanted) return nullptr;
    return &facts_[static_cast<std::size_t>(it - counting_.begin())];
  }
  void add(PlannedBlock block) {
    block.offset = plan_.bytes;
    plan_.bytes += block.length;
    plan_.blocks.push_back(std::move(block));
  }
  void missing(std::string reason) {
    if (missing_++ == 0) plan_.incomplete = std::move(reason);
  }
  [[nodiscard]] std::optional<NodeName> name_of(NodeTag tag) const {
    const auto it = names_.find(tag);
    return it != names_.end() ? std::optional(it->second) : std::nullopt;
  }
  // Its origin says so, or answers for all that it has, does not have it, and nobody has removed
  // it.
  [[nodiscard]] bool is_lost(const BlockFacts& facts, const std::optional<NodeName>& origin) const {
    if (facts.own) return facts.own->lost;
    return origin && whole_answers_.contains(*origin);
  }
  [[nodiscard]] std::string why_not(const BlockFacts& facts,
                                    const std::optional<NodeName>& origin) const {
    if (is_lost(facts, origin)) return "has lost it";
    const auto silent = origin ? silent_.find(*origin) : silent_.end();
    return fmt::format("does not answer for it ({})",
                       silent != silent_.end() ? silent->second : "not a member");
  }

  const CurrentAnswers current_;
  const std::vector<MapCommit> counting_;  // sorted, each map id once
  std::vector<BlockFacts> facts_;          // of each
  PartitionPlan plan_;
  std::map<NodeTag, NodeName> names_;
  std::map<NodeName, std::string> silent_;  // have not answered for themselves, and why
  std::set<NodeName> whole_answers_;        // have answered for themselves
  uint64_t missing_ = 0;
};

}  // namespace

PartitionPlan make_plan(ShuffleKey shuffle, PartitionId partition,
                        const std::vector<NodeName>& members,
                        const std::vector<std::pair<NodeName, PartitionInfo>>& answers,
                        const std::vector<UnreachableNode>& unreachable) {
  PlanMaker maker(std::move(shuffle), partition, answers);
  if (maker.is_of_several_users()) return maker.refuse();
  maker.set_members(members, answers, unreachable);
  maker.add_merged(true);
  maker.add_from_origins();
  maker.check_witnesses(members);
  maker.check_pending();
  maker.check_known();
  return maker.finish();
}

PartitionPlan make_merged_plan(ShuffleKey shuffle, PartitionId partition,
                               const std::vector<std::pair<NodeName, PartitionInfo>>& answers) {
  PlanMaker maker(std::move(shuffle), partition, answers);
  if (maker.is_of_several_users()) return maker.refuse();
  maker.add_merged(false);
  PartitionPlan plan = maker.finish();
  plan.known = maker.is_listed();
  plan.maps = plan.maps_merged = plan.blocks.size();
  if (!plan.blocks.empty()) plan.owner = plan.blocks.front().merged->holder;
  return plan;
}

std::vector<std::byte> render_index_view(const PartitionPlan& merged_plan) {
  const IndexBytes header =
      encode_index_header(merged_plan.shuffle.shuffle, merged_plan.partition, merged_plan.life);
  std::vector<std::byte> bytes(header.begin(), header.end());
  for (const PlannedBlock& block : merged_plan.blocks) {
    const IndexBytes record = encode_index_record({.map = block.map,
                                                   .id = block.id,
                                                   .offset = block.offset,
                                                   .length = block.length,
                                                   .crc = block.merged ? block.merged->crc : 0});
    bytes.insert(bytes.end(), record.begin(), record.end());
  }
  return bytes;
}

}  // namespace shufflefs::merge
