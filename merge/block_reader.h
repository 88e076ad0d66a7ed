// Fetches the blocks of a planned partition: a merged block from its holder, checked by crc32c, any
// other from its origin. A merged block that is corrupt, short or gone is read from its origin
// instead, or from a copy that another node has merged: a node that is drained leaves its blocks
// with others, so a file that was open before finds them there.
//
// Threads: reactor only. Failure: kCorruptData if the bytes are wrong everywhere, else what the
// origin said. Cost: one request to the holder; one to each member when a block has to be looked
// for. Memory: 48 bytes for each copy that was found, and for each piece that was read.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "base/gate.h"
#include "base/metrics.h"
#include "merge/cluster.h"
#include "merge/partition_plan.h"

namespace shufflefs::merge {

// Where the copy of a node that has merged blocks lies, below one of its data directories.
[[nodiscard]] std::string merged_file(const PartitionPlan& plan);

class BlockReader {
 public:
  // `lost_timeout`: how long a node that does not answer is asked again. All references outlive it;
  // the requests belong to `gate`. The blocks of the calls are those of `plan`.
  BlockReader(Runtime& runtime, Cluster& cluster, Metrics& metrics, Gate& gate,
              Duration lost_timeout, const PartitionPlan& plan);

  // The common case: all of the blocks lie one after the other in one holder's view, so one request
  // fetches them. Nothing if they do not, or if anything about the answer is doubtful: then each
  // block is to be read by itself.
  [[nodiscard]] Task<std::optional<Buffer>> read_run(std::span<const PlannedBlock> blocks);
  // REQUIRES: into.size() is the block's length.
  [[nodiscard]] Task<Status> read_whole(const PlannedBlock& block, std::span<std::byte> into);
  // A piece of a large block cannot be checked alone: the pieces' checksums are put together when
  // the last has come. If they are wrong then, that piece fails with kCorruptData, so that nobody
  // takes the block for good, and later reads go elsewhere.
  [[nodiscard]] Task<Status> read_piece(const PlannedBlock& block, uint64_t within,
                                        std::span<std::byte> into);

 private:
  // The pieces of a large block that were read, in any order.
  struct Pieces {
    // False if this was the last one and all of them together are wrong: which one is not known, so
    // all are forgotten.
    bool add(uint64_t at, std::span<const std::byte> piece, uint64_t block_length);

    std::map<uint64_t, std::pair<uint64_t, uint32_t>> read;  // offset -> (length, crc)
    std::optional<uint32_t> expected;  // crc of the whole block; without one every block is right
    bool copy_is_bad = false;          // the planned copy is not to be read again
  };
  struct Copy {
    uint64_t length = 0;
    MergedAt at;
  };
  // Where a block, or a piece of it, is read to.
  struct Target {
    uint64_t within = 0;
    std::span<std::byte> into;
    bool whole = false;  // the checksum is looked at
  };

  Task<Status> read(const PlannedBlock& block, Target target);
  Task<Status> read_copy(const MergedAt& copy, Target target);
  // Where the plan has it merged it could not be had, if it has. What may pass is waited for, and
  // then the plan's holder is asked again as well.
  Task<Status> read_elsewhere(const PlannedBlock& block, Target target);
  Task<Status> read_origin(const PlannedBlock& block, Target target);
  Task<bool> read_other_copy(const PlannedBlock& block, Target target);
  Task<Result<Buffer>> ask_holder(const MergedAt& merged, uint64_t within, uint64_t length);
  // Every merged copy except the plan's own: of the same commit and length, and with the same
  // checksum if the plan has one.
  Task<std::vector<MergedAt>> other_copies(const PlannedBlock& block);
  [[nodiscard]] std::vector<MergedAt> known_copies(const PlannedBlock& block) const;
  [[nodiscard]] std::optional<NodeName> origin_of(const PlannedBlock& block) const;
  [[nodiscard]] std::string name_of(const PlannedBlock& block) const;
  void count_fallback(const PlannedBlock& block, const Error& error);

  Runtime& runtime_;
  Cluster& cluster_;
  Gate& gate_;
  const Duration lost_timeout_;
  const PartitionPlan& plan_;
  Counter& merged_bytes_;
  Counter& origin_bytes_;
  Counter& fallbacks_;
  std::map<const PlannedBlock*, Pieces> pieces_;  // of large blocks
  std::multimap<MapCommit, Copy> copies_;         // that were found by asking
  // Holders that did not answer: asking them for one block after the other would be a wait each.
  std::set<NodeName> silent_;
};

}  // namespace shufflefs::merge
