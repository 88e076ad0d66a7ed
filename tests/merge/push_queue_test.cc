#include "merge/push_queue.h"

#include <catch2/catch_test_macros.hpp>
#include <map>

namespace shufflefs::merge {
namespace {

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

}  // namespace shufflefs::merge
