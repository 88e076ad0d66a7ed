// Reads a planned partition as one run of bytes, in units of about 1 MiB, and reads ahead while the
// reader goes forward. Where each block comes from is BlockReader's business. Never returns wrong
// bytes and never ends early: what cannot be had is an error (kBlockLost, never kNotFound).
//
// Threads: reactor only; several reads at a time are fine. Memory: at most `ahead_bytes` and one
// unit more, under the budget. Ownership: made by make_shared; call close() before the last
// release.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "base/gate.h"
#include "base/memory_budget.h"
#include "merge/block_reader.h"
#include "merge/engine_options.h"
#include "merge/partition_plan.h"

namespace shufflefs::merge {

inline constexpr uint64_t kUnitBytes = 1U << 20U;

// What is fetched at a time: whole blocks up to kUnitBytes together, or kUnitBytes of a larger one.
struct StreamUnit {
  uint64_t offset = 0;  // within the partition
  uint64_t length = 0;
  std::size_t first_block = 0;
  std::size_t blocks = 1;  // whole blocks; or 1 and a piece of it
  uint64_t within = 0;     // where the piece begins in its block
  bool is_piece = false;   // not the whole block
};

[[nodiscard]] std::vector<StreamUnit> cut_into_units(const PartitionPlan& plan);

class PartitionStream : public std::enable_shared_from_this<PartitionStream> {
 public:
  // `budget` is for what is fetched, ahead or not, `replies` for what read() returns.
  PartitionStream(Runtime& runtime, Cluster& cluster, ByteBudget& budget, ByteBudget& replies,
                  Metrics& metrics, StreamOptions options, PartitionPlan plan);
  PartitionStream(const PartitionStream&) = delete;
  PartitionStream& operator=(const PartitionStream&) = delete;

  [[nodiscard]] const PartitionPlan& plan() const { return plan_; }
  // Up to `size` bytes from `offset`; fewer only at the end of the partition. At the end of an
  // incomplete plan: an error.
  [[nodiscard]] Task<Result<Buffer>> read(uint64_t offset, uint32_t size);
  // Gives back what has been fetched, if nobody has read for a while: a file that is open and not
  // read must not keep memory from those who read.
  void release_if_idle();
  // Ends the read-ahead.
  [[nodiscard]] Task<void> close() { return gate_.close(); }

 private:
  using Self = std::shared_ptr<PartitionStream>;
  // A unit that is being fetched or has been.
  struct Loading {
    std::optional<Result<Buffer>> done;
    std::vector<std::shared_ptr<Timer>> waiters;
  };

  [[nodiscard]] Task<Result<Buffer>> read_from(Self self, uint64_t offset, uint32_t size);
  std::shared_ptr<Loading> load(std::size_t index);
  Task<void> fetch_unit(std::size_t index, std::shared_ptr<Loading> loading);
  Task<Result<Buffer>> fetch(StreamUnit unit);
  void evict(std::size_t current);
  [[nodiscard]] std::size_t unit_at(uint64_t offset) const;
  // Until the unit has been fetched; its error if it could not be.
  Task<Status> wait_for(std::size_t index, std::shared_ptr<Loading> loading);

  Runtime& runtime_;
  ByteBudget& budget_;   // of what is fetched
  ByteBudget& replies_;  // of what the reader gets; never held while waiting for the other
  const StreamOptions options_;
  const PartitionPlan plan_;
  const std::vector<StreamUnit> units_;
  std::map<std::size_t, std::shared_ptr<Loading>> loads_;  // by unit
  std::size_t last_unit_ = 0;
  TimePoint last_use_;
  Gate gate_;
  BlockReader blocks_;
};

}  // namespace shufflefs::merge
