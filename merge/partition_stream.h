// Reads a planned partition as one run of bytes: merged blocks from their holder, checked by
// crc32c, the others from their origin; a merged block that is corrupt, short or gone is read from
// its origin instead. Reads ahead while the reader goes forward. Never returns wrong bytes and
// never ends early: what cannot be had is an error (kBlockLost, never kNotFound).
//
// Threads: reactor only; several reads at a time are fine. Memory: at most `ahead_bytes` and one
// unit more, under the budget. Ownership: keep it alive by the shared_ptr while a read is under
// way; call close() before the last release.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>

#include "base/gate.h"
#include "base/metrics.h"
#include "merge/cluster.h"
#include "merge/engine_options.h"
#include "merge/partition_plan.h"

namespace shufflefs::merge {

// Where the copy of a node that has merged blocks lies, below one of its data directories.
[[nodiscard]] std::string merged_file(const PartitionPlan& plan);

class PartitionStream {
 public:
  // `budget` is for what is fetched, ahead or not, `replies` for what read() returns.
  PartitionStream(Runtime& runtime, Cluster& cluster, ByteBudget& budget, ByteBudget& replies,
                  Metrics& metrics, StreamOptions options, PartitionPlan plan);
  ~PartitionStream();
  PartitionStream(const PartitionStream&) = delete;
  PartitionStream& operator=(const PartitionStream&) = delete;

  [[nodiscard]] const PartitionPlan& plan() const;
  // Up to `size` bytes from `offset`; fewer only at the end of the partition. At the end of an
  // incomplete plan: an error.
  [[nodiscard]] Task<Result<Buffer>> read(uint64_t offset, uint32_t size);
  // Gives back what has been fetched, if nobody has read for a while: a file that is open and not
  // read must not keep memory from those who read.
  void release_if_idle();
  // Ends the read-ahead.
  [[nodiscard]] Task<void> close();

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace shufflefs::merge
