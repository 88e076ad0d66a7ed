#include "base/semaphore.h"

#include <catch2/catch_test_macros.hpp>
#include <vector>

#include "base/event.h"
#include "base/gate.h"
#include "support/run_task.h"

namespace shufflefs {
namespace {

constexpr auto kLong = std::chrono::seconds(30);
constexpr auto kShort = std::chrono::milliseconds(5);

Task<void> count_when_set(Event& event, int& count) {
  co_await event.wait();
  ++count;
}

Task<void> take(Runtime& runtime, Semaphore& semaphore, uint64_t count, int name,
                std::vector<int>& order) {
  const auto permit = co_await semaphore.acquire(count, kLong);
  if (!permit) co_return;
  order.push_back(name);
  co_await sleep_for(runtime, std::chrono::milliseconds(1));
}

Task<void> note_refusal(Semaphore& semaphore, int& refused) {
  const auto permit = co_await semaphore.acquire(1, kLong);
  if (!permit) ++refused;
}

}  // namespace

TEST_CASE("an event wakes everybody who waits, and nobody waits for one that is set") {
  AsioRuntime runtime(1);
  Event event(runtime);
  Gate gate(runtime, "test");
  int count = 0;
  for (int i = 0; i < 3; ++i) gate.spawn(count_when_set(event, count));
  CHECK_FALSE(testing::run_task(runtime, event.wait_for(kShort)));
  CHECK(count == 0);
  event.set();
  event.reset();  // who was waiting has been woken all the same
  testing::run_until(runtime, [&] { return count == 3; });
  CHECK_FALSE(testing::run_task(runtime, event.wait_for(kShort)));
  event.set();
  CHECK(event.is_set());
  CHECK(testing::run_task(runtime, event.wait_for(kLong)));
  testing::run_task(runtime, event.wait());
}

TEST_CASE("whoever is cancelled while it waits for an event is not woken later") {
  AsioRuntime runtime(1);
  Event event(runtime);
  int count = 0;
  {
    Gate gate(runtime, "test");
    gate.spawn(count_when_set(event, count));
    testing::run_until(runtime, [&] { return gate.inside() == 1; });
    testing::run_task(runtime, gate.close());
  }
  event.set();
  testing::run_task(runtime, sleep_for(runtime, kShort));
  CHECK(count == 0);
}

TEST_CASE("permits are granted in order") {
  AsioRuntime runtime(1);
  Semaphore semaphore(runtime, 4);
  Gate gate(runtime, "test");
  std::vector<int> order;
  gate.spawn(take(runtime, semaphore, 3, 0, order));
  gate.spawn(take(runtime, semaphore, 4, 1, order));
  gate.spawn(take(runtime, semaphore, 1, 2, order));  // there is room, but it is not its turn
  testing::run_until(runtime, [&] { return order.size() == 3; });
  CHECK(order == std::vector{0, 1, 2});
  testing::run_task(runtime, gate.close());
  CHECK(semaphore.used() == 0);
}

TEST_CASE("who gives up does not hold up the line") {
  AsioRuntime runtime(1);
  Semaphore semaphore(runtime, 2);
  const auto held = testing::run_task(runtime, semaphore.acquire(1, kLong));
  CHECK_FALSE(testing::run_task(runtime, semaphore.acquire(2, kShort)));
  CHECK(testing::run_task(runtime, semaphore.acquire(1, kShort)));
  CHECK(semaphore.used() == 1);
}

TEST_CASE("a permit may outlive its semaphore, and is given back once") {
  AsioRuntime runtime(1);
  std::optional<Semaphore::Permit> permit;
  {
    Semaphore semaphore(runtime, 2);
    permit = testing::run_task(runtime, semaphore.acquire(2, kLong));
    Semaphore::Permit moved = *std::move(permit);
    moved.give_back();
    moved.give_back();
    CHECK(semaphore.used() == 0);
    permit = testing::run_task(runtime, semaphore.acquire(1, kLong));
  }
  permit.reset();
}

TEST_CASE("closing a semaphore sends everybody away who waits, or comes later") {
  AsioRuntime runtime(1);
  Semaphore semaphore(runtime, 1);
  Gate gate(runtime, "test");
  int refused = 0;
  const auto held = testing::run_task(runtime, semaphore.acquire(1, kLong));
  gate.spawn(note_refusal(semaphore, refused));
  testing::run_until(runtime, [&] { return gate.inside() == 1; });
  semaphore.close();
  testing::run_until(runtime, [&] { return refused == 1; });
  CHECK_FALSE(testing::run_task(runtime, semaphore.acquire(1, kLong)));
  testing::run_task(runtime, gate.close());
}

}  // namespace shufflefs
