// A number of permits. A coroutine that finds too few of them free waits in line, first come first
// served: a large request at the front is not overtaken for ever by small ones.
//
// Threads: acquire() and close() on the reactor; a permit is given back on any thread. Ownership:
// permits may outlive the semaphore.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

#include "base/runtime.h"

namespace shufflefs {

class Semaphore {
  struct State;

 public:
  class Permit {
   public:
    Permit() = default;
    Permit(Permit&& other) noexcept
        : state_(std::move(other.state_)), count_(std::exchange(other.count_, 0)) {}
    Permit& operator=(Permit&& other) noexcept;
    Permit(const Permit&) = delete;
    Permit& operator=(const Permit&) = delete;
    ~Permit() { give_back(); }
    void give_back();

   private:
    friend class Semaphore;
    Permit(std::shared_ptr<State> state, uint64_t count)
        : state_(std::move(state)), count_(count) {}
    std::shared_ptr<State> state_;
    uint64_t count_ = 0;
  };

  Semaphore(Runtime& runtime, uint64_t total);
  ~Semaphore();
  Semaphore(const Semaphore&) = delete;
  Semaphore& operator=(const Semaphore&) = delete;

  // Nothing if the permits were not free in time, or after close(). REQUIRES: count <= total().
  [[nodiscard]] Task<std::optional<Permit>> acquire(uint64_t count, Duration timeout);
  // Whoever waits, or comes later, gets nothing.
  void close();

  [[nodiscard]] uint64_t total() const;
  [[nodiscard]] uint64_t used() const;

 private:
  static Task<std::optional<Permit>> acquire_from(std::shared_ptr<State> state, Runtime& runtime,
                                                  uint64_t count, Duration timeout);

  Runtime& runtime_;
  std::shared_ptr<State> state_;
};

}  // namespace shufflefs
