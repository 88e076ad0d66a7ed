// Runs one coroutine to its end on an AsioRuntime driven by this thread, with a bound that fails
// the test.
#pragma once

#include <boost/asio/co_spawn.hpp>
#include <catch2/catch_test_macros.hpp>
#include <exception>
#include <optional>

#include "base/asio_runtime.h"

namespace shufflefs::testing {

template <class T>
T run_task(AsioRuntime& runtime, Task<T> task,
           std::chrono::seconds bound = std::chrono::seconds(60)) {
  std::optional<T> value;
  std::exception_ptr failure;
  bool done = false;
  asio::co_spawn(runtime.context(), std::move(task),
                 [&](std::exception_ptr error, std::optional<T> result) {
                   failure = error;
                   value = std::move(result);
                   done = true;
                 });
  const auto deadline = std::chrono::steady_clock::now() + bound;
  while (!done && std::chrono::steady_clock::now() < deadline)
    runtime.context().run_one_for(std::chrono::milliseconds(100));
  REQUIRE(done);
  if (failure) std::rethrow_exception(failure);
  return std::move(*value);
}

inline void run_task(AsioRuntime& runtime, Task<void> task,
                     std::chrono::seconds bound = std::chrono::seconds(60)) {
  std::exception_ptr failure;
  bool done = false;
  asio::co_spawn(runtime.context(), std::move(task), [&](std::exception_ptr error) {
    failure = error;
    done = true;
  });
  const auto deadline = std::chrono::steady_clock::now() + bound;
  while (!done && std::chrono::steady_clock::now() < deadline)
    runtime.context().run_one_for(std::chrono::milliseconds(100));
  REQUIRE(done);
  if (failure) std::rethrow_exception(failure);
}

// Lets the reactor run until the condition holds; fails the test if it does not within the bound.
template <class Condition>
void run_until(AsioRuntime& runtime, Condition condition,
               std::chrono::seconds bound = std::chrono::seconds(60)) {
  const auto deadline = std::chrono::steady_clock::now() + bound;
  while (!condition()) {
    REQUIRE(std::chrono::steady_clock::now() < deadline);
    runtime.context().run_one_for(std::chrono::milliseconds(5));
  }
}

}  // namespace shufflefs::testing
