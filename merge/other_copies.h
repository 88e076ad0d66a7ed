// Where else the blocks of a partition are merged than the reader's plan says: asked for when a
// block can be read neither where it was merged nor where it was written. A node that is drained
// leaves its blocks with others, so a file that was open before finds them there.
//
// Threads: reactor only. Cost: a question to each member when a block is not among the copies that
// are known already. Memory: 48 bytes for each merged block of the partition at each of its
// holders.
#pragma once

#include <map>
#include <vector>

#include "base/gate.h"
#include "merge/cluster.h"
#include "merge/partition_plan.h"

namespace shufflefs::merge {

class OtherCopies {
 public:
  OtherCopies(Runtime& runtime, Gate& gate, Cluster& cluster, ShuffleKey shuffle,
              PartitionId partition);

  // Every copy of the block except the plan's own: of the same commit and length, and with the same
  // checksum if the plan has one.
  [[nodiscard]] Task<std::vector<MergedAt>> of(const PlannedBlock& block);
  // None of them could be read: the next of() asks again.
  void forget() { found_.clear(); }

 private:
  struct Copy {
    uint64_t length = 0;
    MergedAt at;
  };
  [[nodiscard]] std::vector<MergedAt> known(const PlannedBlock& block) const;

  Runtime& runtime_;
  Gate& gate_;
  Cluster& cluster_;
  const ShuffleKey shuffle_;
  const PartitionId partition_;
  std::multimap<MapCommit, Copy> found_;
};

}  // namespace shufflefs::merge
