// Whether verify tells a right copy from a wrong, a short and a missing one.
#include "merge/verify.h"

#include <catch2/catch_test_macros.hpp>

#include "support/test_cluster.h"

namespace shufflefs::merge {
namespace {

using testing::node_name;
using testing::random_blocks;
using testing::TestCluster;
const ShuffleKey kShuffle = *parse_shuffle_key("app/0");

VerifyReport verify(TestCluster& cluster, const PartitionPlan& plan, uint64_t first = 0,
                    VerifyLimits limits = {}) {
  return cluster.run(verify_blocks(cluster.runtime, cluster.view(0), plan, first, limits));
}

// Turns a bit of a map output's data file.
void damage_origin(TestCluster& cluster, std::size_t node, uint64_t map) {
  const std::string place = *cluster.engine(node).commits().generic_directory(kShuffle, false);
  const auto file =
      *cluster.io().open(fmt::format("{}/{}.data", place, map), OpenMode::kWriteCreate);
  std::array<std::byte, 1> byte{};
  REQUIRE(file->read_at(20, byte));
  byte[0] ^= std::byte{8};
  REQUIRE(file->write_at(20, byte));
}

}  // namespace

TEST_CASE(
    "verify: every byte of both copies is looked at, in as many steps as the limits ask for") {
  TestCluster cluster(2);
  cluster.start();
  for (uint64_t map = 0; map < 6; ++map)
    cluster.write_map(map % 2, kShuffle, map, random_blocks(map, {3'000'000 + map}));
  cluster.settle(kShuffle, 6);
  const PartitionPlan plan = cluster.plan(0, kShuffle, 0);
  const VerifyReport whole = verify(cluster, plan);
  CHECK(whole.next_block == 6);
  CHECK(whole.merged == 6);
  CHECK(whole.origins == 6);
  CHECK(whole.bytes == 2 * plan.bytes);
  CHECK(whole.findings.empty());

  uint64_t steps = 0;
  uint64_t merged = 0;
  for (uint64_t next = 0; next < plan.blocks.size(); ++steps) {
    const VerifyReport step = verify(cluster, plan, next, {.bytes = 1});
    CHECK(step.blocks == 1);
    merged += step.merged;
    next = step.next_block;
  }
  CHECK(steps == 6);
  CHECK(merged == 6);
}

TEST_CASE("verify: a wrong copy is named, and which of the two it is") {
  TestCluster cluster(2);
  cluster.start();
  for (uint64_t map = 0; map < 4; ++map)
    cluster.write_map(0, kShuffle, map, random_blocks(map, {1000 + map}));
  cluster.settle(kShuffle, 4);
  const PartitionPlan plan = cluster.plan(0, kShuffle, 0);
  REQUIRE(plan.blocks.front().merged);

  SECTION("at the origin") {
    damage_origin(cluster, 0, 2);
    const VerifyReport report = verify(cluster, plan);
    CHECK(report.merged == 4);
    CHECK(report.origins == 3);
    REQUIRE(report.findings.size() == 1);
    CHECK(report.findings[0].map == MapId{2});
    CHECK_FALSE(report.findings[0].is_merged);
    CHECK(report.findings[0].node == node_name(0));
    CHECK(report.findings[0].code == Code::kCorruptData);
  }
  SECTION("where it was merged") {
    // Only what comes over a link is damaged: look from the other side.
    const NodeName holder = plan.blocks.front().merged->holder;
    const std::size_t viewer = holder == node_name(0) ? 1 : 0;
    cluster.faults.damage_reads = {holder};
    const VerifyReport report =
        cluster.run(verify_blocks(cluster.runtime, cluster.view(viewer), plan, 0, VerifyLimits{}));
    CHECK(report.merged == 0);
    CHECK(report.origins == 4);
    REQUIRE(report.findings.size() == 4);
    CHECK(report.findings[3].is_merged);
    CHECK(report.findings[3].node == holder);
    CHECK(report.findings[3].offset == plan.blocks[3].merged->view_offset);
  }
  SECTION("that cannot be read") {
    const std::string place = *cluster.engine(0).commits().generic_directory(kShuffle, false);
    REQUIRE(cluster.io().remove_file(place + "/1.data"));
    const VerifyReport report = verify(cluster, plan);
    REQUIRE(report.findings.size() == 1);
    CHECK(report.findings[0].map == MapId{1});
    CHECK(report.findings[0].sys_errno == ENOENT);
  }
}

TEST_CASE("verify: an origin that is down is counted and no fault of the copy") {
  TestCluster cluster(3);
  cluster.start();
  for (uint64_t map = 0; map < 3; ++map)
    cluster.write_map(2, kShuffle, map, random_blocks(map, {500, 500, 500, 500, 500, 500}));
  cluster.settle(kShuffle, 3);
  cluster.faults.down = {node_name(2)};
  uint64_t gone = 0;
  for (uint32_t partition = 0; partition < 6; ++partition) {
    const PartitionPlan plan = cluster.plan(0, kShuffle, partition);
    const VerifyReport report = verify(cluster, plan);
    CHECK(report.findings.empty());
    CHECK(report.origins_gone == plan.blocks.size());
    gone += report.origins_gone;
  }
  CHECK(gone > 0);
}

TEST_CASE("verify: blocks that were not merged are read where they were written") {
  auto push = TestCluster::quick();
  push.enabled = false;
  TestCluster cluster(2, push);
  cluster.start();
  cluster.write_map(1, kShuffle, 1, random_blocks(1, {3'000'000, 5}));
  cluster.settle(kShuffle, 1);
  for (const uint32_t partition : {0U, 1U}) {
    const VerifyReport report = verify(cluster, cluster.plan(0, kShuffle, partition));
    CHECK(report.merged == 0);
    CHECK(report.origins == 1);
    CHECK(report.findings.empty());
  }
}

}  // namespace shufflefs::merge
