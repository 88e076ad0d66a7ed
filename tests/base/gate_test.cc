#include "base/gate.h"

#include <catch2/catch_test_macros.hpp>
#include <thread>

#include "support/dies.h"
#include "support/run_task.h"

namespace shufflefs {
namespace {

Task<void> wait_for_ever(Runtime& runtime, int& entered, int& left) {
  ++entered;
  struct Leave {
    int& count;
    ~Leave() { ++count; }
  } leave{left};
  while (true) co_await sleep_for(runtime, std::chrono::hours(1));
}

Task<void> fail() {
  throw std::runtime_error("on purpose");
  co_return;
}

}  // namespace

TEST_CASE("closing a gate ends what is inside and waits for it") {
  AsioRuntime runtime(1);
  int entered = 0;
  int left = 0;
  Gate gate(runtime, "test");
  for (int i = 0; i < 100; ++i) gate.spawn(wait_for_ever(runtime, entered, left));
  testing::run_until(runtime, [&] { return entered == 100; });
  testing::run_task(runtime, gate.close());
  CHECK(left == 100);
  CHECK(gate.inside() == 0);
}

TEST_CASE("nothing enters a closed gate") {
  AsioRuntime runtime(1);
  int entered = 0;
  int left = 0;
  Gate gate(runtime, "test");
  testing::run_task(runtime, gate.close());
  gate.spawn(wait_for_ever(runtime, entered, left));
  testing::run_task(runtime, sleep_for(runtime, std::chrono::milliseconds(1)));
  CHECK(entered == 0);
}

TEST_CASE("an exception ends its task only") {
  AsioRuntime runtime(1);
  int entered = 0;
  int left = 0;
  Gate gate(runtime, "test");
  gate.spawn(fail());
  gate.spawn(wait_for_ever(runtime, entered, left));
  testing::run_until(runtime, [&] { return entered == 1 && gate.inside() == 1; });
  testing::run_task(runtime, gate.close());
  CHECK(left == 1);
}

TEST_CASE("offloaded work runs on another thread and comes back") {
  AsioRuntime runtime(2);
  const auto here = std::this_thread::get_id();
  const bool other = testing::run_task(
      runtime, offload(runtime, [here] { return std::this_thread::get_id() != here; }));
  CHECK(other);
}

#ifndef NDEBUG
TEST_CASE("a gate that goes with somebody inside is found") {
  CHECK(testing::dies([] {
    AsioRuntime runtime(1);
    int entered = 0;
    int left = 0;
    Gate gate(runtime, "test");
    gate.spawn(wait_for_ever(runtime, entered, left));
    testing::run_until(runtime, [&] { return entered == 1; });
  }));
}
#endif

}  // namespace shufflefs
