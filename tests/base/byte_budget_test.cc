#include <catch2/catch_test_macros.hpp>
#include <random>

#include "base/gate.h"
#include "base/memory_budget.h"
#include "support/run_task.h"

namespace shufflefs {
namespace {

constexpr auto kLong = std::chrono::seconds(30);

Task<void> take_and_hold(Runtime& runtime, ByteBudget& budget, uint64_t bytes, Duration hold,
                         int& done, uint64_t& most) {
  auto lease = co_await budget.acquire(bytes, kLong);
  if (!lease) co_return;
  most = std::max(most, budget.used_bytes());
  co_await sleep_for(runtime, hold);
  lease->give_back();
  ++done;
}

}  // namespace

TEST_CASE("a lease takes bytes and gives them back") {
  AsioRuntime runtime(1);
  ByteBudget budget(runtime, 100);
  {
    const auto lease = testing::run_task(runtime, budget.acquire(60, kLong));
    REQUIRE(lease);
    CHECK(budget.used_bytes() == 60);
  }
  CHECK(budget.used_bytes() == 0);
}

TEST_CASE("what can never fit is refused at once, what does not fit now after the patience") {
  AsioRuntime runtime(1);
  ByteBudget budget(runtime, 100);
  CHECK(testing::run_task(runtime, budget.acquire(101, kLong)).error().code == Code::kTooLarge);
  const auto lease = testing::run_task(runtime, budget.acquire(60, kLong));
  CHECK(testing::run_task(runtime, budget.acquire(60, std::chrono::milliseconds(5))).error().code ==
        Code::kNoMemory);
  CHECK(budget.used_bytes() == 60);
}

TEST_CASE("intake always resumes, in order, and the budget is never exceeded") {
  AsioRuntime runtime(1);
  ByteBudget budget(runtime, 1000);
  Gate gate(runtime, "test");
  std::mt19937 random(3);
  int done = 0;
  uint64_t most = 0;
  constexpr int kTakers = 500;
  for (int i = 0; i < kTakers; ++i) {
    gate.spawn(take_and_hold(runtime, budget, 1 + random() % 1000,
                             std::chrono::microseconds(random() % 300), done, most));
  }
  testing::run_until(runtime, [&] { return done == kTakers; });
  CHECK(most <= 1000);
  CHECK(budget.used_bytes() == 0);
  testing::run_task(runtime, gate.close());
}

TEST_CASE("a cancelled waiter neither keeps its place nor what it was granted") {
  AsioRuntime runtime(1);
  ByteBudget budget(runtime, 100);
  int done = 0;
  uint64_t most = 0;
  {
    const auto lease = testing::run_task(runtime, budget.acquire(100, kLong));
    Gate gate(runtime, "test");
    gate.spawn(take_and_hold(runtime, budget, 50, kLong, done, most));
    testing::run_until(runtime, [&] { return gate.inside() == 1; });
    testing::run_task(runtime, gate.close());
  }
  CHECK(budget.used_bytes() == 0);
  CHECK(testing::run_task(runtime, budget.acquire(100, std::chrono::milliseconds(1))));
}

}  // namespace shufflefs
