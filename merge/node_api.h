// What one node asks another. The same interface is implemented by merge::LocalNode (answers from
// this node's disks), by net::RemotePeer (asks over a connection) and by simulated peers, so that
// the pusher, the catalog and the readers do not know where an owner lives.
//
// Threads: reactor only. Deadlines: every implementation bounds its own waits (kTimeout,
// kPeerUnreachable); callers may wait for an answer without a clock of their own. Errors of the
// asked node arrive with its code and message. Wire format: docs/wire.md.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/memory_budget.h"
#include "base/runtime.h"
#include "merge/app_owners.h"
#include "merge/commit_id.h"
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
  CommitId id;  // of the map output; its origin is not the sender if a drain moves the blocks
  std::vector<PushBlock> blocks;
};

struct PushRequest {
  ShuffleKey shuffle;
  NodeName sender;
  uint64_t life = 0;  // see drop() below
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

// ---- announce: the events of the sender's map outputs --------------------------------------------------------------
//
// Whoever is told writes it down before it answers (merge/table_log.h), so an event is known even
// if its origin is lost, and whoever was away is told when it is back.

// The partitions [first, first + count) and which of them have bytes, least significant bit first.
// `non_empty` begins at partition first + 8 * skipped_bytes; what it does not reach is empty.
struct PartitionBits {
  uint32_t first = 0;
  uint32_t count = 0;
  uint32_t skipped_bytes = 0;
  std::vector<uint8_t> non_empty;
  friend bool operator==(const PartitionBits&, const PartitionBits&) = default;
};

struct AnnouncedMap {
  ShuffleKey shuffle;
  MapId map{};
  uint64_t commit = 0;  // CommitId::commit; the origin is the sender
  uint64_t life = 0;    // see drop() below
  uint32_t partition_count = 0;
  std::vector<PartitionBits> ranges;  // those for which the asked node is a candidate
  FileOwner owner{};                  // of the map output
};

// Map outputs of the sender that are over: unlinked, or replaced by a later commit.
struct EndedMaps {
  ShuffleKey shuffle;
  uint64_t life = 0;
  std::vector<CommitRange> ranges;  // every commit in them, of any map id
  struct Ended {
    MapId map{};
    uint64_t commit = 0;
    friend auto operator<=>(const Ended&, const Ended&) = default;
  };
  std::vector<Ended> maps;
};

// A drop that the asked node may have missed.
struct DroppedName {
  AppId app;
  std::optional<ShuffleId> shuffle;  // absent: the whole application
  uint64_t life = 0;
  friend bool operator==(const DroppedName&, const DroppedName&) = default;
};

struct AnnounceRequest {
  NodeName origin;  // the sender
  std::vector<AnnouncedMap> committed;
  std::vector<EndedMaps> ended;
  std::vector<DroppedName> dropped;
  // With this one the receiver has been told everything that the sender had to tell.
  bool whole = false;
};

// ---- questions ------------------------------------------------------------------------------------------------

// A map output of the answering node, and its block of the partition.
struct OwnBlock {
  MapId map{};
  uint64_t commit = 0;
  uint64_t length = 0;  // 0: empty; of a lost one: not known
  bool lost = false;    // its files are gone, cut or changed although nobody removed it
  friend bool operator==(const OwnBlock&, const OwnBlock&) = default;
};

// A merged block; `offset` is within the partition's merged view: the blocks one after the other in
// index order.
struct MergedBlock {
  MapId map{};
  CommitId id;
  uint64_t offset = 0;
  uint64_t length = 0;
  uint32_t crc = 0;
  friend bool operator==(const MergedBlock&, const MergedBlock&) = default;
};

// A map output of another node that the answering node was told of.
struct HeardBlock {
  MapId map{};
  NodeName origin;
  uint64_t commit = 0;
  std::optional<bool> non_empty;  // nothing: it was not told of this partition
  friend bool operator==(const HeardBlock&, const HeardBlock&) = default;
};

// Commits of one origin that are over.
struct EndedAt {
  NodeTag origin{};
  std::vector<CommitRange> ranges;
  std::vector<EndedMaps::Ended> maps;
  friend bool operator==(const EndedAt&, const EndedAt&) = default;
};

// What a node knows of one partition.
struct PartitionInfo {
  uint64_t life = 0;                // of the shuffle's name, as far as this node knows
  bool known = false;               // it has something of the shuffle, or was told of something
  std::vector<OwnBlock> own;        // all its own map outputs
  std::vector<MergedBlock> merged;  // in index order
  std::vector<HeardBlock> heard;    // only of partitions that it is a candidate for
  std::vector<EndedAt> ended;       // what is over, its own map outputs included
  uint32_t partition_count =
      0;  // of the shuffle, as far as this node knows; 0 if it does not know it
  std::optional<FileOwner> owner{};  // of the application, if this node knows
  // Why there may be map outputs on its disks that it does not list; empty if there are none. As
  // long as it says so the node has not answered for itself.
  std::string incomplete;
  // Files of the shuffle have appeared that are still to be looked at, and nobody else can know of
  // them: ask again.
  bool pending = false;
  // Nodes that this one cannot vouch for: they have not told it of all their map outputs since it
  // began to write down what it is told, or not which of them have bytes in this partition.
  std::vector<NodeName> unheard;
  uint64_t members =
      0;  // Cluster::view_hash(): does it know of members that the reader has not asked?
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
  uint64_t maps = 0;             // committed here, and no later commit of the same map id anywhere
  uint64_t maps_lost = 0;        // of these: the files are gone, cut or changed
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

// Of a drop.
struct DropReply {
  // The latest life of the name that the node knew before. If it is above the drop's own, two nodes
  // drop at the same time: the drop took nothing of that life, and has to be asked for again with a
  // larger number.
  uint64_t life_before = 0;
};

class NodeApi {
 public:
  virtual ~NodeApi() = default;

