// The Runtime of production: one reactor thread over an io_context, and a pool of disk threads.
//
// Life: construct, run() on the thread that shall be the reactor; stop() from any thread makes
// run() return. The disk threads are joined by the destructor.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/thread_pool.hpp>
#include <random>

#include "base/runtime.h"

namespace shufflefs {

class AsioRuntime final : public Runtime {
 public:
  explicit AsioRuntime(std::size_t disk_threads);
  ~AsioRuntime() override;
  AsioRuntime(const AsioRuntime&) = delete;
  AsioRuntime& operator=(const AsioRuntime&) = delete;

  asio::any_io_executor executor() override;
  [[nodiscard]] TimePoint now() const override;
  [[nodiscard]] WallTime wall_clock() const override;
  std::unique_ptr<Timer> make_timer() override;
  uint64_t random() override;
  void post_blocking(std::function<void()> work) override;

  asio::io_context& context() { return context_; }
  void run();
  void stop();
  // Waits for the disk threads to finish what was posted. After run() has returned.
  void join_disk_threads();

 private:
  asio::io_context context_{1};
  asio::executor_work_guard<asio::io_context::executor_type> keep_running_;
  asio::thread_pool disk_threads_;
  std::mt19937_64 random_{std::random_device{}()};  // reactor thread only
};

}  // namespace shufflefs
