// Pushing under load and against owners that are busy, full, gone or leaving.
#include <catch2/catch_test_macros.hpp>
#include <map>

#include "tests/merge/written_maps.h"

namespace shufflefs::merge {
namespace {

using testing::node_name;
using testing::random_blocks;
using testing::TestCluster;

// Holds all pushes until the planner has cut everything for the owner into chunks.
struct Held {
  explicit Held(TestCluster& of) : cluster(of) { cluster.faults.hold = true; }
  // Of `maps` map outputs of the node with the blocks of kSizes.
  void release(std::size_t node, std::size_t owner, uint64_t maps) {
    const Placement placement(kShuffle, cluster.view(node).names(),
                              static_cast<uint32_t>(kSizes.size()));
    uint64_t expected = 0;
    for (uint32_t p = 0; p < kSizes.size(); ++p) {
      if (placement.owner(PartitionId{p}) == node_name(owner))
        expected += maps * random_blocks(0, kSizes)[p].size();
    }
    testing::run_until(cluster.runtime, [&] {
      for (const PushOwnerStatus& status : cluster.engine(node).push_owners()) {
        // The lengths of a block's head differ by a few bytes from map to map.
        if (status.owner == node_name(owner))
          return (status.queued_bytes + status.in_flight_bytes) * 100 >= expected * 99;
      }
      return false;
    });
    cluster.faults.hold = false;
  }
  TestCluster& cluster;
};

}  // namespace

TEST_CASE("small chunks of many map outputs travel together") {
  PushOptions push = TestCluster::quick();
  push.per_owner = 1;
  TestCluster cluster(2, push);
  cluster.start();
  Held held(cluster);
  Blocks all;
  for (uint64_t map = 0; map < 100; ++map) {
    all.push_back(random_blocks(map, kSizes));
    cluster.write_map(0, kShuffle, map, all.back());
  }
  held.release(0, 1, 100);
  cluster.settle(kShuffle, 100);
  CHECK(cluster.totals(0, kShuffle).sum.maps_settled == 100);
  CHECK(cluster.totals(0, kShuffle).sum.merged_blocks == 700);
  CHECK(cluster.faults.pushes <= 10);
  check_all(cluster, 1, all);
}

TEST_CASE("a small shuffle is not behind a huge one") {
  PushOptions push = TestCluster::quick();
  push.per_owner = 1;
  push.chunk_bytes = 64U << 10U;
  TestCluster cluster(2, push);
  cluster.start();
  Held held(cluster);
  const std::vector<std::string> blocks(8, std::string(30'000, 'x'));
  for (uint64_t map = 0; map < 60; ++map) cluster.write_map(0, kShuffle, map, blocks);
  const ShuffleKey small = *parse_shuffle_key("small/0");
  cluster.write_map(0, small, 0, blocks);
  // Cut in the order of the applications' turns: when all are cut the small one is too.
  testing::run_until(cluster.runtime, [&] {
    std::size_t chunks = 0;
    for (const PushOwnerStatus& owner : cluster.engine(0).push_owners())
      chunks += owner.owner == node_name(1) ? owner.queued_chunks : 0;
    return chunks >= 60 * 2;
  });
  cluster.faults.pushed.clear();
  cluster.faults.hold = false;
  cluster.settle(kShuffle, 60);
  cluster.settle(small, 1);
  const auto& order = cluster.faults.pushed;
  const auto first = std::ranges::find(order, small);
  CHECK(order.size() > 30);
  // At most one message of the huge one goes before each of the small one's.
  CHECK(first - order.begin() <= 2);
}

TEST_CASE("an owner that is busy is asked again when it said, and that is no failure") {
  TestCluster cluster(2);
  cluster.faults.busy[node_name(1)] = 20;  // far more than the retries
  cluster.start();
  const auto all = write_maps(cluster, 1, 5);
  cluster.settle(kShuffle, 5);
  CHECK(cluster.totals(0, kShuffle).sum.maps_settled == 5);
  CHECK(cluster.faults.busy[node_name(1)] == 0);
  CHECK(cluster.metrics(0).value("shufflefs_push_retries_total") == 0);
  CHECK(cluster.metrics(0).value("shufflefs_push_busy_answers_total") == 20);
  check_all(cluster, 1, all);
}

TEST_CASE("what an owner has no room for goes to the second choice") {
  TestCluster cluster(3);
  cluster.faults.full.insert(node_name(1));
  cluster.start();
  const auto all = write_maps(cluster, 1, 6);  // all on node 0
  cluster.settle(kShuffle, 6);
  const ShuffleTotals totals = cluster.totals(0, kShuffle);
  // Where the second choice is the origin itself there is nothing to gain.
  CHECK(totals.sum.maps_settled + totals.sum.maps_given_up == 6);
  for (const auto& [node, given_up] : totals.given_up)
    CHECK(given_up.reason.find("node2") != std::string::npos);
  uint64_t at_third = 0;
  const auto info = cluster.run(cluster.engine(2).local_node()->shuffle_info(kShuffle));
  REQUIRE(info);
  at_third = info->merged_blocks;
  CHECK(at_third > 0);
  CHECK(cluster.run(cluster.engine(1).local_node()->shuffle_info(kShuffle))->merged_blocks == 0);
  check_all(cluster, 2, all);
}

TEST_CASE("when an owner leaves the cluster its chunks go to the new owners") {
  TestCluster cluster(3);
  cluster.start();
  Held held(cluster);
  const auto all = write_maps(cluster, 1, 6);
  held.release(0, 2, 6);
  for (std::size_t i = 0; i < 2; ++i) cluster.view(i).remove(node_name(2));
  cluster.faults.down.insert(node_name(2));
  cluster.settle(kShuffle, 6);
  CHECK(cluster.totals(0, kShuffle).sum.maps_given_up == 0);
  check_all(cluster, 1, all);
}

TEST_CASE("an owner that does not answer is left alone, and status says why") {
  PushOptions push = TestCluster::quick();
  push.max_retries = 20;
  push.first_backoff = std::chrono::milliseconds(20);
  TestCluster cluster(2, push);
  cluster.faults.down.insert(node_name(1));
  cluster.start();
  const auto all = write_maps(cluster, 1, 50);
  testing::run_until(cluster.runtime, [&] {
    return cluster.metrics(0).value("shufflefs_push_left_alone_total") > 0;
  });
  const auto owners = cluster.engine(0).push_owners();
  const auto sick = std::ranges::find(owners, node_name(1), &PushOwnerStatus::owner);
  REQUIRE(sick != owners.end());
  CHECK_FALSE(sick->left_alone.empty());
  cluster.faults.down.clear();
  cluster.settle(kShuffle, 50);
  CHECK(cluster.totals(0, kShuffle).sum.maps_settled == 50);
  check_all(cluster, 1, all);
}

TEST_CASE("a removed map output's late pushes are refused, those of its id's next life are not") {
  TestCluster cluster(2);
  cluster.start();
  NodeApi& owner = *cluster.engine(1).local_node();
  const auto push = [&](uint64_t commit, std::string_view text) {
    PushRequest request{kShuffle, node_name(0), 0, {}, Buffer(text.size())};
    std::ranges::copy(std::as_bytes(std::span(text)), request.payload.data());
    request.parts.push_back({MapId{5},
                             {commit, tag_of(request.sender)},
                             {{PartitionId{0}, crc32c(request.payload.span()), text.size()}}});
    return cluster.run(owner.push(std::move(request)));
  };
  // Something else keeps the shuffle alive.
  cluster.write_map(1, kShuffle, 6, {"other"});
  cluster.settle(kShuffle, 1);
  REQUIRE(push(10, "old"));
  REQUIRE(
      cluster.run(owner.announce({node_name(0), {}, {{kShuffle, 0, {}, {{MapId{5}, 10}}}}, {}})));
  CHECK(push(10, "old").error().code == Code::kDropped);
  const auto again = push(11, "new");
  REQUIRE(again);
  CHECK(again->merged == 1);
}

TEST_CASE("with little memory everything is merged in the end, and nothing exceeds its share") {
  PushOptions push = TestCluster::quick();
  push.max_block_bytes = 8U << 20U;
  TestCluster cluster(3, push, std::chrono::milliseconds(30), MemoryBudget::kLeastBytes);
  cluster.start();
  constexpr uint64_t kMaps = 24;
  // 3 x 8 maps of 3 blocks of up to 3 MiB: several times what may be under way at a time.
  for (uint64_t map = 0; map < kMaps; ++map) {
    cluster.write_map(map % 3, kShuffle, map,
                      {std::string(3U << 20U, 'a'), std::string(1000, 'b'),
                       std::string(2U << 20U, 'c'), std::string(1U << 20U, 'd')});
  }
  uint64_t settled = 0;
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(120);
  while (settled < kMaps) {
    REQUIRE(std::chrono::steady_clock::now() < deadline);
    settled = cluster.totals(0, kShuffle).sum.maps_settled;
    for (std::size_t node = 0; node < 3; ++node) {
      for (const MemoryPurpose purpose : MemoryBudget::kPurposes) {
        const ByteBudget& share = cluster.memory(node).of(purpose);
        REQUIRE(share.used_bytes() <= share.total_bytes());
      }
    }
  }
  for (std::size_t node = 0; node < 3; ++node) CHECK(cluster.memory(node).used_bytes() == 0);
}

}  // namespace shufflefs::merge
