// The pieces in which map outputs travel to the owners of their partitions: how an output is cut
// into chunks, and the request that brings chunks to an owner.
//
// A chunk is a run of contiguous blocks with the same owner, up to a size. A larger block is a
// chunk of its own; blocks above a limit stay at home, where reading them is sequential already.
// The order of the chunks is random, so that the owners are loaded evenly, but seeded by the map
// id, so that a run can be repeated.
//
// Threads: plan_chunks() and split_by_owner() are pure; make_push_message() blocks on the disk.
// Memory: about 100 bytes for a chunk and 16 for each of its blocks.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/file_io.h"
#include "merge/map_output.h"
#include "merge/node_api.h"
#include "merge/placement.h"

namespace shufflefs::merge {

struct BlockToPush {
  PartitionId partition{};
  uint64_t length = 0;  // > 0
};

// The way of a chunk: offered (if `offer`), sent if a block of it is missing there, and done when
// the owner has it. If the node is `leaving` it is then offered once more, because an answer to an
// offer is on the owner's disk, and it is sent again if it is missing.
struct PushChunk {
  std::shared_ptr<const MapOutput> output;
  std::vector<BlockToPush> blocks;  // ascending; empty blocks between them do not count
  uint64_t bytes = 0;
  uint64_t data_offset = 0;  // of the first block when all blocks are laid end to end
  uint32_t group = 0;        // chunks of one group hold neighbouring partitions
  bool offer = false;        // ask which blocks are missing before sending
  bool leaving = false;      // its node is being drained: any other node will do
  bool alone = false;        // a message with others was refused: it goes by itself
  uint32_t attempts = 0;
  std::vector<NodeName> tried;          // nodes that did not take it and have been passed over
  std::optional<TimePoint> busy_since;  // when the owner first had no room for it
};

struct ChunkPlan {
  std::vector<std::pair<NodeName, PushChunk>> chunks;  // with their owners; `output` is not set
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

// Cuts the chunk into runs of blocks that `owner_of` gives to the same node.
[[nodiscard]] std::vector<std::pair<NodeName, PushChunk>> split_by_owner(
    const PushChunk& chunk, const std::function<NodeName(PartitionId)>& owner_of);

struct PushMessage {
  PushRequest request;
  std::vector<PushChunk> chunks;  // one for each part
  // And why. Final: another attempt would read the same file.
  std::vector<std::pair<PushChunk, std::string>> unreadable;
  // Chunks whose map output ended while it was read are left out.
};

// Reads the chunks' bytes and computes the checksums. `payload` has room for all of them, or is
// empty if the chunks are only offered. `is_current` says whether the map output is still the one
// that the chunk was made of; it is asked after the bytes were read.
[[nodiscard]] PushMessage make_push_message(
    FileIo& io, const NodeName& self, std::vector<PushChunk> chunks, Buffer payload,
    const std::function<bool(const MapOutput&)>& is_current);

}  // namespace shufflefs::merge
