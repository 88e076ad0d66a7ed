// The request that a FUSE thread is working on (current_request), and how long requests take
// (RequestTimes).
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>

#include "base/metrics.h"

namespace shufflefs::fs {

// The number of a request, and whether the kernel has sent it a second time (bit 63,
// FUSE_UNIQUE_RESEND in <linux/fuse.h>, kernel 6.9): then a worker that has died since may have
// executed it, wholly or in part, without answering. The kernel holds the directory's lock from the
// first sending to the answer, so what a re-sent request finds there is our own work.
//
// libfuse does not show the number, so the session notes it as it reads the request.
//
// Threads: per thread; valid until the handler returns, so copy it into what answers later.
struct RequestId {
  uint64_t number = 0;  // without the bit; never given out twice in the life of a mount
  bool resent = false;
  // As the kernel has sent it, and wants it back in the answer.
  [[nodiscard]] uint64_t unique() const { return number | (resent ? kResentBit : 0); }

  static constexpr uint64_t kResentBit = uint64_t{1} << 63U;
};

[[nodiscard]] RequestId current_request();
// `unique` as in struct fuse_in_header.
void note_request(uint64_t unique);

// How long requests take from their reading to their answer, by operation, and which errors they
// are answered with. Answers may come later and on other threads, so the beginning of each waits in
// a table for its number.
//
// Threads: any, without a lock. Cost: two readings of the clock and three relaxed atomic adds.
// Bound: kSlots requests under way; of two that meet in one slot the earlier one is not timed.
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
