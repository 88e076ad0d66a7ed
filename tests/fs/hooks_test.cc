// CommitWatch and GenericMaps against a real directory and a sink that only remembers.
#include <fcntl.h>
#include <sys/stat.h>

#include <catch2/catch_test_macros.hpp>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <vector>

#include "base/fd.h"
#include "fs/commit_hooks.h"
#include "support/temp_dir.h"

namespace shufflefs::fs {
namespace {

using testing::TempDir;

class RememberingSink final : public merge::CommitSink {
 public:
  void spark_file_appeared(std::string path, uint64_t) override { events.push_back("+" + path); }
  [[nodiscard]] uint64_t drops_heard() const override { return 0; }
  void spark_files_removed() override {}
  void spark_events_lost(uint64_t) override {}
  void spark_file_removed(std::string path) override { events.push_back("-" + path); }
  void application_named(std::string directory) override { events.push_back("app " + directory); }
  void directory_left(std::string directory) override { events.push_back("left " + directory); }
  Result<std::string> generic_directory(const merge::ShuffleKey&, bool) override {
    return make_error(Code::kInternal, "unused");
  }
  Status check_generic(const merge::ShuffleKey&, const std::string& path,
                       std::string_view name) override {
    events.push_back("check " + path + " " + std::string(name));
    return verdict;
  }
  void generic_appeared(const merge::ShuffleKey&, std::string name) override {
    events.push_back("+" + name);
  }
  void generic_removed(const merge::ShuffleKey&, std::string name) override {
    events.push_back("-" + name);
  }
  [[nodiscard]] bool is_committed(const merge::ShuffleKey&, merge::MapId map) const override {
    return committed.contains(merge::number(map));
  }

  std::vector<std::string> events;
  std::set<uint64_t> committed;
  Status verdict = ok();
};

class Tree {
 public:
  Tree() : path(std::filesystem::canonical(dir_.path()).string()), root_(open(path)) {}
  [[nodiscard]] NameInTree in_root(std::string_view name) const {
    return {.directory_fd = root_.get(), .in_tree_root = true, .name = name};
  }
  // A name in a directory of the root, which is made.
  NameInTree below(const std::string& directory, std::string_view name) {
    std::filesystem::create_directories(path + "/" + directory);
    below_.push_back(open(path + "/" + directory));
    return {.directory_fd = below_.back().get(), .in_tree_root = false, .name = name};
  }
  void write(const std::string& name) const { std::ofstream(path + "/" + name) << "x"; }

