// The sizes of a map output's blocks, for who announces and who pushes it: those that the table has
// kept, else from its index, which is counted.
//
// Threads: reactor; the index is read on a disk thread. Ownership: what it refers to outlives it.
#pragma once

#include "base/file_io.h"
#include "base/metrics.h"
#include "base/runtime.h"
#include "merge/shuffle_table.h"

namespace shufflefs::merge {

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
