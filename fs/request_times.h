// How long the kernel's requests take from their reading to their answer, by operation, and which
// errors they are answered with. Answers may come on other threads and much later (the reactor
// answers what needs another node), so a request's beginning waits in a table for its number.
//
// Threads: any, without a lock. Ownership: refers to the Metrics. Cost: two readings of the clock
// and three relaxed atomic adds for a request. Bound: kSlots requests under way; of two whose
// numbers meet in one slot the earlier one is not timed.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>

#include "base/metrics.h"

namespace shufflefs::fs {

class RequestTimes {
 public:
  explicit RequestTimes(Metrics& metrics);

  // `unique` and `opcode` as in struct fuse_in_header.
  void begin(uint64_t unique, uint32_t opcode);
  // The answer has been handed to the kernel; `error` is 0 or a negative errno, as there.
  void end(uint64_t unique, int error);

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr std::size_t kSlots = 4096;
  static constexpr std::size_t kOpcodes = 64;
  struct Slot {
    std::atomic<uint64_t> unique{0};  // 0: free
    std::atomic<int64_t> began_ns{0};
    std::atomic<uint32_t> opcode{0};
  };
  void count_error(int error);

  std::array<Histogram*, kOpcodes> times_{};  // null for what no table of ours names
  Histogram& other_times_;
  Counter& forgets_;
  Labelled<Counter>& errors_;
  std::unique_ptr<std::array<Slot, kSlots>> slots_ = std::make_unique<std::array<Slot, kSlots>>();
};

}  // namespace shufflefs::fs
