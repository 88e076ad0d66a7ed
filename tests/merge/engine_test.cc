#include "merge/engine.h"

#include <catch2/catch_test_macros.hpp>

#include "merge/partition_index.h"
#include "support/test_cluster.h"

namespace shufflefs::merge {
namespace {

using testing::TestCluster;
const ShuffleKey kShuffle = *parse_shuffle_key("app/0");

}  // namespace

TEST_CASE("after a restart everything that was committed and merged is there") {
  testing::TempDir dir;
  const auto io = make_posix_file_io();
  const auto live = [&](auto&& use) {
    AsioRuntime runtime(2);
    Metrics metrics;
    MemoryBudget memory(runtime, 64U << 20U);
    EngineOptions options;
    options.self = testing::node_name(0);
    options.data_dirs = {dir / "a", dir / "b"};
    options.push = TestCluster::quick();
    options.tell_before_answering = false;
    Engine engine(runtime, *io, memory, metrics, options);
    testing::FixedCluster view(options.self);
    view.add(options.self, engine.local_node());
    REQUIRE(engine.prepare());
    engine.start(view);
    use(runtime, engine);
    testing::run_task(runtime, engine.stop());
    runtime.join_disk_threads();
  };
  const auto settled = [&](AsioRuntime& runtime, Engine& engine) {
    const auto info = testing::run_task(runtime, engine.local_node()->shuffle_info(kShuffle));
    REQUIRE(info);
    return info->maps_settled;
  };
  live([&](AsioRuntime& runtime, Engine& engine) {
    const std::string place = *engine.commits().generic_directory(kShuffle, true);
    REQUIRE(io->make_directories(place + "/4"));
    const std::string zero = "zero";
    REQUIRE(replace_file(*io, place + "/4/0", std::as_bytes(std::span(zero))));
    REQUIRE(replace_file(*io, place + "/4/5", std::as_bytes(std::span(zero))));
    engine.commits().generic_appeared(kShuffle, "4");
    testing::run_until(runtime, [&] { return settled(runtime, engine) == 1; });
  });
  live([&](AsioRuntime& runtime, Engine& engine) {
    testing::run_until(runtime, [&] { return settled(runtime, engine) == 1; });
    const auto info = testing::run_task(runtime, engine.local_node()->shuffle_info(kShuffle));
    CHECK(info->merged_blocks == 2);
    CHECK(info->duplicate_blocks == 0);  // only asked for, not sent again
    CHECK(engine.local_shuffles() == std::vector{kShuffle});
    REQUIRE(testing::run_task(runtime, engine.catalog().drop(kShuffle.app, std::nullopt)));
  });
  live([&](AsioRuntime& runtime, Engine& engine) {
    CHECK(engine.local_shuffles().empty());
    CHECK(settled(runtime, engine) == 0);
  });
}

TEST_CASE("the index that the mount shows names offsets within the merged view") {
  TestCluster cluster(1);
  cluster.start();
  cluster.write_map(0, kShuffle, 3, {"abc"});
  cluster.write_map(0, kShuffle, 1, {"defgh"});
  cluster.settle(kShuffle, 2);
  const PartitionPlan plan =
      cluster.run(cluster.engine(0).catalog().merged_plan(kShuffle, PartitionId{0}));
  const auto parsed =
      parse_index(render_index_view(plan), kShuffle.shuffle, PartitionId{0}, 0, "view");
  REQUIRE(parsed);
  REQUIRE(parsed->records.size() == 2);
  const std::string text = *cluster.read(0, plan);
  for (const IndexRecord& record : parsed->records) {
    CHECK(text.substr(record.offset, record.length) == (record.map == MapId{3} ? "abc" : "defgh"));
    CHECK(record.crc ==
          crc32c(std::as_bytes(std::span(text).subspan(record.offset, record.length))));
  }
}

TEST_CASE("what is merged of an attempt is not shown if the later one has no bytes there") {
  TestCluster cluster(3);
  cluster.start();
  cluster.write_map(0, kShuffle, 1, {"abc", "first"});
  cluster.write_map(0, kShuffle, 2, {"def", "one"});
  cluster.settle(kShuffle, 2);
  cluster.write_map(1, kShuffle, 1, {"", "second"});
  for (std::size_t i = 0; i < 3; ++i) {
    PartitionPlan plan;
    testing::run_until(cluster.runtime, [&] {  // it has been told
      plan = cluster.run(cluster.engine(i).catalog().merged_plan(kShuffle, PartitionId{0}));
      return plan.blocks.size() == 1;
    });
    CHECK(plan.blocks.front().map == MapId{2});
    CHECK_FALSE(plan.whole_at);
    CHECK(*cluster.read(i, plan) == "def");
  }
}

}  // namespace shufflefs::merge
