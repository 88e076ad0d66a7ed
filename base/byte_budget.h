// One budget for all bytes that the daemon buffers. Whoever wants a buffer takes a lease first and
// waits its turn (first come, first served) while the budget is used up; that wait is the
// back-pressure. Nothing is dropped silently.
//
// Threads: acquire() on the reactor; a Lease may be given back on any thread. Ownership: leases may
// outlive the budget.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>

#include "base/runtime.h"

namespace shufflefs {

class ByteBudget {
 public:
  class Lease {
   public:
    Lease() = default;
    Lease(Lease&& other) noexcept
        : state_(std::move(other.state_)), bytes_(std::exchange(other.bytes_, 0)) {}
    Lease& operator=(Lease&& other) noexcept;
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    ~Lease() { give_back(); }
    [[nodiscard]] uint64_t bytes() const { return bytes_; }
    void give_back();

   private:
    friend class ByteBudget;
    struct State;
    Lease(std::shared_ptr<State> state, uint64_t bytes) : state_(std::move(state)), bytes_(bytes) {}
    std::shared_ptr<State> state_;
    uint64_t bytes_ = 0;
  };

  ByteBudget(Runtime& runtime, uint64_t total_bytes);
  ~ByteBudget();
  ByteBudget(const ByteBudget&) = delete;
  ByteBudget& operator=(const ByteBudget&) = delete;

  // Waits until `bytes` fit, at most `patience` (then kNoMemory). kTooLarge at once if they could
  // never fit.
  [[nodiscard]] Task<Result<Lease>> acquire(uint64_t bytes, Duration patience);

  [[nodiscard]] uint64_t total_bytes() const;
  [[nodiscard]] uint64_t used_bytes() const;

 private:
  Runtime& runtime_;
  std::shared_ptr<Lease::State> state_;
};

}  // namespace shufflefs
