#include "merge/chunk_planner.h"

#include <random>
#include <utility>

namespace shufflefs::merge {

ChunkPlan plan_chunks(std::span<const uint64_t> block_lengths, const Placement& placement,
                      ChunkLimits limits, MapId seed) {
  // More blocks than this in one chunk would make its header large for no gain.
  constexpr std::size_t kMostBlocks = 4096;
  ChunkPlan plan;
  bool open = false;  // may the last chunk still grow?
  for (uint32_t p = 0; p < block_lengths.size(); ++p) {
    const uint64_t length = block_lengths[p];
    if (length == 0)
      continue;  // an empty block does not break a run: the bytes before and after it touch
    if (length > limits.max_block_bytes) {
      ++plan.blocks_left_home;
      plan.bytes_left_home += length;
      open = false;
      continue;
    }
    const NodeName& owner = placement.owner(static_cast<PartitionId>(p));
    const bool fits = open && plan.chunks.back().owner == owner &&
                      plan.chunks.back().bytes + length <= limits.chunk_bytes &&
                      plan.chunks.back().partitions.size() < kMostBlocks;
    if (!fits) plan.chunks.push_back({owner, 0, {}});
    plan.chunks.back().bytes += length;
    plan.chunks.back().partitions.push_back(static_cast<PartitionId>(p));
    open = true;
  }
  // Fisher-Yates by hand: std::shuffle's result is not the same in every standard library.
  std::mt19937_64 random(number(seed) + 1);
  for (std::size_t i = plan.chunks.size(); i > 1; --i)
    std::swap(plan.chunks[i - 1], plan.chunks[random() % i]);
  return plan;
}

}  // namespace shufflefs::merge
