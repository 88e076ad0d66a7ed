// What a scan finds, and what is said of it meanwhile: a node answers for itself only when each of
// its disks has been read to the end.
#include <sys/xattr.h>

#include <catch2/catch_test_macros.hpp>
#include <functional>

#include "merge/committer.h"
#include "support/faulty_io.h"
#include "support/test_cluster.h"

namespace shufflefs::merge {
namespace {

const ShuffleKey kShuffle = *parse_shuffle_key("app/1");
const NodeName kSelf = testing::node_name(0);

struct World {
  struct Node {
    explicit Node(World& world)
        : clock(world.io, world.first + "/clock"),
          log(world.io, world.first + "/table", clock),
          table(world.io, log, clock, kSelf, world.first + "/heard", 1U << 20U),
          committer({world.runtime,
                     world.io,
                     world.metrics,
                     table,
                     world.trash,
                     {world.first, world.second},
                     [&world](const MapOutputRef&) { ++world.committed; },
                     [&world](const MapOutputRef&) { ++world.ended; }}) {
      REQUIRE(clock.load(WallTime(std::chrono::milliseconds(1))));
      REQUIRE(table.load());
    }
    LogicalClock clock;
    TableLog log;
    ShuffleTable table;
    Committer committer;
  };

  World() {
    for (const std::string& disk : {first, second}) {
      REQUIRE(io.make_directories(disk + "/local/blockmgr"));
      REQUIRE(io.make_directories(disk + "/maps"));
      REQUIRE(trash.add_disk(disk));
      REQUIRE(::setxattr((disk + "/local").c_str(), kAppAttribute, "app", 3, 0) == 0);
    }
    restart();
  }
  ~World() {
    node.reset();
    runtime.join_disk_threads();
  }
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  void restart() {
    node.reset();
    node = std::make_unique<Node>(*this);
    committed = 0;
  }
  Committer& committer() { return node->committer; }
  ShuffleTable& table() { return node->table; }
  [[nodiscard]] std::string incomplete() { return committer().incomplete(); }
  void write(const std::string& path, std::string_view text) {
    REQUIRE(replace_file(io, path, std::as_bytes(std::span(text))));
  }
  // A map output as Spark leaves it behind.
  std::string spark(const std::string& disk, uint64_t map) {
    std::string base = fmt::format("{}/local/blockmgr/shuffle_1_{}_0", disk, map);
    write(base + ".data", "abc");
    REQUIRE(replace_file(io, base + ".index", make_spark_index(std::vector<uint64_t>{1, 2})));
    return base;
  }
  std::string directory_output(uint64_t map) {
    std::string path = *committer().generic_directory(kShuffle, true) + "/" + std::to_string(map);
    REQUIRE(io.make_directories(path));
    write(path + "/0", "zero");
    write(path + "/3", "three");
    committer().generic_appeared(kShuffle, std::to_string(map));
    return path;
  }

