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
Result<VirtualNode> resolve(std::string_view path) {
  VirtualNode node;
  for (const std::string_view name : split(path, '/')) {
    TRY_ASSIGN(node, child(node, name));
  }
  return node;
}

struct Known {
  std::string path;
  NodeKind kind;
  bool directory;
};

const std::vector<Known>& every_kind() {
  static const std::vector<Known> kAll = {
      {"local", NodeKind::kLocal, true},
      {"local/disk0", NodeKind::kLocalDisk, true},
      {"local/disk12", NodeKind::kLocalDisk, true},
      {"shuffles", NodeKind::kShuffles, true},
      {"shuffles/app-20261121_0001", NodeKind::kApp, true},
      {"shuffles/wc/0", NodeKind::kShuffle, true},
      {"shuffles/wc/2147483647", NodeKind::kShuffle, true},
      {"shuffles/wc/0/maps", NodeKind::kMaps, true},
      {"shuffles/wc/0/maps/9223372036854775807.data", NodeKind::kMapFile, false},
      {"shuffles/wc/0/maps/7.index", NodeKind::kMapFile, false},
      {"shuffles/wc/0/partitions", NodeKind::kPartitions, true},
      {"shuffles/wc/0/partitions/0", NodeKind::kPartition, false},
      {"shuffles/wc/0/partitions/16777215", NodeKind::kPartition, false},
      {"shuffles/wc/0/partitions/3.merged", NodeKind::kMerged, false},
      {"shuffles/wc/0/partitions/3.index", NodeKind::kIndex, false},
      {"shuffles/wc/0/status", NodeKind::kStatus, false},
      {".shufflefs", NodeKind::kInfo, true},
      {".shufflefs/status.json", NodeKind::kInfoFile, false},
      {".shufflefs/client", NodeKind::kClient, true},
      {".shufflefs/client/shufflefs-spark_2.12.jar", NodeKind::kJar, false},
      {".shufflefs/client-report", NodeKind::kReport, false},
      {".shufflefs/owners", NodeKind::kOwners, true},
      {".shufflefs/owners/app-1,0,200", NodeKind::kOwnersOf, false},
  };
  return kAll;
}

}  // namespace

TEST_CASE("every path has one spelling, which leads back to it") {
  std::set<uint64_t> inode_numbers{stable_inode_number(VirtualNode{})};
  for (const Known& known : every_kind()) {
    CAPTURE(known.path);
    const auto node = resolve(known.path);
    REQUIRE(node.has_value());
    CHECK(node->kind == known.kind);
    CHECK(path_of(*node) == known.path);
    CHECK(name_of(*node) == known.path.substr(known.path.rfind('/') + 1));
    CHECK(is_directory(node->kind) == known.directory);
    CHECK(S_ISDIR(mode_of(node->kind)) == known.directory);
    CHECK((stable_inode_number(*node) & (uint64_t{1} << 62U)) != 0);
    CHECK(inode_numbers.insert(stable_inode_number(*node)).second);
    CHECK(*resolve(path_of(*node)) == *node);
  }
}

TEST_CASE("the root") {
  const VirtualNode root;
  CHECK(path_of(root).empty());
  CHECK(is_directory(root.kind));
  CHECK(stable_inode_number(root) == 1);
}

TEST_CASE("what is parsed is kept") {
  const auto node = resolve("shuffles/wc/5/maps/42.index");
  REQUIRE(node.has_value());
  CHECK(to_string(node->key()) == "wc/5");
  CHECK(merge::number(node->map) == 42);
  CHECK(node->file == MapFile::kIndex);
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
        *directory == '\0' ? Result<VirtualNode>(VirtualNode{}) : resolve(directory);
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
    if (known.directory && known.kind != NodeKind::kLocalDisk) continue;
    CAPTURE(known.path);
    CHECK_FALSE(child(*resolve(known.path), "0").has_value());
  }
}

TEST_CASE("who may write where") {
  CHECK(mode_of(NodeKind::kShuffles) == (S_IFDIR | S_ISVTX | 0777));
  CHECK(mode_of(NodeKind::kApp) == (S_IFDIR | 0750));
  CHECK(mode_of(NodeKind::kShuffle) == (S_IFDIR | 0750));
  CHECK(mode_of(NodeKind::kRoot) == (S_IFDIR | 0755));
  CHECK(mode_of(NodeKind::kPartition) == (S_IFREG | 0440));
  CHECK(mode_of(NodeKind::kInfoFile) == (S_IFREG | 0444));
}

}  // namespace shufflefs::fs
