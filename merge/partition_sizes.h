// How large the partitions of a shuffle are, as far as this node knows: what its own map outputs
// hold of each, and what it has merged of each. For people who look for skew.
//
// Threads: any; blocks on the disk. Memory: 48 bytes for each partition with bytes of the
// kRemembered shuffles that were asked for last. Cost: an index file is read once for each map
// output, at most kMostOutputs in one question; the next question goes on from there.
#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <set>
#include <vector>

#include "base/file_io.h"
#include "base/mutex.h"
#include "merge/merge_store.h"
#include "merge/shuffle_table.h"

namespace shufflefs::merge {

// Of a shuffle with more partitions only those that have bytes are listed, shown and verified.
inline constexpr uint32_t kMostListed = 65'536;

struct PartitionSizesQuestion {
  static constexpr uint32_t kMostCells = 4096;
  ShuffleKey shuffle;
  uint32_t first = 0;  // partition
  uint32_t cells = 0;  // at most kMostCells
  uint32_t width = 1;  // partitions that are summed into one cell, > 0
};

struct PartitionSizes {
  std::vector<uint64_t> committed_bytes;  // by cell
  std::vector<uint64_t> merged_bytes;     // by cell
  uint64_t maps = 0;
  uint64_t maps_counted = 0;  // fewer than maps: ask again
};

class PartitionSizer {
 public:
  PartitionSizer(FileIo& io, ShuffleTable& table, MergeStore& store)
      : io_(io), table_(table), store_(store) {}

  [[nodiscard]] PartitionSizes sizes(const PartitionSizesQuestion& question);

 private:
  static constexpr std::size_t kRemembered = 4;
  static constexpr std::size_t kMostOutputs = 500;
  struct Counted {
    ShuffleKey shuffle;
    std::set<std::pair<MapId, uint64_t>> maps;  // with the commit
    std::map<uint32_t, uint64_t> bytes;         // by partition; those that have any
  };
  // Brings the count up to date.
  Counted& count(const ShuffleKey& shuffle, const std::vector<MapOutputRef>& outputs) REQUIRES(mu_);

  FileIo& io_;
  ShuffleTable& table_;
  MergeStore& store_;
  Mutex mu_;                                    // held over I/O; by disk threads only
  std::list<Counted> counted_ GUARDED_BY(mu_);  // the last asked for first
};

}  // namespace shufflefs::merge