  virtual Task<Result<PushReply>> push(PushRequest request) = 0;
  virtual Task<Status> announce(AnnounceRequest request) = 0;

  virtual Task<Result<PartitionInfo>> partition_info(ShuffleKey shuffle, PartitionId partition) = 0;
  // Only what is merged there, which of it a later commit replaces (heard), and the partition
  // count: no map output is listed, so it costs the same whatever their number. own stays empty.
  virtual Task<Result<PartitionInfo>> merged_info(ShuffleKey shuffle, PartitionId partition) = 0;
  virtual Task<Result<ShuffleInfo>> shuffle_info(ShuffleKey shuffle) = 0;
  // All shuffles that the node has anything of.
  virtual Task<Result<std::vector<ShuffleKey>>> list_shuffles() = 0;

  // Exactly `length` bytes, or an error. REQUIRES: 0 < length <= kMaxReadBytes.
  virtual Task<Result<Buffer>> read_merged(ShuffleKey shuffle, PartitionId partition,
                                           uint64_t offset, uint32_t length) = 0;
  // Of the asked node's own map output; kBlockLost if it does not have this commit of it (any
  // more).
  virtual Task<Result<Buffer>> read_block(ShuffleKey shuffle, MapId map, uint64_t commit,
                                          PartitionId partition, uint64_t offset,
                                          uint32_t length) = 0;

  // Drop: the node gives up what it has of the application, or of one shuffle of it: map outputs
  // and merged partitions. Idempotent. The name may be used again afterwards: a drop begins a new
  // life of it. A life is named by the number that the dropping node's logical clock gave to the
  // drop; 0 is the first life. What is committed belongs to the life that its origin knew then.
  // Pushes and announcements carry it: who knows a later life refuses them (kDropped), and who
  // knows only an earlier one has missed a drop, and carries it out.
  virtual Task<Result<DropReply>> drop(AppId app, std::optional<ShuffleId> shuffle,
                                       uint64_t life) = 0;

  // What the node tells people of itself, for the status of the cluster: text that only whoever
  // shows it understands (main/node_report.h), at most kMaxReportBytes. kInvalidArgument for an
  // `about` that it does not know.
  virtual Task<Result<std::string>> report(std::string about);
};

inline constexpr std::size_t kMaxReportBytes = std::size_t{512} << 10U;
inline constexpr std::size_t kMaxReportNameBytes = 1024;  // of `about`

inline constexpr uint32_t kMaxReadBytes = 4U << 20U;

}  // namespace shufflefs::merge
