// The parts of the virtual half that need no mount.
#include <catch2/catch_test_macros.hpp>
#include <string>

#include "fs/passthrough.h"
#include "fs/shuffle_texts.h"
#include "fs/virtual_contents.h"
#include "fs/virtual_inodes.h"
#include "fs/virtual_opens.h"
#include "support/test_cluster.h"

namespace shufflefs::fs {
namespace {

VirtualPath node_at(std::initializer_list<std::string_view> names) {
  VirtualPath node;
  for (const std::string_view name : names) {
    const auto next = child(node, name);
    REQUIRE(next.has_value());
    node = *next;
  }
  return node;
}

VirtualPath partition(std::string_view name) {
  return node_at({"shuffles", "wc", "0", "partitions", name});
}

}  // namespace

TEST_CASE("a nodeid is stable while the kernel knows it, and never used again") {
  VirtualInodes inodes;
  const VirtualPath app = node_at({"shuffles", "wc"});
  const fuse_ino_t first = inodes.remember(app);
  CHECK(is_virtual(first));
  CHECK(inodes.remember(app) == first);
  CHECK(inodes.remember(node_at({"shuffles", "wd"})) != first);
  CHECK(*inodes.find(first) == app);
  inodes.forget(first, 1);
  CHECK(inodes.find(first).has_value());
  inodes.forget(first, 1);
  CHECK_FALSE(inodes.find(first).has_value());
  CHECK(inodes.remember(app) != first);
  CHECK(inodes.size() == 2);
}

TEST_CASE("the root is known without a lookup") {
  VirtualInodes inodes;
  CHECK(inodes.remember(VirtualPath{}) == FUSE_ROOT_ID);
  inodes.forget(FUSE_ROOT_ID, 1000);
  CHECK(inodes.find(FUSE_ROOT_ID)->kind == PathKind::kRoot);
  CHECK(inodes.size() == 0);
}

TEST_CASE("virtual inodes: forgetting more than was looked up, or what is unknown, does no harm") {
  VirtualInodes inodes;
  const fuse_ino_t ino = inodes.remember(partition("3"));
  inodes.forget(ino, 100);
  inodes.forget(ino, 1);
  inodes.forget(kVirtualInodeBit | 12345, 1);
  CHECK(inodes.size() == 0);
}

TEST_CASE("a retired nodeid stays valid, and its name gets another one") {
  VirtualInodes inodes;
  const fuse_ino_t old = inodes.remember(partition("3"));
  inodes.retire(old);
  const fuse_ino_t fresh = inodes.remember(partition("3"));
  CHECK(fresh != old);
  CHECK(*inodes.find(old) == partition("3"));
  inodes.retire(old);  // it is not the name's nodeid any more: nothing to do
  CHECK(inodes.remember(partition("3")) == fresh);
  inodes.forget(old, 1);
  CHECK_FALSE(inodes.find(old).has_value());
  CHECK(inodes.remember(partition("3")) == fresh);
  inodes.retire(partition("3"));
  CHECK(inodes.remember(partition("3")) != fresh);
}

TEST_CASE("opens of one inode agree on passthrough") {
  OpenModes modes;
  using Verdict = OpenModes::Verdict;
  SECTION("ordinary first: ordinary for all") {
    CHECK(modes.begin(7, 100, false) == Verdict::kOrdinary);
    CHECK(modes.begin(7, 100, true) == Verdict::kOrdinary);
    modes.released(7);
    CHECK(modes.begin(7, 120, true) == Verdict::kOrdinary);
    modes.released(7);
    modes.released(7);
    CHECK(modes.begin(7, 120, true) == Verdict::kPassthrough);
  }
  SECTION("passthrough first: the same bytes join, others look up again") {
    CHECK(modes.begin(7, 100, true) == Verdict::kPassthrough);
    modes.opened(7, 100);
    CHECK(modes.begin(7, 100, true) == Verdict::kPassthrough);
    modes.opened(7, 100);
    CHECK(modes.begin(7, 120, true) == Verdict::kStale);
    CHECK(modes.begin(7, 100, false) == Verdict::kStale);
    CHECK(modes.bytes(7) == 100);
    modes.released(7);
    CHECK(modes.begin(7, 120, true) == Verdict::kStale);
    modes.released(7);
    CHECK_FALSE(modes.bytes(7).has_value());
    CHECK(modes.begin(7, 120, false) == Verdict::kOrdinary);
  }
  SECTION("refused passthrough becomes ordinary") {
    CHECK(modes.begin(7, 100, true) == Verdict::kPassthrough);
    CHECK(modes.begin(7, 100, false) == Verdict::kOrdinary);
  }
}

TEST_CASE("a listing of partitions is computed") {
  const Listing listing(node_at({"shuffles", "wc", "0", "partitions"}), {}, 2);
  std::string names;
  for (uint64_t i = 0; i < listing.size(); ++i) names += listing.entry(i).name + " ";
  CHECK(names == ". .. 0 0.merged 0.index 1 1.merged 1.index ");
  CHECK(listing.entry(2).attr.st_ino == stable_inode_number(partition("0")));
  CHECK(S_ISREG(listing.entry(2).attr.st_mode));
  const Listing huge(node_at({"shuffles", "wc", "0", "partitions"}), {}, merge::kMaxPartitions);
  CHECK(huge.entry(huge.size() - 1).name == "16777215.index");
}

TEST_CASE("a listing of names") {
  const Listing listing(VirtualPath{}, {"local", "shuffles"});
  REQUIRE(listing.size() == 4);
  CHECK(listing.entry(3).name == "shuffles");
  CHECK(S_ISDIR(listing.entry(3).attr.st_mode));
}

TEST_CASE("handles") {
  VirtualHandles handles;
  const uint64_t key = handles.add({.nodeid = 5, .file = std::make_shared<VirtualFile>("abc")});
  CHECK(handles.find(key).file->size() == 3);
  CHECK(handles.find(key + 1).file == nullptr);
  CHECK(handles.remove(key).nodeid == 5);
  CHECK(handles.remove(key).file == nullptr);
  CHECK(handles.add({.nodeid = 6}) != key);
  CHECK(handles.remove_all().size() == 1);
  CHECK(handles.remove_all().empty());
}

TEST_CASE("facts are fresh for a second, and bounded") {
  RecentFacts recent;
  const auto start = RecentFacts::Clock::now();
  Facts facts;
  facts.size = 7;
  recent.put("shuffles/wc/0/partitions/1", facts, start);
  CHECK(recent.find("shuffles/wc/0/partitions/1", start)->size == 7);
  CHECK_FALSE(recent.find("shuffles/wc/0/partitions/1", start + RecentFacts::kFresh).has_value());
  CHECK_FALSE(recent.find("shuffles/wc/0/partitions", start).has_value());

  facts.text = std::make_shared<const std::string>(RecentFacts::kTextBytes + 1, 'x');
  recent.put("big", facts, start);
  CHECK(recent.find("big", start)->text == nullptr);
  for (std::size_t i = 0; i < RecentFacts::kCapacity * 2; ++i)
    recent.put(std::to_string(i), facts, start);
  CHECK(recent.size() <= RecentFacts::kCapacity);
}

TEST_CASE("forgetting a directory forgets what is below it, and nothing beside it") {
  RecentFacts recent;
  for (const char* path : {"shuffles/wc/1", "shuffles/wc/1/status", "shuffles/wc/10",
                           "shuffles/wc/1-x", "shuffles/wc"}) {
    recent.put(path, Facts{});
  }
  recent.forget_below("shuffles/wc/1");
  CHECK(recent.size() == 3);
  CHECK(recent.find("shuffles/wc/10").has_value());
  recent.forget_below("shuffles/wc");
  CHECK(recent.size() == 0);
}

TEST_CASE("the status text says what a person wants to know") {
  const merge::ShuffleKey shuffle = testing::shuffle_key("app/0");
  testing::TestCluster cluster(2);
  cluster.start();
  cluster.write_map(0, shuffle, 1, testing::random_blocks(1, {100, 200}));
  cluster.settle(shuffle, 1);
  const std::string text = cluster.run(status_text(cluster.engine(1), shuffle));
  CHECK(text.find("maps           1 committed, 1 settled") != std::string::npos);
  CHECK(text.find("100.0 %") != std::string::npos);
  CHECK(text.find("owners ") != std::string::npos);
}

}  // namespace shufflefs::fs
