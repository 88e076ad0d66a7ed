// Makes the request that brings chunks to their owner: reads their bytes from the map outputs and
// computes the checksums.
//
// Blocks on the disk: call from disk threads. Failure: a chunk that cannot be read is named, the
// others go; it is final, as another attempt would read the same file.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/file_io.h"
#include "merge/chunk_planner.h"
#include "merge/node_api.h"
#include "merge/push_queue.h"

namespace shufflefs::merge {

// The planner's chunk with what is needed to read it.
[[nodiscard]] PushChunk make_push_chunk(std::shared_ptr<const MapOutput> output,
                                        const PlannedChunk& planned, uint32_t bucket_width);

// Cuts the chunk into runs of blocks that `owner_of` gives to the same node.
[[nodiscard]] std::vector<std::pair<NodeName, PushChunk>> split_by_owner(
    const PushChunk& chunk, const std::function<NodeName(PartitionId)>& owner_of);

struct PushMessage {
  PushRequest request;
  std::vector<PushChunk> chunks;                              // one for each part
  std::vector<std::pair<PushChunk, std::string>> unreadable;  // and why
  std::vector<PushChunk> outdated;  // the map output was removed while it was read
};

// `payload` has room for all chunks' bytes, or is empty if the chunks are only offered.
// `is_current` says whether the map output is still the one that the chunk was made of; it is asked
// after the bytes were read.
[[nodiscard]] PushMessage make_push_message(
    FileIo& io, const NodeName& self, std::vector<PushChunk> chunks, Buffer payload,
    const std::function<bool(const MapOutput&)>& is_current);

}  // namespace shufflefs::merge
