// What one node asks another. The same interface is implemented by merge::LocalNode (answers from
// this node's disks), by net::RemotePeer (asks over a connection) and by simulated peers, so that
// the pusher, the catalog and the readers do not know where an owner lives.
//
// Threads: reactor only. Deadlines: every implementation bounds its own waits (kTimeout,
// kPeerUnreachable); callers may wait for an answer without a clock of their own. Errors of the
// asked node arrive with its code and message. Wire format: docs/formats.md.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/buffer.h"
#include "base/runtime.h"
#include "merge/app_owners.h"
#include "merge/ids.h"

namespace shufflefs::merge {

// ---- push: blocks of one shuffle for one owner ---------------------------------------------------------------------

struct PushBlock {
  PartitionId partition{};
  uint32_t crc = 0;     // crc32c of the block's bytes
  uint64_t length = 0;  // > 0: empty blocks are never pushed
};

// Contiguous blocks of one map output. Small ones of several map outputs travel in one request.
struct PushPart {
  MapId map{};
  uint64_t commit = 0;  // MapOutput::commit: tells a map id's later life from what was removed
  std::vector<PushBlock> blocks;
};

struct PushRequest {
  ShuffleKey shuffle;
  NodeName origin;     // the node that wrote the map outputs
  uint64_t epoch = 0;  // see Drop below
  std::vector<PushPart> parts;
  Buffer payload;  // the blocks' bytes, one after the other; empty in an offer
  // Only asks which of the blocks are missing: after a restart most have been merged long ago. What
  // is not missing outlives the owner's process from then on.
  bool offer = false;
  FileOwner owner{};  // of the map outputs
};

// A refused push is an Error (kRefused, kDropped, kTooLarge: do not retry; kNoSpace: the second
// choice may take it; kNoMemory, kIo, kTimeout: try later).
struct PushReply {
  uint32_t merged = 0;
  uint32_t duplicates = 0;  // were there already: acknowledged and dropped
  uint32_t missing = 0;     // of an offer
  // How many bytes the owner is ready to take from this node at the same time; 0: it does not say.
  uint64_t credit_bytes = 0;
  // More than 0: nothing was done, the owner is short of memory or behind with its disks. Come
  // again after so many milliseconds.
  uint32_t busy_ms = 0;
};

// ---- announce: what exists, so that a missing block is noticed even if its origin dies ------------------------------

// The partitions [first, first + count) and which of them have bytes, least significant bit first.
struct PartitionBits {
  uint32_t first = 0;
  uint32_t count = 0;
  std::vector<uint8_t> non_empty;  // (count + 7) / 8 bytes
};

struct AnnouncedMap {
  ShuffleKey shuffle;
  MapId map{};
  uint64_t epoch = 0;  // see Drop below
  uint32_t partition_count = 0;
  std::vector<PartitionBits> ranges;  // those for which the asked node is a candidate
  FileOwner owner{};                  // of the map output
};

// A map output that was unlinked at its origin.
struct RemovedMap {
  ShuffleKey shuffle;
  MapId map{};
  uint64_t commit = 0;  // of the removed one: pushes of it that are still under way are refused
  friend bool operator==(const RemovedMap&, const RemovedMap&) = default;
};

struct AnnounceRequest {
  NodeName origin;
  std::vector<AnnouncedMap> committed;
  std::vector<RemovedMap> removed;
};

// ---- questions ------------------------------------------------------------------------------------------------

struct BlockAtOrigin {
  MapId map{};
  uint64_t length = 0;  // 0: the map output exists and this partition of it is empty
};

// A merged block; `offset` is within the partition's merged view: the blocks one after the other in
// index order.
struct MergedBlock {
  MapId map{};
  uint64_t offset = 0;
  uint64_t length = 0;
  uint32_t crc = 0;
};

// A map output of another node that this node was told of.
struct HeardBlock {
  MapId map{};
  NodeName origin;
  bool non_empty = false;
};

// What a node knows of one partition.
struct PartitionInfo {
  std::vector<BlockAtOrigin> at_origin;  // its own map outputs, all of them
  std::vector<MergedBlock> merged;       // in index order
  std::vector<HeardBlock> heard;         // only of partitions that it is a candidate for
  uint32_t partition_count =
      0;  // of the shuffle, as far as this node knows; 0 if it does not know it
  std::optional<FileOwner> owner{};  // of the application, if this node knows
};

struct GivenUp {
  std::string reason;  // e.g. "owner node3: connection refused"
  uint64_t chunks = 0;
  uint64_t blocks = 0;
  uint64_t bytes = 0;
};

// What a node knows of one shuffle: its own map outputs and how far they are, and what it has
// merged as an owner.
struct ShuffleInfo {
  uint64_t maps = 0;             // committed here
  uint64_t maps_settled = 0;     // every block merged, empty, or left at home because of its size
  uint64_t maps_given_up = 0;    // some block will not be merged
  uint64_t maps_unpushed = 0;    // pushing is switched off
  uint32_t partition_count = 0;  // the largest of its map outputs and merged partitions
  uint64_t bytes = 0;            // of its map outputs
  uint64_t blocks_left_home = 0;
  uint64_t bytes_left_home = 0;
  std::vector<GivenUp> given_up;
  uint64_t merged_partitions = 0;
  uint64_t merged_blocks = 0;
  uint64_t merged_bytes = 0;
  uint64_t duplicate_blocks = 0;
  std::vector<std::string> refused_commits;  // the last few messages
  std::optional<FileOwner> owner{};          // of the application, if this node knows
};

struct ShuffleListing {
  ShuffleKey shuffle;
  std::vector<MapId> maps;          // own map outputs; only filled by list_shuffle
  std::vector<PartitionId> merged;  // only filled by list_shuffle
};

// Which of the two files of a map output in Spark's format.
enum class MapFile : uint8_t { kData = 0, kIndex = 1 };

class NodeApi {
 public:
  virtual ~NodeApi() = default;

