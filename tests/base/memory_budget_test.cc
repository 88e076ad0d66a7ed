#include "base/memory_budget.h"

#include <catch2/catch_test_macros.hpp>
#include <random>

#include "base/gate.h"
#include "support/run_task.h"

namespace shufflefs {
namespace {

// Longer than the test may take: whoever waits in a circle fails it.
constexpr auto kLong = std::chrono::minutes(10);
using Chain = std::vector<ByteBudget*>;

// Takes the shares one after the other, as the daemon does, and holds all until the last has been
// used.
Task<void> go_through(Runtime& runtime, Chain chain, uint64_t bytes, Duration hold, int& done) {
  std::vector<ByteBudget::Lease> leases;
  for (ByteBudget* share : chain) {
    auto lease = co_await share->acquire(bytes, kLong);
    if (!lease) co_return;
    leases.push_back(*std::move(lease));
  }
  co_await sleep_for(runtime, hold);
  ++done;
}

}  // namespace

TEST_CASE("the shares are within the budget, and the least budget holds what each must hold") {
  AsioRuntime runtime(1);
  MemoryBudget budget(runtime, MemoryBudget::kLeastBytes);
  uint64_t sum = budget.caches_bytes();
  for (const MemoryPurpose purpose : MemoryBudget::kPurposes)
    sum += budget.of(purpose).total_bytes();
  CHECK(sum <= budget.total_bytes());
  // The largest block that may be configured, with the header of its push.
  constexpr uint64_t kBlock = MemoryBudget::kLeastBytes / 4;
  CHECK(budget.of(MemoryPurpose::kPush).total_bytes() >= kBlock);
  CHECK(budget.of(MemoryPurpose::kReceive).total_bytes() >= kBlock + (64U << 10U));
  for (const MemoryPurpose purpose :
       {MemoryPurpose::kRead, MemoryPurpose::kServe, MemoryPurpose::kAnswer})
    CHECK(budget.of(purpose).total_bytes() >= 4U << 20U);
}

TEST_CASE(
    "intake always resumes: nodes that push to and read from each other never wait in a "
    "circle") {
  AsioRuntime runtime(1);
  constexpr std::size_t kNodes = 3;
  constexpr int kEach = 150;
  std::vector<std::unique_ptr<MemoryBudget>> nodes;
  for (std::size_t i = 0; i < kNodes; ++i)
    nodes.push_back(std::make_unique<MemoryBudget>(runtime, 64'000));
  Gate gate(runtime, "test");
  std::mt19937 random(5);
  int done = 0;
  for (std::size_t i = 0; i < kEach * kNodes; ++i) {
    MemoryBudget& mine = *nodes[i % kNodes];
    MemoryBudget& other = *nodes[random() % kNodes];
    const Chain push = {&mine.of(MemoryPurpose::kPush), &other.of(MemoryPurpose::kReceive)};
    const Chain read = {&mine.of(MemoryPurpose::kRead), &other.of(MemoryPurpose::kServe),
                        &mine.of(MemoryPurpose::kAnswer)};
    // Mostly far more than can be held at a time.
    const uint64_t most = push.front()->total_bytes();
    gate.spawn(go_through(runtime, push, 1 + random() % most,
                          std::chrono::microseconds(random() % 200), done));
    gate.spawn(go_through(runtime, read, 1 + random() % read.front()->total_bytes(),
                          std::chrono::microseconds(random() % 200), done));
  }
  testing::run_until(runtime, [&] { return done == 2 * kEach * static_cast<int>(kNodes); });
  for (const auto& node : nodes) CHECK(node->used_bytes() == 0);
  testing::run_task(runtime, gate.close());
}

}  // namespace shufflefs
