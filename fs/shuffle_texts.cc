#include "fs/shuffle_texts.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/escape.h"
#include "base/parse.h"
#include "merge/placement.h"

namespace shufflefs::fs {
namespace {

// Calls `use` with the first and the last partition of each bucket.
template <class Use>
void each_bucket(const merge::Placement& placement, uint32_t partition_count, Use use) {
  for (uint32_t first = 0; first < partition_count; first += placement.bucket_width())
    use(first, std::min(first + placement.bucket_width(), partition_count) - 1);
}

}  // namespace

Task<std::string> status_text(merge::Engine& engine, merge::ShuffleKey shuffle) {
  const merge::ShuffleTotals totals = co_await engine.catalog().totals(shuffle);
  const merge::ShuffleInfo& sum = totals.sum;
  const double ratio =
      sum.bytes > 0 ? 100.0 * static_cast<double>(sum.merged_bytes) / static_cast<double>(sum.bytes)
                    : 100.0;
  std::string text = fmt::format(
      "shuffle        {}\npartitions     {}\nmaps           {} committed, {} settled, {} given up, "
      "{} not pushed\n"
      "bytes          {} ({})\nmerged         {} blocks in {} partitions, {} ({:.1f} %)\nleft at "
      "origin {} blocks, {}\n",
      to_string(shuffle), sum.partition_count, sum.maps, sum.maps_settled, sum.maps_given_up,
      sum.maps_unpushed, sum.bytes, format_bytes(sum.bytes), sum.merged_blocks,
      sum.merged_partitions, format_bytes(sum.merged_bytes), ratio, sum.blocks_left_home,
      format_bytes(sum.bytes_left_home));
  if (sum.maps_lost > 0) text += fmt::format("lost at origin {} map outputs\n", sum.maps_lost);
  for (const auto& [node, given_up] : totals.given_up) {
    text += fmt::format("given up       {}: {} chunks, {} blocks, {}: {}\n", node.str(),
                        given_up.chunks, given_up.blocks, format_bytes(given_up.bytes),
                        printable(given_up.reason));
  }
  for (const merge::PushOwnerStatus& owner : engine.push_owners()) {
    if (!owner.left_alone.empty())
      text += fmt::format("left alone     {} (by {}): {}\n", owner.owner.str(), engine.self().str(),
                          printable(owner.left_alone));
  }
  for (const merge::UnreachableNode& node : totals.unreachable)
    text += fmt::format("unreachable    {}: {}\n", node.node.str(), printable(node.reason));
  for (const std::string& message : totals.refused_commits)
    text += fmt::format("refused        {}\n", printable(message));
  if (sum.partition_count == 0) co_return text;
  std::string owners;
  const auto placement = engine.placement(shuffle, sum.partition_count);
  each_bucket(*placement, sum.partition_count, [&](uint32_t first, uint32_t last) {
    const std::string range =
        first == last ? std::to_string(first) : fmt::format("{}-{}", first, last);
    owners += fmt::format("{}{} {}", owners.empty() ? "" : ", ", range,
                          placement->owner(merge::PartitionId{first}).str());
  });
  co_return text + fmt::format("owners         {}\n", owners);
}

std::string owners_text(merge::Engine& engine, const merge::ShuffleKey& shuffle,
                        uint32_t partition_count) {
  const auto placement = engine.placement(shuffle, partition_count);
  std::string text;
  each_bucket(*placement, partition_count, [&](uint32_t first, uint32_t last) {
    const merge::PartitionId partition{first};
    const auto second = placement->second(partition);
    text += fmt::format("{} {} {}{}{}\n", first, last, placement->owner(partition).str(),
                        second ? " " : "", second ? second->str() : "");
  });
  return text;
}

}  // namespace shufflefs::fs
