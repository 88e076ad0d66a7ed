#include "merge/push_window.h"

#include <catch2/catch_test_macros.hpp>
#include <random>

namespace shufflefs::merge {
namespace {

using namespace std::chrono_literals;  // NOLINT(google-build-using-namespace): a test
constexpr TimePoint kStart{std::chrono::seconds(100)};

PushWindowOptions options() {
  PushWindowOptions options;
  options.least_bytes = 100;
  options.first_bytes = 1000;
  options.most_bytes = 4000;
  options.step_bytes = 100;
  options.most_messages = 4;
  return options;
}

}  // namespace

TEST_CASE("the window grows by steps with every answer, up to its bound") {
  PushWindow window(options());
  CHECK(window.room(kStart) == 1000);
  for (int i = 0; i < 10; ++i) {
    window.sent(100);
    window.answered(100, 1ms, 0, kStart + i * 1s);
  }
  CHECK(window.window_bytes() == 2000);
  for (int i = 0; i < 100; ++i) {
    window.sent(100);
    window.answered(100, 1ms, 0, kStart + i * 1s);
  }
  CHECK(window.window_bytes() == 4000);
  CHECK(window.in_flight_bytes() == 0);
}

TEST_CASE("what is under way, the number of messages and the owner's credit bound the room") {
  PushWindow window(options());
  window.sent(700);
  CHECK(window.room(kStart) == 300);
  window.sent(300);
  CHECK(window.room(kStart) == 0);
  window.answered(300, 1ms, 750, kStart);
  CHECK(window.room(kStart) == 50);
  for (int i = 0; i < 3; ++i) window.sent(1);
  CHECK(window.room(kStart) == 0);
}

TEST_CASE("congestion halves the window, once for what was under way at the same time") {
  PushWindow window(options());
  window.sent(100);
  window.answered(100, 1s, 0, kStart);
  for (int i = 0; i < 3; ++i) window.sent(100);
  for (int i = 0; i < 3; ++i) window.busy(100, 10ms, kStart + 5s);
  CHECK(window.window_bytes() == 550);
  CHECK(window.room(kStart + 5s) == 0);  // come again later
  CHECK(window.room(kStart + 5s + 10ms) > 0);
  for (int i = 0; i < 20; ++i) {
    window.sent(100);
    window.answered(100, 3s, 0, kStart + i * 10s);  // slow
  }
  CHECK(window.window_bytes() == 100);
  CHECK(window.reason() == "it is slow");
}

TEST_CASE("after failures in a row the owner is left alone, longer and longer, then probed") {
  PushWindow window(options());
  TimePoint now = kStart;
  for (int i = 0; i < 2; ++i) {
    window.sent(100);
    CHECK_FALSE(window.failed(100, "refused", now, 0));
    CHECK(window.room(now) > 0);
  }
  Duration last{};
  for (int i = 0; i < 10; ++i) {
    window.sent(100);
    CHECK(window.failed(100, "connection refused", now, 0));
    CHECK(window.is_open());
    CHECK(window.reason() == "connection refused");
    CHECK(window.room(now) == 0);
    const Duration pause = window.paused_until() - now;
    CHECK(pause >= last);
    CHECK(pause <= 5s);
    last = pause;
    now = window.paused_until();
    CHECK(window.room(now) > 0);
    // One probe at a time.
    window.sent(1);
    CHECK(window.room(now) == 0);
    window.withdrawn(1);
  }
  CHECK(last >= 2s);
  window.sent(100);
  window.answered(100, 1ms, 0, now);
  CHECK_FALSE(window.is_open());
  CHECK(window.reason().empty());
}

TEST_CASE("whatever happens, an owner without anything under way gets a message sooner or later") {
  std::mt19937_64 random(7);
  for (int round = 0; round < 200; ++round) {
    PushWindow window(options());
    TimePoint now = kStart;
    std::vector<uint64_t> under_way;
    for (int step = 0; step < 200; ++step) {
      now += std::chrono::milliseconds(random() % 500);
      if (random() % 2 == 0 && window.room(now) > 0) {
        under_way.push_back(1 + random() % window.room(now));
        window.sent(under_way.back());
      } else if (!under_way.empty()) {
        const uint64_t bytes = under_way.back();
        under_way.pop_back();
        switch (random() % 4) {
          case 0: window.busy(bytes, std::chrono::milliseconds(random() % 60'000), now); break;
          case 1: window.failed(bytes, "x", now, random()); break;
          default:
            window.answered(bytes, std::chrono::milliseconds(random() % 4000), random() % 2000,
                            now);
        }
      }
    }
    for (const uint64_t bytes : under_way) window.withdrawn(bytes);
    CHECK(window.in_flight_bytes() == 0);
    CHECK(window.messages() == 0);
    CHECK(window.room(now + 5s) > 0);
  }
}

}  // namespace shufflefs::merge
