// Cuts a map output into chunks: runs of contiguous blocks with the same owner, up to a size;
// larger blocks are chunks of their own, and blocks above a limit stay at home (reading them where
// they are is sequential already). The order of the chunks is random but seeded by the map id, so
// that the owners are loaded evenly and a run can be repeated.
//
// Pure. The algorithm is that of the push-merge design: ../shared/seeds/, "Block Pushing
// Algorithm".
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "merge/block_sizes.h"
#include "merge/placement.h"

namespace shufflefs::merge {

struct PlannedChunk {
  NodeName owner;
  uint64_t bytes = 0;
  uint64_t offset = 0;                  // of the first block when all are laid end to end
  std::vector<PartitionId> partitions;  // ascending; none of them empty
  std::vector<uint64_t> lengths;        // of each
};

struct ChunkPlan {
  std::vector<PlannedChunk> chunks;
  uint64_t blocks_left_home = 0;
  uint64_t bytes_left_home = 0;
};

struct ChunkLimits {
  uint64_t chunk_bytes = 0;      // a chunk of several blocks has at most so many
  uint64_t max_block_bytes = 0;  // a larger block is left at home
};

// `replicate_from`: the origin, if every block is to be on a second node: blocks that it owns
// itself are then planned for their second choice as well.
[[nodiscard]] ChunkPlan plan_chunks(const BlockSizes& sizes, const Placement& placement,
                                    ChunkLimits limits, MapId seed,
                                    const std::optional<NodeName>& replicate_from = std::nullopt);

}  // namespace shufflefs::merge