  virtual Task<Result<PushReply>> push(PushRequest request) = 0;
  virtual Task<Status> announce(AnnounceRequest request) = 0;

  virtual Task<Result<PartitionInfo>> partition_info(ShuffleKey shuffle, PartitionId partition) = 0;
  // Only what is merged there, and the partition count: no map output is looked at, so it costs the
  // same whatever the number of map outputs. at_origin and heard stay empty.
  virtual Task<Result<PartitionInfo>> merged_info(ShuffleKey shuffle, PartitionId partition) = 0;
  virtual Task<Result<ShuffleInfo>> shuffle_info(ShuffleKey shuffle) = 0;
  // All shuffles that the node has anything of.
  virtual Task<Result<std::vector<ShuffleKey>>> list_shuffles() = 0;
  virtual Task<Result<ShuffleListing>> list_shuffle(ShuffleKey shuffle) = 0;

  // Exactly `length` bytes, or an error. REQUIRES: 0 < length <= kMaxReadBytes.
  virtual Task<Result<Buffer>> read_merged(ShuffleKey shuffle, PartitionId partition,
                                           uint64_t offset, uint32_t length) = 0;
  virtual Task<Result<Buffer>> read_block(ShuffleKey shuffle, MapId map, PartitionId partition,
                                          uint64_t offset, uint32_t length) = 0;
  // A map output as Spark's two files (one made of a directory is laid out on the fly).
  virtual Task<Result<uint64_t>> map_file_size(ShuffleKey shuffle, MapId map, MapFile file) = 0;
  virtual Task<Result<Buffer>> read_map_file(ShuffleKey shuffle, MapId map, MapFile file,
                                             uint64_t offset, uint32_t length) = 0;

  // Drop: the node gives up what it has of the application, or of one shuffle of it: map outputs of
  // generic engines and merged partitions. Idempotent. A name may be used again afterwards, so a
  // drop has an epoch (milliseconds since 1970, and above any epoch that the dropping node has seen
  // for the name); pushes and announcements carry the epoch of the last drop that their origin
  // knows of. An owner refuses what is older than the last drop it has seen (kDropped), and takes
  // what is newer as the news of a drop that it has missed.
  virtual Task<Status> drop(AppId app, std::optional<ShuffleId> shuffle, uint64_t epoch) = 0;

  // What the node tells people of itself, for the status of the cluster: text that only whoever
  // shows it understands (main/node_report.h), at most kMaxReportBytes. kInvalidArgument for an
  // `about` that it does not know.
  virtual Task<Result<std::string>> report(std::string about);
};

inline constexpr std::size_t kMaxReportBytes = std::size_t{512} << 10U;
inline constexpr std::size_t kMaxReportNameBytes = 1024;  // of `about`

inline constexpr uint32_t kMaxReadBytes = 4U << 20U;

}  // namespace shufflefs::merge
