#include "merge/push_queue.h"

#include <catch2/catch_test_macros.hpp>
#include <map>
#include <random>

namespace shufflefs::merge {
namespace {

using namespace std::chrono_literals;  // NOLINT(google-build-using-namespace): a test
constexpr TimePoint kStart{std::chrono::seconds(100)};
constexpr std::size_t kManyBlocks = 1000;

PushChunk chunk_of(std::string_view shuffle, uint64_t map, uint64_t bytes, uint32_t group = 0) {
  auto output = std::make_shared<MapOutput>();
  output->shuffle = *parse_shuffle_key(shuffle);
  output->map = static_cast<MapId>(map);
  PushChunk chunk;
  chunk.output = std::move(output);
  chunk.blocks = {{static_cast<PartitionId>(group), bytes}};
  chunk.bytes = bytes;
  chunk.group = group;
  return chunk;
}

// The shuffles of the messages of at most `bytes` bytes, in the order in which they are taken.
std::vector<std::string> order(PushQueue& queue, uint64_t bytes) {
  std::vector<std::string> shuffles;
  while (queue.has_due(kStart))
    shuffles.push_back(to_string(queue.take(bytes, kManyBlocks, kStart).front().output->shuffle));
  return shuffles;
}

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

TEST_CASE("applications take turns, and so do the shuffles of one") {
  PushQueue queue;
  for (uint64_t map = 0; map < 1000; ++map) queue.add(chunk_of("huge/0", map, 10), kStart);
  for (uint64_t map = 0; map < 2; ++map) queue.add(chunk_of("huge/1", map, 10), kStart);
  queue.add(chunk_of("small/0", 0, 10), kStart);
  CHECK(queue.chunks() == 1003);
  const auto taken = order(queue, 10);
  REQUIRE(taken.size() == 1003);
  // Nobody waits longer than one turn of each other.
  CHECK(std::find(taken.begin(), taken.end(), "small/0") - taken.begin() <= 1);
  CHECK(std::find(taken.begin(), taken.end(), "huge/1") - taken.begin() <= 3);
  CHECK(queue.empty());
  CHECK(queue.blocks() == 0);
  CHECK(queue.bytes() == 0);
}

TEST_CASE("small chunks of a shuffle go together, those of one group first") {
  PushQueue queue;
  for (uint64_t map = 0; map < 10; ++map) {
    for (uint32_t group = 0; group < 3; ++group)
      queue.add(chunk_of("app/0", map, 10, group), kStart);
  }
  auto message = queue.take(100, kManyBlocks, kStart);
  REQUIRE(message.size() == 10);
  for (const PushChunk& chunk : message) CHECK(chunk.group == message.front().group);
  message = queue.take(55, kManyBlocks, kStart);
  CHECK(message.size() == 5);
  CHECK(queue.take(UINT64_MAX, 4, kStart).size() == 4);
  // The rest, over groups.
  CHECK(queue.take(UINT64_MAX, kManyBlocks, kStart).size() == 11);
  CHECK(queue.empty());
}

TEST_CASE("a chunk that is larger than a message goes by itself") {
  PushQueue queue;
  queue.add(chunk_of("app/0", 1, 500), kStart);
  queue.add(chunk_of("app/0", 2, 500), kStart);
  CHECK(queue.take(100, kManyBlocks, kStart).size() == 1);
  CHECK(queue.take(100, kManyBlocks, kStart).size() == 1);
}

TEST_CASE("what must go alone, is only offered or is of another life goes by itself") {
  PushQueue queue;
  PushChunk alone = chunk_of("app/0", 1, 10);
  alone.alone = true;
  PushChunk offer = chunk_of("app/0", 2, 10);
  offer.offer = true;
  auto later_life = std::make_shared<MapOutput>(*chunk_of("app/0", 3, 10).output);
  later_life->life = 7;
  PushChunk other = chunk_of("app/0", 3, 10);
  other.output = later_life;
  queue.add(chunk_of("app/0", 0, 10), kStart);
  queue.add(std::move(alone), kStart);
  queue.add(std::move(offer), kStart);
  queue.add(std::move(other), kStart);
  for (int i = 0; i < 4; ++i) CHECK(queue.take(1000, kManyBlocks, kStart).size() == 1);
  CHECK(queue.empty());
}

TEST_CASE("nothing is taken before it is due") {
  PushQueue queue;
  queue.add(chunk_of("app/0", 1, 10), kStart + std::chrono::seconds(5));
  CHECK_FALSE(queue.has_due(kStart));
  CHECK(queue.take(100, kManyBlocks, kStart).empty());
  CHECK(queue.next_due() == kStart + std::chrono::seconds(5));
  CHECK(queue.take_due(kStart + std::chrono::seconds(5)).size() == 1);
  CHECK(queue.empty());
}

// ---- the window ------------------------------------------------------------------------------------------------------

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
