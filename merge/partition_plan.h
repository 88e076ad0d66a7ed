// What a partition consists of at one moment, and where each block can be read: made by
// Catalog::plan from the answers of all live nodes, consumed by PartitionStream. A plain value.
//
// Order: merged blocks first, in the order of their holder's index (so that the owner reads
// sequentially), then those that are not merged, by map id. A map id occurs once, with the commit
// of it that counts (merge/commit_id.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "merge/commit_id.h"
#include "merge/ids.h"

namespace shufflefs::merge {

struct PartitionInfo;    // merge/node_api.h
struct UnreachableNode;  // merge/ask_nodes.h

struct MergedAt {
  NodeName holder;
  uint64_t view_offset = 0;  // within the holder's merged view of the partition
  uint32_t crc = 0;
};

struct PlannedBlock {
  MapId map{};
  CommitId id;          // the commit of the map id that counts
  uint64_t offset = 0;  // within the partition as it is read
  uint64_t length = 0;  // > 0
  std::optional<MergedAt> merged{};
  // Where it was written, if somebody knows the name of `id.origin`: that node may be down, or have
  // lost it. A merged plan leaves it open.
  std::optional<NodeName> origin{};
  bool lost_at_origin = false;  // its origin answers and has lost it; merged copies serve it
};

struct PartitionPlan {
  ShuffleKey shuffle;
  PartitionId partition{};
  uint64_t life = 0;   // of the shuffle's name
  bool known = false;  // some node knows the shuffle, and it has this partition
  std::vector<PlannedBlock> blocks;
  uint64_t bytes = 0;        // sum of the blocks' lengths
  uint64_t maps = 0;         // map outputs known, with or without bytes in this partition
  uint64_t maps_merged = 0;  // of these: merged, or empty in this partition
  uint64_t merged_bytes = 0;
  std::optional<NodeName>
      owner;  // first choice of the placement; nothing if no map output is known
  std::vector<std::string> unreachable;  // "node3: connection refused"
  // Set if some block exists nowhere within reach, or if too few nodes answered to know: reading to
  // the end must fail.
  std::optional<std::string> incomplete;
  // All blocks are merged by this one node, in its index order with nothing left out: its file may
  // be read directly.
  std::optional<NodeName> whole_at;
};

// Puts the answers of the nodes together. `members` are
// those that were asked.
[[nodiscard]] PartitionPlan make_plan(
    ShuffleKey shuffle, PartitionId partition, const std::vector<NodeName>& members,
    const std::vector<std::pair<NodeName, PartitionInfo>>& answers,
    const std::vector<UnreachableNode>& unreachable);
// As above, but only the merged blocks of commits that count as far as the answers tell: those of
// the node that has most, then what only others have.
[[nodiscard]] PartitionPlan make_merged_plan(
    ShuffleKey shuffle, PartitionId partition,
    const std::vector<std::pair<NodeName, PartitionInfo>>& answers);

// The records of a merged plan as <p>.index shows them (docs/formats.md): offsets are within
// <p>.merged.
[[nodiscard]] std::vector<std::byte> render_index_view(const PartitionPlan& merged_plan);

}  // namespace shufflefs::merge
