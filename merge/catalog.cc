#include "merge/catalog.h"

#include <algorithm>
#include <optional>
#include <set>

namespace shufflefs::merge {

Catalog::Catalog(Runtime& runtime, Cluster& cluster, LogicalClock& clock,
                 PlacementCache& placements, Duration lost_timeout)
    : runtime_(runtime),
      cluster_(cluster),
      clock_(clock),
      lost_timeout_(lost_timeout),
      placements_(placements),
      gate_(runtime, "catalog") {}

namespace {

constexpr std::size_t kMostViews = 256;
constexpr int kMaxDropAttempts = 5;

}  // namespace

template <class T, class Ask>
Task<Answers<T>> Catalog::ask(std::vector<NodeName> names, Ask ask) {
  auto answers = co_await ask_nodes<T>(runtime_, gate_, cluster_, std::move(names), std::move(ask));
  for (const auto& [name, answer] : answers.good) silent_since_.erase(name);
  for (const UnreachableNode& node : answers.bad)
    silent_since_.try_emplace(node.node, runtime_.now());
  co_return answers;
}

bool Catalog::somebody_has_just_gone() {
  const std::vector<NodeName> members = cluster_.names();
  std::erase_if(silent_since_,
                [&](const auto& node) { return !std::ranges::binary_search(members, node.first); });
  return std::ranges::any_of(silent_since_, [&](const auto& node) {
    return runtime_.now() - node.second < lost_timeout_;
  });
}

Task<std::vector<ShuffleKey>> Catalog::shuffles() {
  const auto answers =
      co_await ask_all<std::vector<ShuffleKey>>([](NodeApi& node) { return node.list_shuffles(); });
  std::set<ShuffleKey> keys;
  for (const auto& [name, listed] : answers.good) keys.insert(listed.begin(), listed.end());
  co_return std::vector<ShuffleKey>(keys.begin(), keys.end());
}

Task<uint32_t> Catalog::partition_count(ShuffleKey shuffle) {
  co_return (co_await totals(std::move(shuffle))).sum.partition_count;
}

Task<ShuffleTotals> Catalog::totals(ShuffleKey shuffle) {
  auto answers = co_await ask_all<ShuffleInfo>(
      [shuffle](NodeApi& node) { return node.shuffle_info(shuffle); });
  ShuffleTotals totals;
  totals.shuffle = shuffle;
  totals.unreachable = std::move(answers.bad);
  ShuffleInfo& sum = totals.sum;
  for (auto& [name, info] : answers.good) {
    sum.maps += info.maps;
    sum.maps_lost += info.maps_lost;
    sum.maps_settled += info.maps_settled;
    sum.maps_given_up += info.maps_given_up;
    sum.maps_unpushed += info.maps_unpushed;
    sum.partition_count = std::max(sum.partition_count, info.partition_count);
    sum.bytes += info.bytes;
    sum.blocks_left_home += info.blocks_left_home;
    sum.bytes_left_home += info.bytes_left_home;
    sum.merged_partitions += info.merged_partitions;
    sum.merged_blocks += info.merged_blocks;
    sum.merged_bytes += info.merged_bytes;
    sum.duplicate_blocks += info.duplicate_blocks;
    if (info.owner) totals.owners.push_back(*info.owner);
    for (GivenUp& given_up : info.given_up) totals.given_up.emplace_back(name, std::move(given_up));
    for (std::string& refused : info.refused_commits)
      totals.refused_commits.push_back(name.str() + ": " + refused);
  }
  totals.known = sum.maps > 0 || sum.merged_partitions > 0 || sum.partition_count > 0 ||
                 !totals.refused_commits.empty();
  co_return totals;
}

Task<Catalog::Asked> Catalog::ask_for_plan(ShuffleKey shuffle, PartitionId partition) {
  const std::vector<NodeName> members = cluster_.names();
  const uint64_t view = hash_of_view(members);
  const auto answers = co_await ask<PartitionInfo>(members, [shuffle, partition](NodeApi& node) {
    return node.partition_info(shuffle, partition);
  });
  Asked asked;
  for (const auto& [name, info] : answers.good) {
    if (info.members != 0 && info.members != view)
      asked.other_views.emplace_back(name, info.members);
  }
  asked.plan = make_plan(std::move(shuffle), partition, members, answers.good, answers.bad);
  co_return asked;
}

Task<PartitionPlan> Catalog::plan(ShuffleKey shuffle, PartitionId partition) {
  Asked asked = co_await ask_for_plan(std::move(shuffle), partition);
  co_return std::move(asked.plan);
}

Task<PartitionPlan> Catalog::plan_for_reading(ShuffleKey shuffle, PartitionId partition) {
  Retries retries(runtime_, lost_timeout_);
  while (true) {
    Asked asked = co_await ask_for_plan(shuffle, partition);
    std::erase_if(asked.other_views, [&](const auto& view) {
      return std::ranges::find(waited_out_, view) != waited_out_.end();
    });
    const bool final =
        !asked.plan.incomplete && asked.other_views.empty() && !somebody_has_just_gone();
    if (final) co_return std::move(asked.plan);
    if (co_await retries.pause()) continue;
    for (auto& view : asked.other_views) waited_out_.push_back(std::move(view));
    while (waited_out_.size() > kMostViews) waited_out_.pop_front();
    co_return std::move(asked.plan);
  }
}

Task<PartitionPlan> Catalog::merged_plan(ShuffleKey shuffle, PartitionId partition) {
  const auto question = [shuffle, partition](NodeApi& node) {
    return node.merged_info(shuffle, partition);
  };
  std::vector<NodeName> left = cluster_.names();
  std::vector<std::pair<NodeName, PartitionInfo>> good;
  std::vector<UnreachableNode> bad;
  // This node first: it costs no message and knows the partition count, mostly.
  std::vector<NodeName> next = {cluster_.self()};
  while (!next.empty()) {
    std::erase_if(left, [&](const NodeName& name) { return std::ranges::count(next, name) > 0; });
    auto answers = co_await ask<PartitionInfo>(std::move(next), question);
    next.clear();
    for (auto& answer : answers.good) good.push_back(std::move(answer));
    for (UnreachableNode& node : answers.bad) bad.push_back(std::move(node));
    // Who does not answer may have been drained: what it had merged can be anywhere.
    bool anywhere = !bad.empty();
    uint32_t count = 0;
    bool found = false;
    for (const auto& [name, info] : good) {
      count = std::max(count, info.partition_count);
      found = found || !info.merged.empty();
    }
    if (number(partition) < count) {
      const auto placement = placements_.get(shuffle, count);
      std::ranges::copy_if(left, std::back_inserter(next), [&](const NodeName& name) {
        return placement->is_candidate(name, partition);
      });
    }
    // Neither candidate has anything: perhaps the members were others when it was pushed.
    anywhere = anywhere || (next.empty() && !found);
    if (anywhere) next = left;
  }
  PartitionPlan plan = make_merged_plan(shuffle, partition, good);
  for (const UnreachableNode& node : bad)
    plan.unreachable.push_back(node.node.str() + ": " + node.reason);
  if (!plan.known && !plan.incomplete && !bad.empty())
    plan.incomplete = "no node that answers knows it, and some do not: " + plan.unreachable.front();
  co_return plan;
}

Task<std::vector<std::pair<NodeName, Result<std::string>>>> Catalog::reports(std::string about) {
  auto answers =
      co_await ask_all<std::string>([about](NodeApi& node) { return node.report(about); });
  std::vector<std::pair<NodeName, Result<std::string>>> reports;
  reports.reserve(answers.good.size() + answers.bad.size());
  for (auto& [name, text] : answers.good) reports.emplace_back(name, std::move(text));
  for (auto& [name, reason] : answers.bad)
    reports.emplace_back(name, make_error(Code::kPeerUnreachable, reason));
  co_return reports;
}

Task<Status> Catalog::drop(AppId app, std::optional<ShuffleId> shuffle) {
  for (int attempt = 0; attempt < kMaxDropAttempts; ++attempt) {
    const uint64_t life = clock_.tick_for_drop(tag_of(cluster_.self()));
    const Status covered = co_await offload(runtime_, [this, life] { return clock_.cover(life); });
    if (!covered) co_return Error(covered.error()).with_context("nothing was dropped");
    const auto answers = co_await ask_all<DropReply>(
        [app, shuffle, life](NodeApi& node) { return node.drop(app, shuffle, life); });
    uint64_t later = 0;
    for (const auto& [name, reply] : answers.good) later = std::max(later, reply.life_before);
    // Another node has dropped it meanwhile, and something may have been written since. (A node
    // that knows this very life has heard of it from another one before it was asked.)
    if (later > life) {
      clock_.observe(later);
      continue;
    }
    if (answers.bad.empty()) co_return ok();
    std::string who;
    for (const UnreachableNode& node : answers.bad)
      who += (who.empty() ? "" : ", ") + node.node.str() + " (" + node.reason + ")";
    co_return make_error(Code::kPeerUnreachable,
                         "could not be dropped on " + who + ": they are told when they are back");
  }
  co_return make_error(Code::kRefused,
                       "other nodes drop it as well, again and again: try it later");
}

}  // namespace shufflefs::merge
