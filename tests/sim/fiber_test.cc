#include "sim/fiber.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <condition_variable>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <vector>

namespace shufflefs::sim {
namespace {

using std::chrono::milliseconds;

struct Work {
  Schedule schedule{1};
  std::vector<std::unique_ptr<Fiber>> fibers;
  std::string order;

  void begin(std::function<void()> work) {
    fibers.push_back(std::make_unique<Fiber>(schedule, std::move(work), [] {}));
    fibers.back()->resume();
  }
  void run() {
    while (schedule.step()) {
    }
  }
};

}  // namespace

TEST_CASE("Who wants a lock waits for the fiber that holds it", "[sim]") {
  Work work;
  std::mutex mutex;
  std::shared_mutex shared;
  for (const char name : {'a', 'b'}) {
    work.begin([&, name] {
      const std::lock_guard lock(mutex);
      const std::unique_lock alone(shared);
      work.order += name;
      Fiber::current()->sleep(milliseconds(5));
      work.order += name;
    });
  }
  work.begin([&] {
    const std::shared_lock together(shared);
    work.order += 'c';
  });
  CHECK(work.order == "a");
  work.run();
  CHECK((work.order == "aabbc" || work.order == "aacbb"));
}

TEST_CASE("A fiber waits for a condition that another one brings about", "[sim]") {
  Work work;
  std::mutex mutex;
  std::condition_variable changed;
  bool ready = false;
  work.begin([&] {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return ready; });
    work.order += 'b';
  });
  work.begin([&] {
    Fiber::current()->sleep(milliseconds(5));
    const std::lock_guard lock(mutex);
    ready = true;
    changed.notify_all();
    work.order += 'a';
  });
  work.run();
  CHECK(work.order == "ab");
}

TEST_CASE("Outside of fibers a lock is waited for by running its holder", "[sim]") {
  Work work;
  std::mutex mutex;
  const bool hangs = GENERATE(false, true);
  work.begin([&] {
    const std::lock_guard lock(mutex);
    Fiber& self = *Fiber::current();
    do hangs ? self.hang(milliseconds(5)) : self.sleep(milliseconds(5));
    while (hangs && !self.hurried());
    work.order += 'a';
  });
  Fiber::set_reactor_runs(true);
  {
    const std::lock_guard lock(mutex);
    work.order += 'b';
  }
  Fiber::set_reactor_runs(false);
  CHECK(work.order == "ab");
  CHECK(Fiber::reactor_was_stuck() == hangs);
}

TEST_CASE("What is hurried runs to its end, past the locks of others", "[sim]") {
  Work work;
  std::mutex mutex;
  for (int i = 0; i < 3; ++i) {
    work.begin([&] {
      const std::lock_guard lock(mutex);
      Fiber::current()->sleep(milliseconds(5));
      work.order += 'x';
    });
  }
  for (int round = 0; round < 3; ++round) {
    for (const auto& fiber : work.fibers) {
      if (fiber->has_ended()) continue;
      fiber->hurry();
      fiber->resume();
    }
  }
  CHECK(work.order == "xxx");
  CHECK_FALSE(work.schedule.step());
}

}  // namespace shufflefs::sim
