#include "merge/chunk_planner.h"

#include <random>
#include <utility>

namespace shufflefs::merge {

namespace {

// Adds the chunks of the blocks that `target_of` gives a node for.
template <class TargetOf>
void add_chunks(std::vector<PlannedChunk>& chunks, std::span<const uint64_t> block_lengths,
                ChunkLimits limits, TargetOf target_of) {
  // More blocks than this in one chunk would make its header large for no gain.
  constexpr std::size_t kMostBlocks = 4096;
  bool open = false;  // may the last chunk still grow?
  for (uint32_t p = 0; p < block_lengths.size(); ++p) {
    const uint64_t length = block_lengths[p];
    if (length == 0)
      continue;  // an empty block does not break a run: the bytes before and after it touch
    const std::optional<NodeName> target =
        length <= limits.max_block_bytes ? target_of(static_cast<PartitionId>(p)) : std::nullopt;
    if (!target) {
      open = false;
      continue;
    }
    const bool fits = open && chunks.back().owner == *target &&
                      chunks.back().bytes + length <= limits.chunk_bytes &&
                      chunks.back().partitions.size() < kMostBlocks;
    if (!fits) chunks.push_back({*target, 0, {}});
    chunks.back().bytes += length;
    chunks.back().partitions.push_back(static_cast<PartitionId>(p));
    open = true;
  }
}

}  // namespace

ChunkPlan plan_chunks(std::span<const uint64_t> block_lengths, const Placement& placement,
                      ChunkLimits limits, MapId seed,
                      const std::optional<NodeName>& replicate_from) {
  ChunkPlan plan;
  for (const uint64_t length : block_lengths) {
    if (length <= limits.max_block_bytes) continue;
    ++plan.blocks_left_home;
    plan.bytes_left_home += length;
  }
  add_chunks(plan.chunks, block_lengths, limits,
             [&](PartitionId p) { return std::optional(placement.owner(p)); });
  if (replicate_from) {
    add_chunks(plan.chunks, block_lengths, limits, [&](PartitionId p) {
      return placement.owner(p) == *replicate_from ? placement.second(p) : std::nullopt;
    });
  }
  // Fisher-Yates by hand: std::shuffle's result is not the same in every standard library.
  std::mt19937_64 random(number(seed) + 1);
  for (std::size_t i = plan.chunks.size(); i > 1; --i)
    std::swap(plan.chunks[i - 1], plan.chunks[random() % i]);
  return plan;
}

}  // namespace shufflefs::merge
