#include "fs/namespace.h"

#include <sys/stat.h>

#include <catch2/catch_test_macros.hpp>
#include <set>
#include <string>
#include <vector>

#include "base/parse.h"

namespace shufflefs::fs {
namespace {

// Follows a path from the root; the error of the first component that has no meaning.
Result<VirtualPath> resolve(std::string_view path) {
  VirtualPath node;
  for (const std::string_view name : split(path, '/')) {
    TRY_ASSIGN(node, child(node, name));
  }
  return node;
}

struct Known {
  std::string path;
  PathKind kind;
  bool directory;
};

const std::vector<Known>& every_kind() {
  static const std::vector<Known> kAll = {
      {"local", PathKind::kLocal, true},
      {"local/disk0", PathKind::kLocalDisk, true},
      {"local/disk12", PathKind::kLocalDisk, true},
      {"shuffles", PathKind::kShuffles, true},
      {"shuffles/app-20261121_0001", PathKind::kApp, true},
      {"shuffles/wc/0", PathKind::kShuffle, true},
      {"shuffles/wc/2147483647", PathKind::kShuffle, true},
      {"shuffles/wc/0/maps", PathKind::kMaps, true},
      {"shuffles/wc/0/maps/9223372036854775807.data", PathKind::kMapData, false},
      {"shuffles/wc/0/maps/7.index", PathKind::kMapIndex, false},
      {"shuffles/wc/0/partitions", PathKind::kPartitions, true},
      {"shuffles/wc/0/partitions/0", PathKind::kPartition, false},
      {"shuffles/wc/0/partitions/16777215", PathKind::kPartition, false},
      {"shuffles/wc/0/partitions/3.merged", PathKind::kMerged, false},
      {"shuffles/wc/0/partitions/3.index", PathKind::kIndex, false},
      {"shuffles/wc/0/status", PathKind::kStatus, false},
      {".shufflefs", PathKind::kInfo, true},
      {".shufflefs/status.json", PathKind::kInfoFile, false},
      {".shufflefs/client", PathKind::kClient, true},
      {".shufflefs/client/shufflefs-spark_2.12.jar", PathKind::kJar, false},
      {".shufflefs/client-report", PathKind::kReport, false},
      {".shufflefs/owners", PathKind::kOwners, true},
      {".shufflefs/owners/app-1,0,200", PathKind::kOwnersOf, false},
  };
  return kAll;
}

}  // namespace

TEST_CASE("every path has one spelling, which leads back to it") {
  std::set<uint64_t> inode_numbers{stable_inode_number(VirtualPath{})};
  for (const Known& known : every_kind()) {
    CAPTURE(known.path);
    const auto node = resolve(known.path);
    REQUIRE(node.has_value());
    CHECK(node->kind == known.kind);
    CHECK(path_of(*node) == known.path);
    CHECK(name_of(*node) == known.path.substr(known.path.rfind('/') + 1));
    CHECK(is_directory(node->kind) == known.directory);
    CHECK(S_ISDIR(row_of(node->kind).mode) == known.directory);
    CHECK((stable_inode_number(*node) & (uint64_t{1} << 62U)) != 0);
    CHECK(inode_numbers.insert(stable_inode_number(*node)).second);
    CHECK(*resolve(path_of(*node)) == *node);
  }
}

TEST_CASE("the root") {
  const VirtualPath root;
  CHECK(path_of(root).empty());
  CHECK(is_directory(root.kind));
  CHECK(stable_inode_number(root) == 1);
}

TEST_CASE("what is parsed is kept") {
  const auto node = resolve("shuffles/wc/5/maps/42.index");
  REQUIRE(node.has_value());
  CHECK(to_string(node->key()) == "wc/5");
  CHECK(merge::number(node->map) == 42);
  CHECK(node->kind == PathKind::kMapIndex);
}

TEST_CASE("names that do not parse are invalid, whatever they contain") {
  const std::string huge(100'000, 'a');
  const std::string digits(5'000, '9');
  const std::vector<std::pair<std::string, std::vector<std::string>>> bad = {
      {"shuffles",
       {"", ".", "..", "a/b", "../x", "a b", "-rf", ".hidden", "a\nb", std::string("a\0b", 3),
        "\xc3\xa9", huge}},
      {"shuffles/wc",
       {"", ".", "..", "00", "01", "+1", "-1", " 1", "1 ", "0x1", "1.0", "2147483648", digits,
        "maps"}},
  };
  for (const auto& [directory, names] : bad) {
    const auto parent = resolve(directory);
    REQUIRE(parent.has_value());
    for (const std::string& name : names) {
      CAPTURE(directory, name.substr(0, 40));
      const auto node = child(*parent, name);
      REQUIRE_FALSE(node.has_value());
      CHECK(node.error().code == Code::kInvalidArgument);
      CHECK(node.error().message.size() < 400);  // names are cut before they go into a log
    }
  }
}

TEST_CASE("partitions and map files out of range, or spelled another way, do not exist") {
  const auto partitions = resolve("shuffles/wc/0/partitions");
  for (const char* name : {"16777216", "99999999999", "99999999999999999999999", "00", "01", "-1",
                           "+1", "1.", ".merged", "1.merged.index", "1.merge", "01.merged",
                           "1.MERGED", "1.data", "", ".", "..", "a"}) {
    CAPTURE(name);
    CHECK_FALSE(child(*partitions, name).has_value());
  }
  const auto maps = resolve("shuffles/wc/0/maps");
  for (const char* name : {"9223372036854775808.data", "7", "7.dat", "07.data", "-7.data", ".data",
                           "7.data.index", "..", ""}) {
    CAPTURE(name);
    CHECK_FALSE(child(*maps, name).has_value());
  }
}

TEST_CASE("fixed directories have nothing else in them") {
  for (const char* directory : {"", "local", "shuffles/wc/0"}) {
    const auto parent =
        *directory == '\0' ? Result<VirtualPath>(VirtualPath{}) : resolve(directory);
    REQUIRE(parent.has_value());
    for (const char* name : {"", ".", "..", "x/y", "Maps", "maps ", "disk", "disk01", "disk-1",
                             "disk10001", "LOCAL"}) {
      CAPTURE(directory, name);
      const auto node = child(*parent, name);
      REQUIRE_FALSE(node.has_value());
      CHECK(node.error().code == Code::kNotFound);
    }
  }
}

TEST_CASE("files and native trees have no children") {
  for (const Known& known : every_kind()) {
    if (known.directory && known.kind != PathKind::kLocalDisk) continue;
    CAPTURE(known.path);
    CHECK_FALSE(child(*resolve(known.path), "0").has_value());
  }
}

TEST_CASE("who may write where") {
  CHECK(row_of(PathKind::kShuffles).mode == (S_IFDIR | S_ISVTX | 0777));
  CHECK(row_of(PathKind::kApp).mode == (S_IFDIR | 0750));
  CHECK(row_of(PathKind::kShuffle).mode == (S_IFDIR | 0750));
  CHECK(row_of(PathKind::kRoot).mode == (S_IFDIR | 0755));
  CHECK(row_of(PathKind::kPartition).mode == (S_IFREG | 0440));
  CHECK(row_of(PathKind::kInfoFile).mode == (S_IFREG | 0444));
}

}  // namespace shufflefs::fs
