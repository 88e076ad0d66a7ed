#include "merge/spark_reaper.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <array>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <fstream>
#include <set>

#include "base/asio_runtime.h"
#include "support/fake_commits.h"
#include "support/temp_dir.h"

namespace shufflefs::merge {
namespace {

using std::chrono::hours;
using std::chrono::minutes;

// Times that files may get from a clock on the wall.
constexpr time_t kPast = 1'000;
constexpr time_t kFuture = 4'000'000'000;

constexpr const char* kUuid = "0d9c0b3a-4d4e-4a68-9d10-3a9e4f0c5b11";

// Two disks, an executor of pid 7 and one whose process nobody has seen.
struct Fixture {
  testing::TempDir directory;
  AsioRuntime runtime{1};
  std::unique_ptr<FileIo> io = make_posix_file_io();
  Executors executors{*io, "",
                      LocalDirs({"/mnt"}, {directory / "d0/local", directory / "d1/local"}, {})};
  Trash trash{runtime, *io, minutes(1)};
  testing::FakeCommits commits;
  std::set<int32_t> ended;
  std::vector<std::string> forgotten;
  TimePoint now = runtime.now();

  Fixture() {
    for (const char* disk : {"d0", "d1"}) {
      REQUIRE(io->make_directories(directory / disk + "/local"));
      REQUIRE(trash.add_disk(directory / disk));
    }
    add("0", ProcessMark{7, 1});
    add("1", std::nullopt);
  }
  void add(const std::string& id, std::optional<ProcessMark> process) {
    ExecutorRecord record{"app", id, {}, 64, "", 0, process};
    for (int disk = 0; disk < 2; ++disk) {
      record.directories.push_back(fmt::format("/mnt/local/disk{}/blockmgr-{}", disk, id));
      REQUIRE(io->make_directories(path(disk, id)));
    }
    REQUIRE(executors.add(record, false));
  }
  [[nodiscard]] std::string path(int disk, const std::string& id) const {
    return fmt::format("{}/d{}/local/blockmgr-{}/0a", directory.path(), disk, id);
  }
  void write(const std::string& file) {
    REQUIRE(replace_file(*io, file, std::as_bytes(std::span("x", 1))));
  }
  // As if a clock that says `stamp` had been there when something was last put into it.
  void set_times(time_t stamp) {
    const std::array<timespec, 2> times{{{stamp, 0}, {stamp, 0}}};
    for (const int disk : {0, 1}) {
      for (const char* id : {"0", "1"})
        REQUIRE(::utimensat(AT_FDCWD, path(disk, id).c_str(), times.data(), 0) == 0);
    }
  }
  [[nodiscard]] bool there(const std::string& file) { return static_cast<bool>(io->stat(file)); }
  [[nodiscard]] SparkReaper reaper(ReaperOptions options = {}) {
    return SparkReaper({runtime, *io, executors, trash, commits,
                        [this](const std::vector<std::string>& names) {
                          forgotten.insert(forgotten.end(), names.begin(), names.end());
                        },
                        [this](const ProcessMark& mark) { return ended.contains(mark.pid); }},
                       options);
  }
};

TEST_CASE_METHOD(Fixture, "an executor is forgotten when the last of its directories is gone") {
  SparkReaper sweeper = reaper();
  REQUIRE(io->remove_tree(directory / "d0/local/blockmgr-0"));
  sweeper.sweep(now);
  CHECK(executors.find("app", "0"));
  REQUIRE(io->remove_tree(directory / "d1/local/blockmgr-0"));
  sweeper.sweep(now);
  CHECK_FALSE(executors.find("app", "0"));
  CHECK(executors.find("app", "1"));
}

TEST_CASE_METHOD(Fixture, "a disk that is not there says nothing about its directories") {
  SparkReaper sweeper = reaper();
  REQUIRE(io->rename(directory / "d0", directory / "unmounted0"));
  REQUIRE(io->rename(directory / "d1", directory / "unmounted1"));
  sweeper.sweep(now);
  CHECK(executors.size() == 2);
}

TEST_CASE_METHOD(Fixture, "temporary files go with the process, a while later, and nothing else") {
  const std::vector<std::string> keep = {"shuffle_0_1_0.data", "shuffle_0_1_0.index",
                                         "shuffle_0_1_0.checksum.ADLER32", "rdd_0_1"};
  const std::vector<std::string> temporary = {std::string("temp_shuffle_") + kUuid,
                                              std::string("shuffle_0_2_0.data.") + kUuid};
  for (const char* id : {"0", "1"}) {
    for (const auto& list : {keep, temporary}) {
      for (const std::string& name : list) write(path(1, id) + "/" + name);
    }
  }
  SparkReaper sweeper = reaper();
  sweeper.sweep(now + minutes(100));  // alive, however long
  for (const std::string& name : temporary) CHECK(there(path(1, "0") + "/" + name));
  ended = {7};
  sweeper.sweep(now + minutes(200));
  for (const std::string& name : temporary) CHECK(there(path(1, "0") + "/" + name));
  sweeper.sweep(now + minutes(202));
  for (const std::string& name : temporary) CHECK_FALSE(there(path(1, "0") + "/" + name));
  for (const std::string& name : keep) CHECK(there(path(1, "0") + "/" + name));
  // Of the other one's death there is no proof.
  for (const std::string& name : temporary) CHECK(there(path(1, "1") + "/" + name));
  CHECK(forgotten.size() == temporary.size());
  CHECK(forgotten.at(0).starts_with("/mnt/local/disk1/blockmgr-0/0a/"));
}

TEST_CASE_METHOD(Fixture, "an application without a sign of life for its ttl goes into the trash") {
  write(path(0, "0") + "/shuffle_0_1_0.data");
  write(path(1, "1") + "/shuffle_0_2_0.index");
  SparkReaper never = reaper();
  ended = {7};
  never.sweep(now + minutes(1'000'000));
  CHECK(executors.size() == 2);

  SparkReaper sweeper = reaper({.app_ttl = minutes(10)});
  sweeper.sweep(now + minutes(5));
  CHECK(executors.size() == 2);
  ended.clear();
  sweeper.sweep(now + minutes(30));  // its process lives
  CHECK(executors.size() == 2);
  ended = {7};
  sweeper.sweep(now + minutes(30));
  CHECK(executors.size() == 0);
  CHECK_FALSE(there(directory / "d0/local/blockmgr-0"));
  CHECK_FALSE(there(directory / "d1/local/blockmgr-1"));
  CHECK(io->list(directory / "d0/trash")->size() == 2);
  CHECK(commits.heard() ==
        std::vector<std::string>{"removed " + path(0, "0") + "/shuffle_0_1_0.data",
                                 "removed " + path(1, "1") + "/shuffle_0_2_0.index"});
}

TEST_CASE_METHOD(Fixture, "being asked for is a sign of life") {
  SparkReaper sweeper = reaper({.app_ttl = minutes(10)});
  ended = {7};
  for (int i = 0; i < 5; ++i) {
    (void)executors.find("app", "nobody");
    sweeper.sweep(now + minutes(9 * i));
    CHECK(executors.size() == 2);
  }
  sweeper.sweep(now + minutes(37));
  sweeper.sweep(now + minutes(48));
  CHECK(executors.size() == 0);
}

TEST_CASE_METHOD(Fixture, "what is written is a sign of life, whatever time it bears") {
  SparkReaper sweeper = reaper({.app_ttl = minutes(10)});
  ended = {7};
  TimePoint when = now;
  for (const time_t stamp : {kFuture, kPast, kFuture + 1, kPast + 1}) {
    set_times(stamp);
    // More often than it is looked at.
    for (int i = 0; i < 18; ++i) sweeper.sweep(when += std::chrono::seconds(30));
    CHECK(executors.size() == 2);
  }
  sweeper.sweep(when += minutes(3));
  CHECK(executors.size() == 0);
}

TEST_CASE_METHOD(Fixture, "reading its partitions is a sign of life, and so is writing on") {
  write(path(0, "0") + "/shuffle_0_1_0.data.x");
  SparkReaper sweeper = reaper({.app_ttl = minutes(10)});
  ended = {7};
  sweeper.sweep(now);
  for (int i = 1; i < 5; ++i) {
    executors.give_sign(parse_shuffle_key("app/3")->app);
    sweeper.sweep(now + minutes(9 * i));
    CHECK(executors.size() == 2);
  }
  sweeper.sweep(now + minutes(40));
  std::ofstream(path(0, "0") + "/shuffle_0_1_0.data.x", std::ios::app) << "more";
  sweeper.sweep(now + minutes(47));
  CHECK(executors.size() == 2);
  sweeper.sweep(now + minutes(58));
  CHECK(executors.size() == 0);
}

TEST_CASE_METHOD(Fixture, "no clock on the wall makes an application old") {
  set_times(GENERATE(kPast, kFuture));
  SparkReaper sweeper = reaper({.app_ttl = hours(10)});
  ended = {7};
  sweeper.sweep(now);
  sweeper.sweep(now + hours(1));
  sweeper.sweep(now + hours(9));
  CHECK(executors.size() == 2);
  sweeper.sweep(now + hours(10));
  CHECK(executors.size() == 0);
}

TEST_CASE_METHOD(Fixture, "after a restart every application has just given a sign") {
  const ReaperOptions options{.app_ttl = minutes(10)};
  ended = {7};
  SparkReaper before = reaper(options);
  before.sweep(now);
  before.sweep(now + minutes(1));
  SparkReaper after = reaper(options);
  after.sweep(now + hours(100));
  after.sweep(now + hours(100) + minutes(1));
  CHECK(executors.size() == 2);
  before.sweep(now + minutes(11));
  CHECK(executors.size() == 0);
}

}  // namespace
}  // namespace shufflefs::merge
