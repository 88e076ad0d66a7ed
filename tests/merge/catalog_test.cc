// How the catalog asks, and how a partition is read, with nodes that answer by script.
#include "merge/catalog.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "base/crc32c.h"
#include "merge/partition_stream.h"
#include "merge/verify.h"
#include "support/run_task.h"
#include "support/temp_dir.h"
#include "tests/merge/scripted_node.h"

namespace shufflefs::merge {
namespace {

using Catch::Matchers::ContainsSubstring;
using shufflefs::testing::run_task;
using testing::ScriptedCluster;

const ShuffleKey kShuffle = *parse_shuffle_key("app/3");
constexpr PartitionId kPartition{0};
const std::string kBlock = "the block that was committed";

uint32_t crc_of(const std::string& bytes) { return crc32c(std::as_bytes(std::span(bytes))); }

struct Setup {
  explicit Setup(std::size_t nodes, Duration patience = std::chrono::milliseconds(30))
      : cluster(nodes), catalog(runtime, cluster, clock, placements, patience) {}
  ~Setup() {
    run_task(runtime, catalog.close());
    runtime.join_disk_threads();
  }
  Setup(const Setup&) = delete;
  Setup& operator=(const Setup&) = delete;

  // Map 1 with commit 5 of node1: merged at node2, and where it was written.
  void commit_and_merge() {
    const CommitId id{5, tag_of(ScriptedCluster::name(0))};
    PartitionInfo& own = cluster.at(0).info;
    own.known = true;
    own.partition_count = 1;
    own.own = {{MapId{1}, 5, kBlock.size()}};
    cluster.at(0).own_blocks[{MapId{1}, 5}] = kBlock;
    cluster.at(1).info.merged = {{MapId{1}, id, 0, kBlock.size(), crc_of(kBlock)}};
    cluster.at(1).merged_view = kBlock;
  }
  PartitionPlan plan() { return run_task(runtime, catalog.plan(kShuffle, kPartition)); }
  PartitionPlan plan_for_reading() {
    return run_task(runtime, catalog.plan_for_reading(kShuffle, kPartition));
  }
  Result<std::string> read(const PartitionPlan& plan) {
    StreamOptions options;
    options.lost_patience = std::chrono::milliseconds(30);
    const auto stream = std::make_shared<PartitionStream>(runtime, cluster, budget, replies,
                                                          metrics, options, plan);
    auto bytes = run_task(runtime, stream->read(0, 1000));
    run_task(runtime, stream->close());
    if (!bytes) return std::move(bytes).error();
    return std::string(reinterpret_cast<const char*>(bytes->data()), bytes->size());
  }