 private:
  static Fd open(const std::string& where) {
    return Fd(::open(where.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  }
  TempDir dir_;

 public:
  const std::string path;

 private:
  Fd root_;
  std::vector<Fd> below_;
};

struct Maps {
  Tree tree;
  RememberingSink sink;
  int changes = 0;
  GenericMaps hooks{sink, *merge::parse_shuffle_key("wc/0"), tree.path, [this] { ++changes; }};
};

}  // namespace

TEST_CASE("CommitWatch reports the names that Spark commits under, and no others") {
  Tree tree;
  RememberingSink sink;
  CommitWatch watch(sink);
  CHECK_FALSE(watch.guards_writes());
  const std::string data = "shuffle_0_7_0.data";
  watch.after_rename(tree.in_root("shuffle_0_7_0.data.1234"), tree.in_root(data));
  watch.after_rename(tree.in_root("temp_shuffle_1"),
                     tree.below("blockmgr-1/0a", "shuffle_0_7_0.index"));
  watch.after_link(tree.in_root(data));
  watch.after_write_close(tree.path + "/" + data);
  CHECK(sink.events ==
        std::vector<std::string>{"+" + tree.path + "/" + data,
                                 "+" + tree.path + "/blockmgr-1/0a/shuffle_0_7_0.index",
                                 "+" + tree.path + "/" + data, "+" + tree.path + "/" + data});
  sink.events.clear();
  watch.after_rename(tree.in_root("a"), tree.in_root("rdd_1_2"));
  watch.after_rename(tree.in_root("a"), tree.in_root("shuffle_0_7_0.checksum.ADLER32"));
  watch.after_link(tree.in_root("shuffle_x"));
  watch.after_write_close("");
  watch.after_write_close(tree.path + "/shuffle_0_7_0.data/other");
  watch.after_remove(tree.in_root(data), true);
  watch.after_attribute(tree.path, "user.other");
  CHECK(sink.events.empty());
}

TEST_CASE("CommitWatch reports removals, renames away and names of applications") {
  Tree tree;
  RememberingSink sink;
  CommitWatch watch(sink);
  watch.after_remove(tree.in_root("shuffle_0_7_0.data"), false);
  watch.after_rename(tree.in_root("shuffle_0_7_0.index"), tree.in_root("gone"));
  watch.after_attribute(tree.path, merge::kAppAttribute);
  CHECK(sink.events == std::vector<std::string>{"-" + tree.path + "/shuffle_0_7_0.data",
                                                "-" + tree.path + "/shuffle_0_7_0.index",
                                                "app " + tree.path});
}

TEST_CASE("maps/: which names may be made") {
  Maps maps;
  for (const char* name : {".tmp-7", ".x", "7.data", "7.index"}) {
    CAPTURE(name);
    CHECK(maps.hooks.before_change(maps.tree.in_root(name)));
  }
  for (const char* name : {"7", "x", "07.data", "7.txt", "-1.data", "9223372036854775808.index"}) {
    CAPTURE(name);
    const Status refused = maps.hooks.before_change(maps.tree.in_root(name));
    REQUIRE_FALSE(refused);
    CHECK(refused.error().fuse_errno() == EINVAL);
  }
  CHECK(maps.hooks.before_change(maps.tree.below(".tmp-7", "whatever")));
}

TEST_CASE("maps/: a rename onto a final name is checked first") {
  Maps maps;
  CHECK(maps.hooks.before_rename(maps.tree.in_root(".tmp-7"), maps.tree.in_root("7")));
  CHECK(maps.sink.events == std::vector<std::string>{"check " + maps.tree.path + "/.tmp-7 7"});
  maps.sink.verdict = make_error(Code::kInvalidArgument, "partition 99999999999 is out of range");
  const Status refused =
      maps.hooks.before_rename(maps.tree.in_root(".tmp-7"), maps.tree.in_root("7"));
  REQUIRE_FALSE(refused);
  CHECK(refused.error().fuse_errno() == EINVAL);
  CHECK(maps.hooks.before_rename(maps.tree.in_root(".tmp-7"), maps.tree.in_root(".tmp-8")));
  CHECK(maps.changes == 0);
}

TEST_CASE("maps/: commits are reported after the fact") {
  Maps maps;
  maps.hooks.after_rename(maps.tree.in_root(".tmp-7"), maps.tree.in_root("7"));
  maps.hooks.after_rename(maps.tree.in_root(".a"), maps.tree.in_root(".b"));
  maps.hooks.after_rename(maps.tree.in_root(".a"), maps.tree.below(".tmp-9", "0"));
  maps.hooks.after_write_close(maps.tree.path + "/8.index");
  maps.hooks.after_write_close(maps.tree.path + "/.tmp-9/8.index");
  maps.hooks.after_write_close("/elsewhere/8.index");
  maps.hooks.after_write_close("");
  CHECK(maps.sink.events == std::vector<std::string>{"+7", "+8.index"});
  CHECK(maps.changes == 2);
}

TEST_CASE("maps/: what is committed does not change") {
  Maps maps;
  maps.sink.committed = {7};
  for (const Status& refused :
       {maps.hooks.before_rename(maps.tree.in_root("7"), maps.tree.in_root(".old")),
        maps.hooks.before_rename(maps.tree.in_root(".new"), maps.tree.in_root("7.data")),
        maps.hooks.before_rename(maps.tree.in_root(".new"), maps.tree.below("7", "3")),
        maps.hooks.before_change(maps.tree.below("7", "new"))}) {
    REQUIRE_FALSE(refused);
    CHECK(refused.error().fuse_errno() == EROFS);
  }
}

TEST_CASE("maps/: nothing is committed that could still be changed") {
  Maps maps;
  const auto errno_of = [&](std::string_view from, std::string_view to) {
    const auto scope = maps.hooks.commit_scope(maps.tree.in_root(from), maps.tree.in_root(to));
    return scope ? 0 : scope.error().fuse_errno();
  };
  maps.tree.below(".tmp-7", "0");
  maps.tree.write(".tmp-7/0");
  const std::string file = maps.tree.path + "/.tmp-7/0";
  SECTION("by nobody") {
    CHECK(errno_of(".tmp-7", "7") == 0);
    CHECK(errno_of(".not-there", "7") == 0);
  }
  SECTION("by who has it open") {
    Fd writer(::open(file.c_str(), O_WRONLY | O_CLOEXEC));
    CHECK(errno_of(".tmp-7", "7") == EBUSY);
    CHECK(errno_of(".tmp-7", ".tmp-8") == 0);
    writer = Fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
    CHECK(errno_of(".tmp-7", "7") == 0);
  }
  SECTION("by another name") {
    std::filesystem::create_hard_link(file, maps.tree.path + "/.kept");
    CHECK(errno_of(".tmp-7", "7") == EMLINK);
  }
  SECTION("in the other half of a pair") {
    maps.tree.write("8.data");
    maps.tree.write(".8.index");
    CHECK(errno_of(".8.index", "8.index") == 0);
    const Fd writer(::open((maps.tree.path + "/8.data").c_str(), O_WRONLY | O_CLOEXEC));
    CHECK(errno_of(".8.index", "8.index") == EBUSY);
  }
}

TEST_CASE("maps/: attributes and other names") {
  Maps maps;
  CHECK(maps.hooks.before_attributes(maps.tree.below("7", "0")));
  CHECK(maps.hooks.before_link(maps.tree.in_root(".x"), 1));
  CHECK(maps.hooks.before_link(maps.tree.in_root("7.data"), 0));
  CHECK_FALSE(maps.hooks.before_link(maps.tree.in_root("7.data"), 1));
  maps.sink.committed = {7};
  CHECK_FALSE(maps.hooks.before_attributes(maps.tree.below("7", "0")));
  CHECK_FALSE(maps.hooks.before_attributes(maps.tree.in_root("7")));
}

TEST_CASE("maps/: removing takes a map output back, at the first file of a directory") {
  Maps maps;
  maps.sink.committed = {7};
  const NameInTree file = maps.tree.below("7", "3");
  maps.hooks.after_remove(file, false);
  CHECK(maps.sink.events == std::vector<std::string>{"-7"});
  maps.sink.committed = {};
  maps.hooks.after_remove(maps.tree.below("7", "4"), false);
  CHECK(maps.sink.events.size() == 1);
  maps.hooks.after_remove(maps.tree.in_root("7"), true);
  maps.hooks.after_remove(maps.tree.in_root(".tmp-9"), true);
  CHECK(maps.sink.events == std::vector<std::string>{"-7", "-7"});
}

}  // namespace shufflefs::fs
