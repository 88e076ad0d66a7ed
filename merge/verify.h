// Whether the copies of a partition's blocks are what they should be: every merged block is read at
// its holder and compared with the checksum of the index, and so is its copy at the origin. A block
// that was not merged has no checksum here: it is read at both of its ends.
//
// Threads: reactor. Failure: what is wrong with a copy is a finding, never an error of the whole.
// Bound: the limits; every read has its node's deadline. Memory: a piece of 1 MiB at a time, leased
// by the nodes that answer. Cost: every byte once over the network and the disks.
#pragma once

#include <string>
#include <vector>

#include "merge/cluster.h"
#include "merge/partition_plan.h"

namespace shufflefs::merge {

struct CopyFinding {
  MapId map{};
  NodeName node;           // that has the copy
  bool is_merged = false;  // the merged copy; else the one at the origin
  uint64_t offset = 0;     // within the merged view, or within the block at the origin
  uint64_t length = 0;     // of the block
  Code code{};             // kCorruptData: the bytes are wrong; else why they could not be read
  int sys_errno = 0;
  std::string reason;
};

struct VerifyReport {
  uint64_t next_block = 0;      // where to go on; the number of blocks when all were looked at
  uint64_t blocks = 0;          // looked at now
  uint64_t bytes = 0;           // of both copies
  uint64_t merged = 0;          // merged copies that are right
  uint64_t origins = 0;         // copies at the origin that are right
  uint64_t origins_gone = 0;    // merged blocks whose origin does not answer: not compared
  uint64_t lost_at_origin = 0;  // merged blocks that their origin has lost; each is a finding too
  std::vector<CopyFinding> findings;
};

struct VerifyLimits {
  uint64_t bytes = uint64_t{64} << 20U;
  Duration time = std::chrono::seconds(3);
};

// From the block with the index `first` of the plan on; at least one block, whatever the limits.
[[nodiscard]] Task<VerifyReport> verify_blocks(Runtime& runtime, Cluster& cluster,
                                               PartitionPlan plan, uint64_t first,
                                               VerifyLimits limits);

}  // namespace shufflefs::merge