  AsioRuntime runtime{1};
  shufflefs::testing::TempDir dir;
  std::unique_ptr<FileIo> io = make_posix_file_io();
  LogicalClock clock{*io, dir / "clock"};
  ScriptedCluster cluster;
  PlacementCache placements{cluster};
  Catalog catalog;
  ByteBudget budget{runtime, 16U << 20U};
  ByteBudget replies{runtime, 16U << 20U};
  Metrics metrics;
};

}  // namespace

TEST_CASE("a reading waits for members to spread, once for each view that does not change",
          "[catalog]") {
  Setup setup(2);
  setup.commit_and_merge();
  setup.cluster.at(1).info.members = 77;
  CHECK_FALSE(setup.plan_for_reading().incomplete);
  CHECK(setup.cluster.at(1).questions > 1);
  setup.cluster.at(1).questions = 0;
  CHECK_FALSE(setup.plan_for_reading().incomplete);
  CHECK(setup.cluster.at(1).questions == 1);
  setup.cluster.at(1).info.members = 78;  // news
  (void)setup.plan_for_reading();
  CHECK(setup.cluster.at(1).questions > 2);
  setup.cluster.at(1).questions = 0;
  setup.cluster.at(1).info.members = setup.cluster.view_hash();
  (void)setup.plan_for_reading();
  CHECK(setup.cluster.at(1).questions == 1);
}

TEST_CASE("what no node knows is not there, unless a node does not answer", "[catalog]") {
  Setup setup(3);
  CHECK_FALSE(setup.plan_for_reading().known);
  CHECK_FALSE(setup.plan_for_reading().incomplete);
  CHECK_FALSE(run_task(setup.runtime, setup.catalog.merged_plan(kShuffle, kPartition)).incomplete);
  setup.cluster.at(2).down = true;
  REQUIRE(setup.plan_for_reading().incomplete);
  CHECK_THAT(*setup.plan_for_reading().incomplete, ContainsSubstring("node3"));
  const PartitionPlan merged =
      run_task(setup.runtime, setup.catalog.merged_plan(kShuffle, kPartition));
  CHECK_FALSE(merged.known);
  CHECK(merged.incomplete);
}

TEST_CASE("a drop that another node's overtakes is asked for again with a larger number",
          "[catalog]") {
  Setup setup(3);
  REQUIRE(setup.clock.load({}));
  setup.clock.observe(1000);
  setup.cluster.at(1).known_life = 10'000'000;  // of a drop by node2, which node1 has not heard of
  REQUIRE(run_task(setup.runtime, setup.catalog.drop(kShuffle.app, kShuffle.shuffle)));
  const std::vector<uint64_t> asked = setup.cluster.at(1).dropped;
  REQUIRE(asked.size() == 2);
  CHECK(asked[0] < 10'000'000);
  CHECK(asked[1] > 10'000'000);
  CHECK(setup.cluster.at(2).dropped == asked);
}

TEST_CASE("a drop that other nodes have told already is done at once", "[catalog]") {
  Setup setup(3);
  REQUIRE(setup.clock.load({}));
  setup.clock.observe(1000);
  LogicalClock same(*setup.io, "");
  same.observe(1000);
  setup.cluster.at(1).known_life = same.tick_for_drop(tag_of(setup.cluster.self()));
  REQUIRE(run_task(setup.runtime, setup.catalog.drop(kShuffle.app, kShuffle.shuffle)));
  CHECK(setup.cluster.at(1).dropped == std::vector<uint64_t>{setup.cluster.at(1).known_life});
}

TEST_CASE("a drop begins a life that is later than all before, on every node", "[catalog]") {
  Setup setup(3);
  REQUIRE(setup.clock.load({}));
  setup.clock.observe(1000);
  REQUIRE(run_task(setup.runtime, setup.catalog.drop(kShuffle.app, kShuffle.shuffle)));
  setup.cluster.at(2).down = true;
  const Status again = run_task(setup.runtime, setup.catalog.drop(kShuffle.app, std::nullopt));
  REQUIRE_FALSE(again);
  CHECK_THAT(again.error().message,
             ContainsSubstring("node3") && ContainsSubstring("when they are back"));
  const std::vector<uint64_t> asked = setup.cluster.at(1).dropped;
  REQUIRE(asked.size() == 2);
  CHECK(asked[0] > 1000);
  CHECK(asked[1] > asked[0]);
  CHECK(setup.cluster.at(2).dropped == std::vector<uint64_t>{asked[0]});
  LogicalClock next_life(*setup.io, setup.dir / "clock");
  REQUIRE(next_life.load({}));
  CHECK(next_life.now() >= asked[1]);
}

TEST_CASE("a damaged merged copy is replaced by the original, if that is the same", "[stream]") {
  Setup setup(2);
  setup.commit_and_merge();
  const PartitionPlan plan = setup.plan();
  REQUIRE(plan.blocks.size() == 1);
  REQUIRE(plan.blocks[0].merged);
  CHECK(setup.read(plan).value() == kBlock);
  setup.cluster.at(1).merged_view[3] ^= 1;
  CHECK(setup.read(plan).value() == kBlock);
  setup.cluster.at(0).own_blocks[{MapId{1}, 5}][7] ^= 1;
  CHECK(setup.read(plan).error().code == Code::kCorruptData);
}

TEST_CASE("a block of another commit is never taken for the planned one", "[stream]") {
  Setup setup(3);
  setup.commit_and_merge();
  const PartitionPlan plan = setup.plan();
  PartitionPlan without_origin = plan;  // as a merged plan leaves it
  without_origin.blocks[0].origin.reset();
  setup.cluster.at(1).down = true;
  CHECK(setup.read(plan).value() == kBlock);
  CHECK(setup.read(without_origin).value() == kBlock);
  // Written anew at its origin: same length.
  auto& own = setup.cluster.at(0).own_blocks;
  own[{MapId{1}, 9}] = std::string(kBlock.size(), 'x');
  own.erase({MapId{1}, 5});
  CHECK(setup.read(plan).error().code == Code::kBlockLost);
  // And merged elsewhere.
  const std::string copy = own[{MapId{1}, 9}];
  setup.cluster.at(2).merged_view = copy;
  setup.cluster.at(2).info.merged = {
      {MapId{1}, {9, plan.blocks[0].id.origin}, 0, copy.size(), crc_of(copy)}};
  PartitionPlan unmerged = plan;
  unmerged.blocks[0].merged.reset();
  CHECK_FALSE(setup.read(unmerged));
  setup.cluster.at(2).merged_view = kBlock;
  setup.cluster.at(2).info.merged = {
      {MapId{1}, plan.blocks[0].id, 0, kBlock.size(), crc_of(kBlock)}};
  CHECK(setup.read(unmerged).value() == kBlock);
}

TEST_CASE("what is missing while it is read is an I/O error, never a file that is not there",
          "[stream]") {
  Setup setup(2);
  setup.commit_and_merge();
  const PartitionPlan plan = setup.plan();
  const Error gone =
      GENERATE(Error{Code::kNotFound, 0, "no such map output"}, Error{Code::kIo, ENOENT, "gone"});
  for (std::size_t node = 0; node < 2; ++node) setup.cluster.at(node).read_error = gone;
  const auto text = setup.read(plan);
  REQUIRE_FALSE(text);
  CHECK(text.error().code == Code::kBlockLost);
  CHECK(text.error().fuse_errno() == EIO);
}

TEST_CASE("verify names what is lost at its origin", "[verify]") {
  Setup setup(2);
  setup.commit_and_merge();
  const auto verify = [&](const PartitionPlan& plan) {
    return run_task(setup.runtime, verify_blocks(setup.runtime, setup.cluster, plan, 0, {}));
  };
  const PartitionPlan before = setup.plan();
  CHECK(verify(before).findings.empty());
  CHECK(verify(before).origins == 1);
  CHECK(verify(before).lost_at_origin == 0);
  setup.cluster.at(0).info.own[0] = {MapId{1}, 5, 0, true};
  setup.cluster.at(0).own_blocks.clear();
  // Whether the plan knows it already or not.
  for (const PartitionPlan& plan : {before, setup.plan()}) {
    const VerifyReport report = verify(plan);
    CHECK(report.merged == 1);
    CHECK(report.lost_at_origin == 1);
    REQUIRE(report.findings.size() == 1);
    CHECK(report.findings[0].map == MapId{1});
    CHECK(report.findings[0].node == ScriptedCluster::name(0));
    CHECK(report.findings[0].code == Code::kBlockLost);
    CHECK_FALSE(report.findings[0].is_merged);
  }
}

}  // namespace shufflefs::merge
