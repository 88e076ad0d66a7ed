// Reading planned partitions: pieces, read-ahead, fallback from corrupt merged blocks, errors
// instead of short reads.
#include <boost/asio/detached.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <random>

#include "merge/catalog.h"
#include "merge/partition_stream.h"
#include "merge/placement.h"
#include "support/test_cluster.h"

namespace shufflefs::merge {
namespace {

using testing::node_name;
using testing::random_blocks;
using testing::TestCluster;
const ShuffleKey kShuffle = *parse_shuffle_key("app/0");

PartitionPlan plan_of(const std::vector<uint64_t>& lengths) {
  PartitionPlan plan;
  for (std::size_t i = 0; i < lengths.size(); ++i) {
    plan.blocks.push_back(
        {.map = static_cast<MapId>(i), .id = {}, .offset = plan.bytes, .length = lengths[i]});
    plan.bytes += lengths[i];
  }
  return plan;
}

PushOptions unpushed() {
  PushOptions push = TestCluster::quick();
  push.enabled = false;
  return push;
}

std::vector<std::size_t> nodes_without(const NodeName& left_out, std::size_t count) {
  std::vector<std::size_t> nodes;
  for (std::size_t i = 0; i < count; ++i) {
    if (node_name(i) != left_out) nodes.push_back(i);
  }
  return nodes;
}

Task<void> all_come_back(TestCluster& cluster) {
  co_await sleep_for(cluster.runtime, std::chrono::milliseconds(100));
  cluster.faults.down.clear();
}

}  // namespace

TEST_CASE("units cover the partition without gaps and hold whole blocks or pieces of one") {
  std::mt19937_64 random(2);
  for (int round = 0; round < 200; ++round) {
    std::vector<uint64_t> lengths(1 + random() % 40);
    for (uint64_t& length : lengths)
      length = 1 + random() % (random() % 5 == 0 ? 5 * kUnitBytes : kUnitBytes / 3);
    const PartitionPlan plan = plan_of(lengths);
    uint64_t at = 0;
    for (const StreamUnit& unit : cut_into_units(plan)) {
      CHECK(unit.offset == at);
      CHECK(unit.length > 0);
      CHECK(unit.length <= kUnitBytes);
      if (!unit.is_piece) {
        CHECK(plan.blocks[unit.first_block].offset == unit.offset);
        const PlannedBlock& last = plan.blocks[unit.first_block + unit.blocks - 1];
        CHECK(last.offset + last.length == unit.offset + unit.length);
      } else {
        CHECK(plan.blocks[unit.first_block].offset + unit.within == unit.offset);
      }
      at += unit.length;
    }
    CHECK(at == plan.bytes);
  }
}

TEST_CASE("a partition is read right from any offset, in any order, in any size") {
  TestCluster cluster(2);
  cluster.start();
  std::vector<std::string> expected_by_map;
  for (uint64_t map = 0; map < 6; ++map) {
    const auto blocks = random_blocks(map, {map == 3 ? 3 * kUnitBytes + 5 : 200'000 + map});
    expected_by_map.push_back(blocks[0]);
    cluster.write_map(map % 2, kShuffle, map, blocks);
  }
  cluster.settle(kShuffle, 6);
  const PartitionPlan plan = cluster.plan(0, kShuffle, 0);
  std::string expected;
  for (const PlannedBlock& block : plan.blocks) expected += expected_by_map[number(block.map)];
  for (std::size_t node = 0; node < 2; ++node) {
    const auto stream = cluster.engine(node).open_stream(plan);
    std::mt19937_64 random(node);
    for (int i = 0; i < 60; ++i) {
      const uint64_t offset = random() % (expected.size() + 1000);
      const auto size = static_cast<uint32_t>(1 + random() % 400'000);
      const auto bytes = cluster.run(stream->read(offset, size));
      REQUIRE(bytes);
      const std::string_view got(reinterpret_cast<const char*>(bytes->data()), bytes->size());
      CHECK((got == (offset < expected.size() ? std::string_view(expected).substr(offset, size)
                                              : std::string_view())));
    }
    cluster.run(stream->close());
    CHECK(*cluster.read(node, plan, 131'072) == expected);
  }
}

TEST_CASE("corrupt merged blocks are read from their origin and counted") {
  TestCluster cluster(2);
  cluster.start();
  const auto blocks = random_blocks(1, {40'000});
  const auto more = random_blocks(2, {50'000});
  cluster.write_map(0, kShuffle, 1, blocks);
  cluster.write_map(0, kShuffle, 2, more);
  cluster.settle(kShuffle, 2);
  const PartitionPlan plan = cluster.plan(0, kShuffle, 0);
  REQUIRE(plan.owner);
  const std::size_t reader = *plan.owner == node_name(0) ? 1 : 0;
  cluster.faults.damage_reads.insert(*plan.owner);
  const auto text = cluster.read(reader, plan);
  REQUIRE(text);
  CHECK(text->size() == 90'000);
  for (const PlannedBlock& block : plan.blocks) {
    CHECK(text->substr(block.offset, block.length) ==
          (block.map == MapId{1} ? blocks[0] : more[0]));
  }
  CHECK(cluster.metrics(reader).value("shufflefs_read_fallback_blocks_total") == 2);
}

TEST_CASE("what is merged is found with a question to each candidate, whatever was written") {
  TestCluster cluster(5);
  cluster.start();
  const NodeName owner = Placement(kShuffle, cluster.view(0).names(), 1).owner(PartitionId{0});
  const std::vector<std::size_t> others = nodes_without(owner, 5);
  std::vector<std::string> expected;
  for (uint64_t map = 0; map < 20; ++map) {
    expected.push_back(random_blocks(map, {10'000})[0]);
    cluster.write_map(others[map % 2], kShuffle, map, {expected.back()});
  }
  cluster.settle(kShuffle, 20);
  cluster.faults.merged_questions = 0;
  const PartitionPlan plan =
      cluster.run(cluster.engine(others[0]).catalog().merged_plan(kShuffle, PartitionId{0}));
  CHECK(cluster.faults.merged_questions <= 2);
  REQUIRE(plan.owner == owner);
  REQUIRE(plan.blocks.size() == 20);

  // The plan leaves origins open: they are found when a block has to be read there.
  cluster.faults.down.insert(owner);
  const auto text = cluster.read(others[2], plan);
  REQUIRE(text);
  for (const PlannedBlock& block : plan.blocks)
    CHECK(text->substr(block.offset, block.length) == expected[number(block.map)]);
}

TEST_CASE("a corrupt large block fails once and is then read from its origin") {
  TestCluster cluster(2);
  cluster.start();
  const auto blocks = random_blocks(1, {2 * kUnitBytes + 77});
  cluster.write_map(0, kShuffle, 1, blocks);
  cluster.settle(kShuffle, 1);
  const PartitionPlan plan = cluster.plan(0, kShuffle, 0);
  const std::size_t reader = *plan.owner == node_name(0) ? 1 : 0;
  cluster.faults.damage_reads.insert(*plan.owner);
  const auto stream = cluster.engine(reader).open_stream(plan);
  // Small reads, as the kernel's: the damage is known when the last piece has come.
  bool failed = false;
  for (uint64_t at = 0; at < plan.bytes; at += 131'072) {
    if (!cluster.run(stream->read(at, 131'072))) failed = true;
  }
  CHECK(failed);
  cluster.run(stream->close());
}

TEST_CASE("an owner that dies while it is read is replaced block by block by the origins") {
  TestCluster cluster(3);
  cluster.start();
  std::vector<std::vector<std::string>> all;
  for (uint64_t map = 0; map < 12; ++map) {
    all.push_back(random_blocks(map, {300'000}));
    cluster.write_map(map % 3, kShuffle, map, all.back());
  }
  cluster.settle(kShuffle, 12);
  const PartitionPlan plan = cluster.plan(0, kShuffle, 0);
  const std::size_t owner = plan.owner == node_name(0) ? 0 : plan.owner == node_name(1) ? 1 : 2;
  const std::size_t reader = (owner + 1) % 3;
  const auto stream = cluster.engine(reader).open_stream(plan);
  const auto first = cluster.run(stream->read(0, 1000));
  REQUIRE(first);
  cluster.faults.down.insert(node_name(owner));
  // The blocks that the dead node wrote itself are lost with it; all others must come.
  std::size_t good = 0;
  for (const PlannedBlock& block : plan.blocks) {
    const auto bytes = cluster.run(stream->read(block.offset, static_cast<uint32_t>(block.length)));
    const bool lost = number(block.map) % 3 == owner;
    if (!lost && bytes && bytes->size() == block.length) {
      CHECK(std::string(reinterpret_cast<const char*>(bytes->data()), bytes->size()) ==
            all[number(block.map)][0]);
      ++good;
    }
    if (bytes) CHECK(bytes->size() == block.length);
  }
  // A unit that also holds a lost block fails as a whole on its first read; most blocks are alone
  // in theirs or not lost.
  CHECK(good >= 1);
  cluster.run(stream->close());
}

// As a drained node leaves it: what it had is merged at another node too, and a file that was open
// before knows only the drained one.
TEST_CASE("a block whose planned holder and origin are gone is read from another merged copy") {
  const uint64_t size = GENERATE(as<uint64_t>(), 60'000, 2 * kUnitBytes + 77);
  const bool merged_in_plan = GENERATE(true, false);
  CAPTURE(size, merged_in_plan);
  TestCluster cluster(4);
  cluster.start();
  const NodeName owner = Placement(kShuffle, cluster.view(0).names(), 1).owner(PartitionId{0});
  const std::vector<std::size_t> others = nodes_without(owner, 4);
  const std::size_t origin = others[0];
  const std::size_t reader = others[1];
  const std::string block = random_blocks(1, {size})[0];
  cluster.write_map(origin, kShuffle, 1, {block});
  cluster.settle(kShuffle, 1);
  PartitionPlan plan = cluster.plan(reader, kShuffle, 0);
  REQUIRE(plan.blocks.size() == 1);
  PlannedBlock& planned = plan.blocks[0];
  REQUIRE(planned.merged->holder == owner);
  // What a file knows that was opened before the owner had it.
  if (merged_in_plan)
    planned.merged->holder = node_name(others[2]);
  else
    planned.merged.reset();
  planned.origin = node_name(origin);
  cluster.faults.down.insert(node_name(origin));
  cluster.faults.down.insert(node_name(others[2]));
  const auto text = cluster.read(reader, plan);
  REQUIRE(text);
  CHECK(*text == block);
  // A copy whose bytes are not what it says is not taken for the block.
  cluster.faults.damage_reads.insert(owner);
  CHECK_FALSE(cluster.read(reader, plan));
}

// A restarted daemon is away for milliseconds, and a node may look dead to one other for a moment.
TEST_CASE("a node that is away for a moment fails neither the plan nor a read of its blocks") {
  TestCluster cluster(3, unpushed(), std::chrono::seconds(60));
  cluster.start();
  for (uint64_t map = 0; map < 3; ++map)
    cluster.write_map(map, kShuffle, map, random_blocks(map, {5000}));
  // Both candidates hear of each map output that is not their own: two of three have one of those.
  std::size_t heard = 0;
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (heard < 4) {
    REQUIRE(std::chrono::steady_clock::now() < deadline);
    heard = 0;
    for (std::size_t node = 0; node < 3; ++node) {
      const auto info =
          cluster.run(cluster.engine(node).local_node()->partition_info(kShuffle, PartitionId{0}));
      REQUIRE(info);
      heard += info->heard.size();
    }
  }
  const auto away = [&](std::size_t node) {
    cluster.faults.down.insert(node_name(node));
    asio::co_spawn(cluster.runtime.context(), all_come_back(cluster), asio::detached);
  };
  away(2);
  const PartitionPlan now = cluster.plan(0, kShuffle, 0);
  CHECK(now.incomplete);  // a stat does not wait
  const PartitionPlan plan = cluster.plan_for_reading(0, kShuffle, 0);
  CHECK_FALSE(plan.incomplete);
  CHECK(plan.blocks.size() == 3);

  away(1);
  const auto text = cluster.read(0, plan);
  REQUIRE(text);
  CHECK(text->size() == 15'000);
}

}  // namespace shufflefs::merge
