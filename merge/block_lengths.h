// The lengths of the blocks of this node's map outputs, by partition. Reading one partition's
// lengths from the indexes takes an open for each map output. So the first request reads a stretch
// of neighbouring partitions of each index, and the next requests are free. A whole reduce stage
// opens each index a few times, in the order of the disk.
//
// Threads: any; blocks on the disk for what is not known. Memory: at most `most_bytes`; the
// stretches used least recently go first. Failure: as block_length().
#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <unordered_map>
#include <vector>

#include "base/hash.h"
#include "base/metrics.h"
#include "base/mutex.h"
#include "base/runtime.h"
#include "merge/map_output.h"
#include "merge/shuffle_table.h"

namespace shufflefs::merge {

class BlockLengths {
 public:
  BlockLengths(FileIo& io, uint64_t most_bytes) : io_(io), most_bytes_(most_bytes) {}

  // The length of the partition's block in each of the outputs (all of one shuffle); an error where
  // it cannot be read.
  [[nodiscard]] std::vector<Result<uint64_t>> lengths(
      const std::vector<std::shared_ptr<const MapOutput>>& outputs, PartitionId partition);
  void forget(const ShuffleKey& shuffle);
  [[nodiscard]] uint64_t used_bytes() const;

 private:
  struct Row {
    uint64_t commit = 0;  // of the output: its map id may come again
    std::vector<uint64_t> lengths;
  };
  // A stretch of partitions of one shuffle.
  struct Key {
    ShuffleKey shuffle;
    uint32_t width = 1;
    uint32_t number = 0;  // of partitions [number * width, (number + 1) * width)
    friend auto operator<=>(const Key&, const Key&) = default;
  };
  struct Stretch {
    Key key;
    std::unordered_map<uint64_t, Row, SeededHash> rows;  // by map id
    uint64_t bytes = 0;
  };
  using Stretches = std::list<Stretch>;

  Stretch& use(const Key& key) REQUIRES(mu_);
  void remove(Stretches::iterator it) REQUIRES(mu_);
  void shrink() REQUIRES(mu_);

  FileIo& io_;
  const uint64_t most_bytes_;
  mutable Mutex mu_;
  Stretches stretches_ GUARDED_BY(mu_);  // the most recently used first
  std::map<Key, Stretches::iterator> by_key_ GUARDED_BY(mu_);
  uint64_t bytes_ GUARDED_BY(mu_) = 0;
};

// The sizes of all blocks of one map output, for who announces and who pushes it: those that the
// table has kept, else from its index, which is counted. Reactor; the index is read on a disk
// thread.
class OutputSizes {
 public:
  OutputSizes(Runtime& runtime, FileIo& io, Metrics& metrics, const ShuffleTable& table);
  [[nodiscard]] Task<Result<BlockSizesRef>> of(MapOutputRef output);

 private:
  Runtime& runtime_;
  FileIo& io_;
  const ShuffleTable& table_;
  Counter& index_reads_;
};

}  // namespace shufflefs::merge
