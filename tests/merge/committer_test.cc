#include "merge/committer.h"

#include <sys/xattr.h>

#include <catch2/catch_test_macros.hpp>

#include "support/test_cluster.h"

namespace shufflefs::merge {
namespace {

const ShuffleKey kShuffle = *parse_shuffle_key("app/0");

struct Fixture {
  testing::TestCluster cluster{1};
  CommitSink& commits;
  std::string maps;

  Fixture()
      : commits((cluster.start(), cluster.engine(0).commits())),
        maps(*commits.generic_directory(kShuffle, true)) {}

  void write(const std::string& path, std::string_view text) {
    REQUIRE(replace_file(cluster.io(), path, std::as_bytes(std::span(text.data(), text.size()))));
  }
  void write_index(const std::string& path, const std::vector<uint64_t>& lengths) {
    REQUIRE(replace_file(cluster.io(), path, make_spark_index(lengths)));
  }
  std::vector<std::string> refused() {
    return cluster.run(cluster.engine(0).local_node()->shuffle_info(kShuffle))->refused_commits;
  }
  std::string spark_dir(const std::string& sub) {
    std::string path = cluster.engine(0).local_root(0) + "/spark-1/blockmgr-1/" + sub;
    REQUIRE(cluster.io().make_directories(path));
    return path;
  }
  void name_application(const std::string& app) {
    const std::string directory = cluster.engine(0).local_root(0) + "/spark-1";
    REQUIRE(cluster.io().make_directories(directory));
    REQUIRE(::setxattr(directory.c_str(), kAppAttribute, app.data(), app.size(), 0) == 0);
    commits.application_named(directory);
  }
};

}  // namespace

TEST_CASE("names in a maps directory") {
  CHECK(parse_generic_name("7").kind == GenericName::kDirectory);
  CHECK(parse_generic_name("7.data").kind == GenericName::kData);
  CHECK(parse_generic_name("7.index").kind == GenericName::kIndex);
  CHECK(parse_generic_name(".tmp-x").kind == GenericName::kTemporary);
  for (const char* bad : {"x", "07", "-1", "7.dat", "7.data.1", "", "9223372036854775808"}) {
    INFO(bad);
    CHECK(parse_generic_name(bad).kind == GenericName::kBad);
  }
}

TEST_CASE_METHOD(Fixture,
                 "a directory is checked before it is committed, and known right afterwards") {
  REQUIRE(cluster.io().make_directories(maps + "/.tmp"));
  write(maps + "/.tmp/0", "zero");
  write(maps + "/.tmp/bad", "x");
  const Status refusal = commits.check_generic(kShuffle, maps + "/.tmp", "1");
  REQUIRE_FALSE(refusal);
  CHECK(to_errno(refusal.error().code) == EINVAL);
  CHECK(refusal.error().message.find("'bad'") != std::string::npos);
  REQUIRE(refused().size() == 1);
  CHECK(cluster.io().stat(maps + "/.tmp/0"));
  REQUIRE(cluster.io().remove_file(maps + "/.tmp/bad"));
  REQUIRE(commits.check_generic(kShuffle, maps + "/.tmp", "1"));
  REQUIRE(cluster.io().rename(maps + "/.tmp", maps + "/1"));
  commits.generic_appeared(kShuffle, "1");
  CHECK(commits.is_committed(kShuffle, MapId{1}));
  commits.generic_removed(kShuffle, "1");
  CHECK_FALSE(commits.is_committed(kShuffle, MapId{1}));
}

TEST_CASE_METHOD(Fixture, "a pair is committed when both halves are there, in either order") {
  write_index(maps + "/1.index", {2, 3});
  commits.generic_appeared(kShuffle, "1.index");
  CHECK_FALSE(commits.is_committed(kShuffle, MapId{1}));
  write(maps + "/1.data", "aabbb");
  commits.generic_appeared(kShuffle, "1.data");
  CHECK(commits.is_committed(kShuffle, MapId{1}));

  write(maps + "/2.data", "aabbb");
  commits.generic_appeared(kShuffle, "2.data");
  CHECK_FALSE(commits.is_committed(kShuffle, MapId{2}));
  write_index(maps + "/.2.index", {2, 3});
  REQUIRE(commits.check_generic(kShuffle, maps + "/.2.index", "2.index"));
  REQUIRE(cluster.io().rename(maps + "/.2.index", maps + "/2.index"));
  commits.generic_appeared(kShuffle, "2.index");
  CHECK(commits.is_committed(kShuffle, MapId{2}));
}

TEST_CASE_METHOD(Fixture, "halves that contradict each other are refused, whichever comes second") {
  write(maps + "/1.data", "aabbb");
  write_index(maps + "/.i", {2, 4});
  CHECK_FALSE(commits.check_generic(kShuffle, maps + "/.i", "1.index"));
  write_index(maps + "/2.index", {2, 4});
  write(maps + "/.d", "aabbb");
  CHECK_FALSE(commits.check_generic(kShuffle, maps + "/.d", "2.data"));
  write(maps + "/.i", "not a multiple of eight");
  CHECK_FALSE(commits.check_generic(kShuffle, maps + "/.i", "3.index"));
  CHECK(refused().size() == 3);
}

TEST_CASE_METHOD(Fixture, "Spark's outputs wait for the application's name, then they are found") {
  write_index(spark_dir("0c") + "/shuffle_0_4_0.index", {1, 4});
  write(spark_dir("1f") + "/shuffle_0_4_0.data", "abbbb");
  commits.spark_file_appeared(spark_dir("0c") + "/shuffle_0_4_0.index");
  commits.spark_file_appeared(spark_dir("1f") + "/shuffle_0_4_0.data");
  name_application("../evil");
  CHECK_FALSE(commits.is_committed(kShuffle, MapId{4}));
  name_application("app");
  testing::run_until(cluster.runtime, [&] { return commits.is_committed(kShuffle, MapId{4}); });
  // The next one is recognised as it comes: index first, then data.
  write_index(spark_dir("0c") + "/shuffle_0_5_0.index", {1, 0});
  commits.spark_file_appeared(spark_dir("0c") + "/shuffle_0_5_0.index");
  write(spark_dir("02") + "/shuffle_0_5_0.data", "a");
  commits.spark_file_appeared(spark_dir("02") + "/shuffle_0_5_0.data");
  testing::run_until(cluster.runtime, [&] { return commits.is_committed(kShuffle, MapId{5}); });
  // An all-empty output has no data file.
  write_index(spark_dir("0c") + "/shuffle_0_6_0.index", {0, 0});
  commits.spark_file_appeared(spark_dir("0c") + "/shuffle_0_6_0.index");
  testing::run_until(cluster.runtime, [&] { return commits.is_committed(kShuffle, MapId{6}); });
  REQUIRE(cluster.io().remove_file(spark_dir("02") + "/shuffle_0_5_0.data"));
  commits.spark_file_removed(spark_dir("02") + "/shuffle_0_5_0.data");
  testing::run_until(cluster.runtime, [&] { return !commits.is_committed(kShuffle, MapId{5}); });
}

TEST_CASE_METHOD(Fixture, "an inconsistent Spark output is reported and left where it is") {
  name_application("app");
  write_index(spark_dir("0c") + "/shuffle_0_4_0.index", {1, 9});
  write(spark_dir("0c") + "/shuffle_0_4_0.data", "abbbb");
  commits.spark_file_appeared(spark_dir("0c") + "/shuffle_0_4_0.index");
  commits.spark_file_appeared(spark_dir("0c") + "/shuffle_0_4_0.data");
  testing::run_until(cluster.runtime, [&] { return !refused().empty(); });
  CHECK(refused().back().find("the last offset is 10, but the data file has 5 bytes") !=
        std::string::npos);
  CHECK_FALSE(commits.is_committed(kShuffle, MapId{4}));
  CHECK(cluster.io().stat(spark_dir("0c") + "/shuffle_0_4_0.data"));
}

TEST_CASE_METHOD(Fixture, "registering an executor commits what waited, over all of its disks") {
  const std::string data = spark_dir("0a");
  const std::string index = spark_dir("0b");
  write(data + "/shuffle_0_5_0.data", "abc");
  write_index(index + "/shuffle_0_5_0.index", {1, 2});
  commits.spark_file_appeared(index + "/shuffle_0_5_0.index");
  commits.spark_file_appeared(data + "/shuffle_0_5_0.data");
  // Nobody knows the application. One disk thread: what is posted later runs later.
  ExecutorRecord record{"app", "0", {"/mnt/local/disk0/spark-1/blockmgr-1"}, 64, "", 0, {}};
  SparkApps& apps = cluster.engine(0).spark_apps();
  CHECK_FALSE(commits.is_committed(kShuffle, MapId{5}));
  REQUIRE(cluster.run(apps.register_executor(record, false)));
  testing::run_until(cluster.runtime, [&] { return commits.is_committed(kShuffle, MapId{5}); });
  const uint64_t sign = apps.executors().last_sign(kShuffle.app);
  REQUIRE(cluster.run(cluster.engine(0).local_node()->merged_info(kShuffle, PartitionId{0})));
  CHECK(apps.executors().last_sign(kShuffle.app) > sign);
  // What comes later is known at once.
  write_index(index + "/shuffle_0_6_0.index", {0, 0});
  commits.spark_file_appeared(index + "/shuffle_0_6_0.index");
  testing::run_until(cluster.runtime, [&] { return commits.is_committed(kShuffle, MapId{6}); });
}

}  // namespace shufflefs::merge
