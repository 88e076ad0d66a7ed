// Pushing and merging over several nodes, without a network.
#include <catch2/catch_test_macros.hpp>
#include <map>

#include "tests/merge/written_maps.h"

namespace shufflefs::merge {
namespace {

using testing::node_name;
using testing::random_blocks;
using testing::TestCluster;

}  // namespace

TEST_CASE(
    "every block of every map output is merged at its partition's owner and read on every node") {
  TestCluster cluster(3);
  cluster.start();
  const auto all = write_maps(cluster, 3, 20);
  cluster.settle(kShuffle, 20);
  const ShuffleTotals totals = cluster.totals(1, kShuffle);
  CHECK(totals.sum.maps_settled == 20);
  CHECK(totals.sum.merged_partitions == 7);
  CHECK(totals.sum.merged_blocks == 140);
  CHECK(totals.sum.merged_bytes == totals.sum.bytes);
  for (std::size_t node = 0; node < 3; ++node) {
    for (uint32_t p = 0; p < kSizes.size(); ++p) {
      const PartitionPlan plan = cluster.plan(node, kShuffle, p);
      CHECK(plan.maps == 20);
      CHECK(plan.maps_merged == 20);
      if (kSizes[p] > 0) CHECK(plan.whole_at == plan.owner);
      check_partition(cluster, node, p, all);
    }
  }
}

TEST_CASE("with pushing switched off everything is read from its origin") {
  PushOptions off = TestCluster::quick();
  off.enabled = false;
  TestCluster cluster(3, off);
  cluster.start();
  const auto all = write_maps(cluster, 3, 7);
  cluster.settle(kShuffle, 7);
  CHECK(cluster.totals(0, kShuffle).sum.maps_unpushed == 7);
  CHECK(cluster.totals(0, kShuffle).sum.merged_blocks == 0);
  for (uint32_t p = 0; p < kSizes.size(); ++p) check_partition(cluster, p % 3, p, all);
}

TEST_CASE("pushes to a node that is down are given up with the reason, and nothing is missing") {
  TestCluster cluster(3);
  cluster.faults.down.insert(node_name(2));
  cluster.start();
  const auto all = write_maps(cluster, 2, 10);  // nodes 0 and 1 only
  cluster.settle(kShuffle, 10);
  const ShuffleTotals totals = cluster.totals(0, kShuffle);
  CHECK(totals.sum.maps_given_up == 10);
  REQUIRE_FALSE(totals.given_up.empty());
  CHECK(totals.given_up.front().second.reason.find("node3") != std::string::npos);
  REQUIRE(totals.unreachable.size() == 1);
  for (uint32_t p = 0; p < kSizes.size(); ++p) check_partition(cluster, p % 2, p, all);
}

TEST_CASE("blocks above the limit stay at home and are read from there") {
  PushOptions push = TestCluster::quick();
  push.max_block_bytes = 6000;
  TestCluster cluster(2, push);
  cluster.start();
  const auto all = write_maps(cluster, 2, 4);
  cluster.settle(kShuffle, 4);
  const ShuffleTotals totals = cluster.totals(0, kShuffle);
  CHECK(totals.sum.maps_settled == 4);
  CHECK(totals.sum.blocks_left_home == 8);
  CHECK(totals.sum.bytes_left_home == 4 * (30'000 + 12'345));
  for (uint32_t p = 0; p < kSizes.size(); ++p) check_partition(cluster, 0, p, all);
}

TEST_CASE("what is damaged on the way is not merged") {
  TestCluster cluster(2);
  cluster.faults.damage_pushes = true;
  cluster.start();
  const auto all = write_maps(cluster, 2, 4);
  cluster.settle(kShuffle, 4);
  CHECK(cluster.totals(0, kShuffle).sum.maps_given_up == 4);
  CHECK(cluster.metrics(0).value("shufflefs_push_retries_total") > 0);
  for (uint32_t p = 0; p < kSizes.size(); ++p) check_partition(cluster, 1, p, all);
}

TEST_CASE("a push that is repeated is acknowledged and dropped") {
  TestCluster cluster(1);
  cluster.start();
  const std::string block = "some bytes";
  for (int i = 0; i < 3; ++i) {
    PushRequest request{kShuffle, node_name(0), 0, {}, Buffer(block.size())};
    std::copy_n(reinterpret_cast<const std::byte*>(block.data()), block.size(),
                request.payload.data());
    request.parts.push_back({MapId{1},
                             {1, tag_of(request.sender)},
                             {{PartitionId{3}, crc32c(request.payload.span()), block.size()}}});
    const auto reply = cluster.run(cluster.engine(0).local_node()->push(std::move(request)));
    REQUIRE(reply);
    CHECK(reply->merged == (i == 0 ? 1U : 0U));
    CHECK(reply->duplicates == (i == 0 ? 0U : 1U));
  }
}

TEST_CASE("the loss of an origin after the push loses nothing, before the push it is noticed") {
  TestCluster cluster(3);
  cluster.start();
  const auto all = write_maps(cluster, 3, 9);
  cluster.settle(kShuffle, 9);
  // Each block exists at its origin and its owner: with one node gone every partition whose owner
  // lives is whole.
  for (std::size_t dead = 0; dead < 3; ++dead) {
    cluster.faults.down = {node_name(dead)};
    const std::size_t reader = (dead + 1) % 3;
    for (uint32_t p = 0; p < kSizes.size(); ++p) {
      const PartitionPlan plan = cluster.plan(reader, kShuffle, p);
      if (kSizes[p] == 0 || plan.owner != node_name(dead)) {
        check_partition(cluster, reader, p, all);
        continue;
      }
      // The owner is dead, and so is the origin of its own maps: those blocks are lost, and that
      // must be an error.
      REQUIRE(plan.incomplete);
      const auto text = cluster.read(reader, plan);
      REQUIRE_FALSE(text);
      CHECK(text.error().code == Code::kBlockLost);
    }
  }
}

TEST_CASE("a dropped shuffle is gone everywhere, and its name can be used again") {
  TestCluster cluster(3);
  cluster.start();
  write_maps(cluster, 3, 6);
  cluster.settle(kShuffle, 6);
  REQUIRE(cluster.run(cluster.engine(1).catalog().drop(kShuffle.app, kShuffle.shuffle)));
  CHECK(cluster.run(cluster.engine(2).catalog().shuffles()).empty());
  CHECK(cluster.plan(0, kShuffle, 2).blocks.empty());
  const std::vector<std::string> blocks = {"new", "", "life"};
  cluster.write_map(2, kShuffle, 0, blocks);
  cluster.settle(kShuffle, 1);
  CHECK(cluster.totals(0, kShuffle).sum.maps_settled == 1);
  CHECK(*cluster.read(0, cluster.plan(0, kShuffle, 2)) == "life");
}

TEST_CASE("a drop that comes twice takes nothing that has been written since") {
  TestCluster cluster(2);
  cluster.start();
  cluster.write_map(0, kShuffle, 1, {"old"});
  cluster.settle(kShuffle, 1);
  const auto drop = [&](std::size_t node) {
    return cluster.engine(node).local_node()->drop(kShuffle.app, kShuffle.shuffle, 1ULL << 60U);
  };
  REQUIRE(cluster.run(drop(0)));
  REQUIRE(cluster.run(drop(1)));
  cluster.write_map(0, kShuffle, 2, {"new"});
  cluster.settle(kShuffle, 1);
  for (std::size_t node = 0; node < 2; ++node) REQUIRE(cluster.run(drop(node)));
  const PartitionPlan plan = cluster.plan(0, kShuffle, 0);
  CHECK(plan.maps_merged == 1);
  CHECK(*cluster.read(1, plan) == "new");
}

TEST_CASE(
    "a late push of a dropped shuffle is refused, a newer one tells of a drop that was missed") {
  TestCluster cluster(2);
  cluster.start();
  cluster.write_map(0, kShuffle, 1, {"old"});
  cluster.settle(kShuffle, 1);
  cluster.faults.down.insert(node_name(1));
  CHECK_FALSE(cluster.run(cluster.engine(0).catalog().drop(kShuffle.app, std::nullopt)));
  cluster.faults.down.clear();
  const auto push = [&](uint64_t map, uint64_t life) {
    PushRequest request{kShuffle, node_name(0), life, {}, Buffer(3)};
    std::copy_n(reinterpret_cast<const std::byte*>("abc"), 3, request.payload.data());
    request.parts.push_back({static_cast<MapId>(map),
                             {1, tag_of(request.sender)},
                             {{PartitionId{0}, crc32c(request.payload.span()), 3}}});
    return cluster.run(cluster.engine(0).local_node()->push(std::move(request)));
  };
  CHECK(push(7, 0).error().code == Code::kDropped);
  CHECK(push(8, UINT64_MAX - 1));
  CHECK(push(9, 1000).error().code == Code::kDropped);
}

TEST_CASE("what its origin knows to be replaced is not pushed to an owner that does not know it") {
  TestCluster cluster(2);
  cluster.start();
  cluster.write_map(0, kShuffle, 1, {"one", "two", "three", "four"});
  cluster.settle(kShuffle, 1);
  const uint64_t commit = cluster.plan(0, kShuffle, 0).blocks.front().id.commit;
  AnnounceRequest later;
  later.origin = node_name(1);
  later.committed.push_back({kShuffle, MapId{1}, commit + 1000, 0, 4, {}, {}});
  REQUIRE(cluster.run(cluster.engine(0).local_node()->announce(std::move(later))));
  const std::size_t before = cluster.faults.pushes;
  cluster.view(0).restarted(node_name(1));
  testing::run_until(cluster.runtime, [&] {
    return cluster.metrics(0).value("shufflefs_push_given_up_chunks_total", "dropped") > 0;
  });
  CHECK(cluster.faults.pushes == before);
}

TEST_CASE("when the last map output of a shuffle is removed its merged partitions go too") {
  TestCluster cluster(2);
  cluster.start();
  cluster.write_map(0, kShuffle, 1, {"one", "two"});
  cluster.write_map(1, kShuffle, 2, {"three", "four"});
  cluster.settle(kShuffle, 2);
  for (const auto& [node, map] : std::map<std::size_t, std::string>{{0, "1"}, {1, "2"}}) {
    const std::string place = *cluster.engine(node).commits().generic_directory(kShuffle, false);
    REQUIRE(cluster.io().remove_file(place + "/" + map + ".data"));
    REQUIRE(cluster.io().remove_file(place + "/" + map + ".index"));
    cluster.engine(node).commits().generic_removed(kShuffle, map + ".data");
  }
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (!cluster.run(cluster.engine(0).catalog().shuffles()).empty()) {
    REQUIRE(std::chrono::steady_clock::now() < deadline);
  }
}

}  // namespace shufflefs::merge
