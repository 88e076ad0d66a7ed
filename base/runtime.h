// Where time, randomness and threads come from. The domain takes them from here only, so that a
// simulator can drive the same code with a virtual clock, one thread and a seed.
//
// Threads: every coroutine of the daemon runs on one reactor thread (`executor()`); state that only
// coroutines touch needs no lock. Blocking work goes to the disk threads by `offload`.
// `post_blocking` may be called from any thread, the rest from the reactor. Ownership: the Runtime
// outlives everything that holds a reference to it.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <type_traits>

#include "base/result.h"

namespace shufflefs {

namespace asio = boost::asio;

template <class T>
using Task = asio::awaitable<T>;

using Duration = std::chrono::nanoseconds;
using TimePoint = std::chrono::time_point<std::chrono::steady_clock, Duration>;
using WallTime = std::chrono::system_clock::time_point;

// A wait that ends by time or by wake(). One waiter at a time; reactor thread only.
class Timer {
 public:
  virtual ~Timer() = default;
  // True when the time has passed, false when woken (or when the coroutine is being cancelled).
  virtual Task<bool> wait_for(Duration duration) = 0;
  // Ends the wait in progress, if there is one.
  virtual void wake() = 0;
};

class Runtime {
 public:
  virtual ~Runtime() = default;
  [[nodiscard]] virtual asio::any_io_executor executor() = 0;
  [[nodiscard]] virtual TimePoint now() const = 0;
  // What the clock on the wall says: for what is compared between nodes or over restarts. It may
  // be wrong and may jump, so nobody waits by it. Any thread.
  [[nodiscard]] virtual WallTime wall_clock() const = 0;
  [[nodiscard]] virtual std::unique_ptr<Timer> make_timer() = 0;
  [[nodiscard]] virtual uint64_t random() = 0;
  // Runs `work` on a disk thread. Everything posted has run, or been destroyed unrun, when the
  // Runtime is gone.
  virtual void post_blocking(std::function<void()> work) = 0;
};

[[nodiscard]] inline Task<void> sleep_for(Runtime& runtime, Duration duration) {
  const std::unique_ptr<Timer> timer = runtime.make_timer();
  co_await timer->wait_for(duration);
}

// Has `post` run `work` on another thread and resumes on the reactor with what it returned. Not
// cancellable.
template <class Post, class Work>
[[nodiscard]] Task<std::invoke_result_t<Work>> offload_by(Runtime& runtime, Post post, Work work) {
  using Value = std::invoke_result_t<Work>;
  std::optional<Value> value;
  co_await asio::async_initiate<const asio::use_awaitable_t<>, void()>(
      [&runtime, &post, &value, &work](auto handler) {
        auto shared = std::make_shared<decltype(handler)>(std::move(handler));
        auto guard = asio::make_work_guard(runtime.executor());
        post([&value, &work, shared, guard = std::move(guard)] {
          value.emplace(work());
          asio::post(guard.get_executor(), [shared] { std::move (*shared)(); });
        });
      },
      asio::use_awaitable);
  co_return std::move(*value);
}

// Runs `work` (which may block on a disk, never on the network) on a disk thread and resumes on the
// reactor with what it returned. Not cancellable: it must be short.
template <class Work>
[[nodiscard]] Task<std::invoke_result_t<Work>> offload(Runtime& runtime, Work work) {
  auto post = [&runtime](auto run) { runtime.post_blocking(std::move(run)); };
  return offload_by(runtime, std::move(post), std::move(work));
}

}  // namespace shufflefs
