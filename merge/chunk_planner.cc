#include "merge/chunk_planner.h"

#include <random>
#include <utility>

namespace shufflefs::merge {

namespace {

// Adds the chunks of the blocks that `target_of` gives a node for.
template <class TargetOf>
void add_chunks(std::vector<PlannedChunk>& chunks, const BlockSizes& sizes, ChunkLimits limits,
                TargetOf target_of) {
  // More blocks than this in one chunk would make its header large for no gain.
  constexpr std::size_t kMaxBlocks = 4096;
  bool open = false;  // may the last chunk still grow?
  // Empty blocks do not break a run: the bytes before and after them touch.
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    const BlockSizes::Block block = sizes[i];
    const std::optional<NodeName> target =
        block.length <= limits.max_block_bytes ? target_of(block.partition) : std::nullopt;
    if (!target) {
      open = false;
      continue;
    }
    const bool fits = open && chunks.back().owner == *target &&
                      chunks.back().bytes + block.length <= limits.chunk_bytes &&
                      chunks.back().partitions.size() < kMaxBlocks;
    if (!fits) chunks.push_back({*target, 0, block.offset, {}, {}});
    chunks.back().bytes += block.length;
    chunks.back().partitions.push_back(block.partition);
    chunks.back().lengths.push_back(block.length);
    open = true;
  }
}

}  // namespace

ChunkPlan plan_chunks(const BlockSizes& sizes, const Placement& placement, ChunkLimits limits,
                      MapId seed, const std::optional<NodeName>& replicate_from) {
  ChunkPlan plan;
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    if (sizes[i].length <= limits.max_block_bytes) continue;
    ++plan.blocks_left_home;
    plan.bytes_left_home += sizes[i].length;
  }
  add_chunks(plan.chunks, sizes, limits,
             [&](PartitionId p) { return std::optional(placement.owner(p)); });
  if (replicate_from) {
    add_chunks(plan.chunks, sizes, limits, [&](PartitionId p) {
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
