// Drives an AsioRuntime on this thread until something has come to an end, with a bound: waiting in
// vain throws, which fails a test and is a finding of the fuzzer. Knows no test framework, so that
// both can use it.
#pragma once

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <exception>
#include <functional>
#include <optional>
#include <stdexcept>

#include "base/asio_runtime.h"
#include "base/check.h"

namespace shufflefs::testing {

inline constexpr std::chrono::seconds kPatience{60};

// Lets the reactor run until the condition holds. A turn counts for little, however long it took:
// a process that was stopped, or got no processor, has not waited.
template <class Condition>
void run_until(AsioRuntime& runtime, Condition condition, std::chrono::seconds bound = kPatience) {
  using Clock = std::chrono::steady_clock;
  constexpr Clock::duration kMostOfATurn = std::chrono::milliseconds(50);
  Clock::duration waited{};
  for (auto last = Clock::now(); !condition();) {
    if (waited > bound)
      throw std::runtime_error("waited in vain for " + std::to_string(bound.count()) + " s");
    {
      const ReactorMark mark;
      runtime.context().run_one_for(std::chrono::milliseconds(5));
    }
    const auto now = Clock::now();
    waited += std::min(now - last, kMostOfATurn);
    last = now;
  }
}

template <class T>
T run_task(AsioRuntime& runtime, Task<T> task, std::chrono::seconds bound = kPatience) {
  std::optional<T> value;
  std::exception_ptr failure;
  bool done = false;
  asio::co_spawn(runtime.context(), std::move(task),
                 [&](std::exception_ptr error, std::optional<T> result) {
                   failure = error;
                   value = std::move(result);
                   done = true;
                 });
  run_until(runtime, [&done] { return done; }, bound);
  if (failure) std::rethrow_exception(failure);
  return std::move(*value);
}

inline void run_task(AsioRuntime& runtime, Task<void> task,
                     std::chrono::seconds bound = kPatience) {
  std::exception_ptr failure;
  bool done = false;
  asio::co_spawn(runtime.context(), std::move(task), [&](std::exception_ptr error) {
    failure = error;
    done = true;
  });
  run_until(runtime, [&done] { return done; }, bound);
  if (failure) std::rethrow_exception(failure);
}

// A reactor that is driven by whoever waits.
struct Loop {
  void until(const std::function<bool()>& reached) { run_until(runtime, reached); }
  template <class T>
  T run(Task<T> task) {
    return run_task(runtime, std::move(task));
  }

  AsioRuntime runtime{1};
};

}  // namespace shufflefs::testing
