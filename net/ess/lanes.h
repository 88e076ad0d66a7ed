// Threads that send blocks: a few for each disk, so that a sick disk holds up nobody else's blocks.
// They block on the disk, never on a client.
//
// Threads: run() on the reactor; join() once, after all that was run has returned. Ownership: the
// Runtime outlives it. Cost: a lane's threads are made when it is first used.
#pragma once

#include <boost/asio/thread_pool.hpp>
#include <memory>
#include <optional>
#include <vector>

#include "base/runtime.h"

namespace shufflefs::net::ess {

class Lanes {
 public:
  Lanes(Runtime& runtime, std::size_t lanes, std::size_t threads_each)
      : runtime_(runtime), threads_each_(threads_each), pools_(lanes) {}
  ~Lanes() { join(); }
  Lanes(const Lanes&) = delete;
  Lanes& operator=(const Lanes&) = delete;

  // Runs `work` on a thread of the lane, behind what waits there, and resumes on the reactor with
  // what it returned. Not cancellable. REQUIRES: lane < count().
  template <class Work>
  [[nodiscard]] Task<std::invoke_result_t<Work>> run(std::size_t lane, Work work) {
    using Value = std::invoke_result_t<Work>;
    std::optional<Value> value;
    co_await asio::async_initiate<const asio::use_awaitable_t<>, void()>(
        [this, lane, &value, &work](auto handler) {
          auto shared = std::make_shared<decltype(handler)>(std::move(handler));
          auto guard = asio::make_work_guard(runtime_.executor());
          asio::post(pool(lane), [&value, &work, shared, guard = std::move(guard)] {
            value.emplace(work());
            asio::post(guard.get_executor(), [shared] { std::move (*shared)(); });
          });
        },
        asio::use_awaitable);
    co_return std::move(*value);
  }

  [[nodiscard]] std::size_t count() const { return pools_.size(); }
  void join() {
    for (const auto& pool : pools_) {
      if (pool) pool->join();
    }
  }

 private:
  asio::thread_pool& pool(std::size_t lane) {
    auto& place = pools_.at(lane);
    if (!place) place = std::make_unique<asio::thread_pool>(threads_each_);
    return *place;
  }

  Runtime& runtime_;
  const std::size_t threads_each_;
  std::vector<std::unique_ptr<asio::thread_pool>> pools_;
};

}  // namespace shufflefs::net::ess
