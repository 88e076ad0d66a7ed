// How large the partitions of a shuffle are, summed over what every node reports, and from that:
// which ones have any bytes. So what looks at all partitions need not count to the largest number.
//
// Threads: reactor. Failure: a node that does not answer, or has not read all of its map outputs,
// is named in `unknown`; what it has may be missing. Cost: a question to every member for each sum.
// Memory: 16 bytes for each cell.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "merge/catalog.h"
#include "merge/partition_sizes.h"

namespace shufflefs {

struct PartitionSums {
  std::vector<uint64_t> committed;  // by cell
  std::vector<uint64_t> merged;     // by cell
  uint64_t maps = 0;
  uint64_t maps_counted = 0;  // fewer than maps: some are still to be read, or cannot be
  std::vector<std::pair<merge::NodeName, std::string>> unreachable;  // and why
  [[nodiscard]] bool has_bytes(std::size_t cell) const {
    return committed[cell] > 0 || merged[cell] > 0;
  }
};

// In cells of question.width partitions, from question.first on.
[[nodiscard]] Task<PartitionSums> sum_partitions(merge::Catalog& catalog,
                                                 merge::PartitionSizesQuestion question);

struct PartitionsWithBytes {
  std::vector<merge::PartitionId> partitions;  // in order
  uint32_t next = 0;                           // where to go on
  std::vector<std::string> unknown;            // why some may be missing
};

// The first `most` of those from `from` to `end` - 1; fewer if `patience` is over.
[[nodiscard]] Task<PartitionsWithBytes> partitions_with_bytes(Runtime& runtime,
                                                              merge::Catalog& catalog,
                                                              merge::ShuffleKey shuffle,
                                                              uint32_t from, uint32_t end,
                                                              std::size_t most, Duration patience);

}  // namespace shufflefs