  testing::TempDir dir;
  testing::FaultyIo io;
  const std::string first = dir / "a";
  const std::string second = dir / "b";
  AsioRuntime runtime{1};
  Metrics metrics;
  Trash trash{runtime, io, std::chrono::minutes(1)};
  std::atomic<int> committed{0};
  std::atomic<int> ended{0};
  std::unique_ptr<Node> node;
};

}  // namespace

TEST_CASE_METHOD(World, "a node is complete only when its scan has ended") {
  spark(first, 1);
  spark(second, 2);
  int looks = 0;
  io.before_list = [&] {
    ++looks;
    CHECK_FALSE(incomplete().empty());
  };
  CHECK(committer().scan());
  CHECK(looks > 4);
  CHECK(incomplete().empty());
  CHECK(table().of(kShuffle).size() == 2);
  CHECK(committed == 2);
}

TEST_CASE_METHOD(World, "a disk that cannot be read is named until it has been read to its end") {
  spark(first, 1);
  spark(second, 2);
  io.fail_reads_below[second] = EIO;
  CHECK_FALSE(committer().scan());
  CHECK(incomplete().find(second) != std::string::npos);
  CHECK(table().of(kShuffle).size() == 1);
  // As long as it is scanned again, and fails again, nobody takes the node for complete.
  io.before_list = [&] { CHECK_FALSE(incomplete().empty()); };
  CHECK_FALSE(committer().scan_unread());
  CHECK(incomplete().find(second) != std::string::npos);
  io.fail_reads_below.clear();
  CHECK(committer().scan_unread());
  CHECK(incomplete().empty());
  CHECK(table().of(kShuffle).size() == 2);
  io.before_list = [] { FAIL("there is nothing to scan"); };
  CHECK(committer().scan_unread());
}

TEST_CASE_METHOD(World, "a disk that fails in the middle of its scan has not been read") {
  spark(first, 1);
  spark(second, 2);
  REQUIRE(io.make_directories(second + "/maps/app/1-0"));
  int looks = 0;
  SECTION("a directory of it") { io.fail_reads_below[second + "/local/blockmgr"] = EIO; }
  SECTION("its first directory") { io.fail_reads_below[second + "/maps"] = EIO; }
  SECTION("all of it, later") {
    io.before_list = [&] {
      if (++looks == 5) io.fail_reads_below[second] = EIO;
    };
  }
  CHECK_FALSE(committer().scan());
  CHECK(incomplete().find(second) != std::string::npos);
  io.before_list = {};
  io.fail_reads_below.clear();
  CHECK(committer().scan_unread());
  CHECK(incomplete().empty());
}

TEST_CASE_METHOD(World, "files that are still to be looked at may be map outputs") {
  REQUIRE(committer().scan());
  const std::string base = spark(second, 2);
  bool meanwhile = false;
  bool of_another = false;
  io.before_list = [&] {
    meanwhile = committer().is_looking(kShuffle.shuffle);
    of_another = committer().is_looking(ShuffleId{99});
  };
  committer().application_named(second + "/local");
  testing::run_until(runtime, [&] { return !committer().is_looking(kShuffle.shuffle); });
  CHECK(meanwhile);
  CHECK(of_another);  // who knows of which
  CHECK(committer().looks_under_way() == 0);
  CHECK(incomplete().empty());
  CHECK(table().of(kShuffle).size() == 1);
  // Of a file it is known of which.
  table().removed(kShuffle, MapId{2});
  write(base + ".data", "xyz");
  committer().spark_file_appeared(base + ".data");
  CHECK_FALSE(committer().is_looking(ShuffleId{99}));
  committer().spark_file_appeared(base + ".index");
  testing::run_until(runtime, [&] { return !committer().is_looking(kShuffle.shuffle); });
  CHECK(table().of(kShuffle).size() == 1);
}

TEST_CASE_METHOD(World, "a generic output that is known is not committed twice") {
  REQUIRE(committer().scan());
  directory_output(1);
  const std::string place = *committer().generic_directory(kShuffle, true);
  write(place + "/2.data", "abc");
  REQUIRE(replace_file(io, place + "/2.index", make_spark_index(std::vector<uint64_t>{3})));
  committer().generic_appeared(kShuffle, "2.data");
  committer().generic_appeared(kShuffle, "2.index");
  committer().generic_appeared(kShuffle, "2.index");
  committer().generic_appeared(kShuffle, "1");
  CHECK(committed == 2);
  CHECK(committer().scan());
  CHECK(committed == 2);
  const MapOutput one = *table().find(kShuffle, MapId{1});
  const MapOutput two = *table().find(kShuffle, MapId{2});
  restart();
  CHECK(committer().scan());
  CHECK(committed == 0);
  CHECK(*table().find(kShuffle, MapId{1}) == one);
  CHECK(*table().find(kShuffle, MapId{2}) == two);
  CHECK(table().lost_maps() == 0);
  CHECK(committer().generic_shuffles() == std::vector{kShuffle});
}

TEST_CASE_METHOD(World, "the files of a dropped shuffle go, with what was kept of them") {
  REQUIRE(committer().scan());
  const std::string path = directory_output(1);
  const std::string list = table().find(kShuffle, MapId{1})->index_path;
  table().dropped({kShuffle.app, kShuffle.shuffle, node->clock.tick()});
  REQUIRE(committer().discard_dropped(kShuffle));
  CHECK_FALSE(io.stat(path));
  CHECK_FALSE(io.stat(list));
  CHECK(committer().scan());
  CHECK(table().all().empty());
  directory_output(1);
  CHECK(table().find(kShuffle, MapId{1})->life == table().life_of(kShuffle));
}

TEST_CASE_METHOD(World, "Spark's files that are known are not committed twice") {
  spark(first, 1);
  CHECK(committer().scan());
  const MapOutput one = *table().find(kShuffle, MapId{1});
  committer().spark_file_appeared(one.index_path);
  committer().spark_file_appeared(one.data_path);
  testing::run_until(runtime, [&] { return committer().looks_under_way() == 0; });
  CHECK(committer().scan());
  restart();
  CHECK(committer().scan());
  CHECK(committed == 0);
  CHECK(*table().find(kShuffle, MapId{1}) == one);
}

TEST_CASE_METHOD(World,
                 "a directory output whose files are gone is noticed, and a removal is none") {
  REQUIRE(committer().scan());
  const std::string one = directory_output(1);
  const std::string two = directory_output(2);
  const std::string three = directory_output(3);
  CHECK(committer().scan());
  CHECK(table().lost_maps() == 0);
  const std::string list = table().find(kShuffle, MapId{3})->index_path;
  REQUIRE(io.remove_tree(one));
  REQUIRE(io.remove_file(two + "/3"));
  committer().generic_removed(kShuffle, "3");
  CHECK_FALSE(io.stat(list));  // its list is of no use any more
  CHECK(ended == 1);
  restart();
  CHECK(committer().scan());
  CHECK(table().lost_maps() == 2);
  for (const MapId map : {MapId{1}, MapId{2}}) {
    const MapOutputRef output = table().find(kShuffle, map);
    REQUIRE(output);
    CHECK(table().loss_of(*output));
  }
  REQUIRE(io.remove_tree(three));
  committer().generic_removed(kShuffle, "1");  // now somebody says so
  CHECK(table().lost_maps() == 1);
}

TEST_CASE_METHOD(World,
                 "files that are changed behind the daemon's back are lost, not another output") {
  const std::string base = spark(first, 1);
  REQUIRE(committer().scan());
  const MapOutputRef output = table().find(kShuffle, MapId{1});
  write(base + ".data", "xyz");
  CHECK(committer().scan());
  CHECK(table().find(kShuffle, MapId{1}) == output);
  CHECK(table().loss_of(*output));
  CHECK(committed == 1);
  // With an event it is another one.
  committer().spark_file_appeared(base + ".index");
  committer().spark_file_appeared(base + ".data");
  REQUIRE(replace_file(io, base + ".index", make_spark_index(std::vector<uint64_t>{2, 1})));
  committer().spark_file_appeared(base + ".index");
  testing::run_until(runtime, [&] { return committer().looks_under_way() == 0; });
  const MapOutputRef later = table().find(kShuffle, MapId{1});
  CHECK(later->commit > output->commit);
  CHECK_FALSE(table().loss_of(*later));
  CHECK(ended >= 1);
}

TEST_CASE("what is cut of a directory output is an error for its readers, never short") {
  PushOptions off = testing::TestCluster::quick();
  off.enabled = false;
  testing::TestCluster cluster(1, off);
  cluster.start();
  CommitSink& commits = cluster.engine(0).commits();
  const std::string place = *commits.generic_directory(kShuffle, true);
  REQUIRE(cluster.io().make_directories(place + "/1"));
  const std::string block = "a block";
  for (const char* partition : {"/1/0", "/1/3"})
    REQUIRE(replace_file(cluster.io(), place + partition, std::as_bytes(std::span(block))));
  commits.generic_appeared(kShuffle, "1");
  CHECK(*cluster.read(0, cluster.plan(0, kShuffle, 3)) == block);
  REQUIRE((*cluster.io().open(place + "/1/3", OpenMode::kWriteCreate))->truncate(3));
  CHECK_FALSE(cluster.read(0, cluster.plan(0, kShuffle, 3)));
  CHECK(cluster.totals(0, kShuffle).sum.maps_lost == 1);
  const PartitionPlan plan = cluster.plan(0, kShuffle, 3);
  CHECK((plan.incomplete || !cluster.read(0, plan)));
  REQUIRE(cluster.io().remove_file(place + "/1/0"));
  const PartitionPlan gone = cluster.plan(0, kShuffle, 0);
  CHECK((gone.incomplete || !cluster.read(0, gone)));
}

}  // namespace shufflefs::merge
