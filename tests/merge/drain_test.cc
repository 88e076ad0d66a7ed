#include "merge/drain.h"

#include <catch2/catch_test_macros.hpp>

#include "tests/merge/written_maps.h"

namespace shufflefs::merge {
namespace {

using testing::node_name;
using testing::TestCluster;

// Nothing waits any more, whether it may go or not.
DrainStatus drained(TestCluster& cluster, std::size_t node) {
  testing::run_until(cluster.runtime,
                     [&] { return cluster.engine(node).drain_status().waiting == 0; });
  return cluster.engine(node).drain_status();
}

void until_safe(TestCluster& cluster, std::size_t node) {
  testing::run_until(cluster.runtime,
                     [&] { return cluster.engine(node).drain_status().safe_to_stop; });
}

void stop(TestCluster& cluster, std::size_t node) { cluster.faults.down.insert(node_name(node)); }

// And the members are told.
void leave(TestCluster& cluster, std::size_t node, std::size_t nodes) {
  stop(cluster, node);
  for (std::size_t other = 0; other < nodes; ++other) {
    if (other != node) cluster.view(other).remove(node_name(node));
  }
}

// Of one block, as another node would push it.
Status push_to(TestCluster& cluster, std::size_t node) {
  PushRequest request{kShuffle, node_name(node == 0 ? 1 : 0), 0, {}, Buffer(1)};
  request.payload.data()[0] = std::byte{1};
  request.parts.push_back({MapId{99},
                           {1, tag_of(request.sender)},
                           {{PartitionId{0}, crc32c(request.payload.span()), 1}}});
  auto reply = cluster.run(cluster.engine(node).local_node()->push(std::move(request)));
  if (!reply) return reply.error();
  return ok();
}

}  // namespace

TEST_CASE("a drained node can go: every block of its map outputs is elsewhere") {
  TestCluster cluster(3);
  cluster.start();
  const auto all = write_maps(cluster, 3, 9);
  cluster.settle(kShuffle, 9);
  CHECK_FALSE(cluster.engine(0).drain_status().safe_to_stop);
  cluster.engine(0).drain(true);
  until_safe(cluster, 0);
  CHECK(cluster.engine(0).drain_status().map_outputs == 3);
  CHECK(push_to(cluster, 0).error().code == Code::kNoSpace);  // it takes nothing more
  stop(cluster, 0);
  check_all(cluster, 1, all);
  check_all(cluster, 2, all);
}

TEST_CASE("nodes drained one after the other: what the first one has left behind moves on") {
  TestCluster cluster(3);
  cluster.start();
  const auto all = write_maps(cluster, 1, 6);  // all on node 0
  cluster.settle(kShuffle, 6);
  for (const std::size_t leaving : {0U, 1U}) {
    cluster.engine(leaving).drain(true);
    until_safe(cluster, leaving);
    leave(cluster, leaving, 3);
  }
  CHECK(cluster.engine(0).drain_status().orphans_moved == 0);
  CHECK(cluster.engine(1).drain_status().orphans_moved > 0);
  check_all(cluster, 2, all);
  // The last one has nobody to bring anything to, and says so.
  cluster.engine(2).drain(true);
  const DrainStatus status = drained(cluster, 2);
  CHECK_FALSE(status.safe_to_stop);
  REQUIRE(status.given_up.size() == 1);
  CHECK(status.given_up[0].reason.find("no other node") != std::string::npos);
  CHECK(status.given_up[0].blocks == 6 * 7);
}

TEST_CASE("both candidates of a partition are drained at the same time: its blocks go elsewhere") {
  TestCluster cluster(4);
  cluster.start();
  const auto all = write_maps(cluster, 4, 12);
  cluster.settle(kShuffle, 12);
  const Placement placement(kShuffle, cluster.view(0).names(),
                            static_cast<uint32_t>(kSizes.size()));
  const PartitionId partition{4};
  std::vector<std::size_t> leaving;
  std::vector<std::size_t> staying;
  for (std::size_t node = 0; node < 4; ++node)
    (placement.is_candidate(node_name(node), partition) ? leaving : staying).push_back(node);
  for (const std::size_t node : leaving) cluster.engine(node).drain(true);
  for (const std::size_t node : leaving) until_safe(cluster, node);
  for (const std::size_t node : leaving) leave(cluster, node, 4);
  for (const std::size_t node : staying) check_all(cluster, node, all);
}

TEST_CASE("a node that goes while others are down brings its blocks past them") {
  TestCluster cluster(4);
  cluster.start();
  const auto all = write_maps(cluster, 1, 6);  // all on node 0
  cluster.settle(kShuffle, 6);
  for (const std::size_t dead : {1U, 2U}) stop(cluster, dead);  // and stay on the member list
  cluster.engine(0).drain(true);
  until_safe(cluster, 0);
  // As long as candidates are silent nobody knows what they alone have heard of.
  for (const std::size_t gone : {0U, 1U, 2U}) leave(cluster, gone, 4);
  check_all(cluster, 3, all);
}

TEST_CASE("the later one of two drained nodes moves on what the earlier one has brought to it") {
  TestCluster cluster(3);
  cluster.start();
  const auto all = write_maps(cluster, 1, 6);  // all on node 0
  cluster.settle(kShuffle, 6);
  cluster.engine(0).drain(true);
  until_safe(cluster, 0);
  // Node 0 is still there and answers: that it is going is seen by its taking nothing.
  cluster.engine(1).drain(true);
  until_safe(cluster, 1);
  CHECK(cluster.engine(1).drain_status().orphans_moved > 0);
  for (const std::size_t leaving : {0U, 1U}) leave(cluster, leaving, 3);
  check_all(cluster, 2, all);
}

TEST_CASE("what is merged here stays as long as its origin does") {
  TestCluster cluster(3);
  cluster.start();
  write_maps(cluster, 1, 6);  // all on node 0
  cluster.settle(kShuffle, 6);
  cluster.engine(1).drain(true);
  until_safe(cluster, 1);
  CHECK(cluster.engine(1).drain_status().orphans_moved == 0);
}

TEST_CASE("a block that a node took and lost again is brought once more before it is safe") {
  TestCluster cluster(3);
  cluster.start();
  const auto all = write_maps(cluster, 1, 6);  // all on node 0
  cluster.settle(kShuffle, 6);
  const auto drain_and_leave = [&](std::size_t node) {
    for (std::size_t other = node + 1; other < 3; ++other)
      cluster.faults.forgetful[node_name(other)] = 2;
    cluster.engine(node).drain(true);
    until_safe(cluster, node);
    leave(cluster, node, 3);
    check_all(cluster, 2, all);
  };
  drain_and_leave(0);  // its map outputs
  drain_and_leave(1);  // what it has merged of a node that has gone
  CHECK(cluster.faults.forgetful[node_name(2)] == 0);
}

TEST_CASE("a map output that is committed during the drain is brought away as well") {
  TestCluster cluster(2);
  cluster.start();
  cluster.engine(0).drain(true);
  until_safe(cluster, 0);
  cluster.faults.hold = true;
  const auto all = write_maps(cluster, 1, 2);
  CHECK_FALSE(cluster.engine(0).drain_status().safe_to_stop);
  cluster.faults.forgetful[node_name(1)] = 1;
  cluster.faults.hold = false;
  until_safe(cluster, 0);
  leave(cluster, 0, 2);
  check_all(cluster, 1, all);
}

TEST_CASE("a drain that leaves something behind says what, and is not safe") {
  PushOptions push = TestCluster::quick();
  push.max_block_bytes = 6000;
  TestCluster cluster(2, push);
  cluster.start();
  write_maps(cluster, 1, 2);
  cluster.settle(kShuffle, 2);
  SECTION("blocks that are too large") {
    cluster.engine(0).drain(true);
    const DrainStatus status = drained(cluster, 0);
    CHECK_FALSE(status.safe_to_stop);
    CHECK(status.blocks_left_home == 4);
    CHECK(status.bytes_left_home == 2 * (30'000 + 12'345));
    CHECK(status.given_up.empty());
  }
  SECTION("the other node is down") {
    stop(cluster, 1);
    cluster.engine(0).drain(true);
    const DrainStatus status = drained(cluster, 0);
    CHECK_FALSE(status.safe_to_stop);
    REQUIRE_FALSE(status.given_up.empty());
    CHECK(status.given_up[0].reason.find("node2") != std::string::npos);
  }
}

TEST_CASE("a node whose drain has ended takes pushes again") {
  TestCluster cluster(2);
  cluster.start();
  cluster.engine(0).drain(true);
  until_safe(cluster, 0);
  CHECK(push_to(cluster, 0).error().code == Code::kNoSpace);
  cluster.engine(0).drain(false);
  CHECK(push_to(cluster, 0));
  CHECK_FALSE(cluster.engine(0).drain_status().draining);
  CHECK_FALSE(cluster.engine(0).drain_status().safe_to_stop);
}

}  // namespace shufflefs::merge
