// Tables that outlive their writer: what a second table over the same memory finds.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <set>

#include "fs/native_tables.h"
#include "fs/native_trees.h"
#include "fs/request.h"
#include "fs/virtual_inodes.h"

namespace shufflefs::fs {
namespace {

struct Record {
  uint64_t number = 0;
  std::array<char, 40> rest{};
};

Fd memory() { return Fd(::memfd_create("test", MFD_CLOEXEC)); }
Fd again(const Fd& fd) { return Fd(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 3)); }

std::set<uint64_t> numbers(const SavedTable<Record>& table) {
  std::set<uint64_t> found;
  for (const uint32_t at : table.all()) found.insert(table[at].number);
  return found;
}

TEST_CASE("a saved table is found again, with its counters, in any size") {
  const Fd shared = memory();
  std::set<uint64_t> expected;
  {
    SavedTable<Record> table(again(shared), "test");
    std::vector<uint32_t> slots;
    for (uint64_t i = 0; i < 20000; ++i) slots.push_back(table.add({.number = i}));
    for (uint64_t i = 0; i < 20000; ++i) {
      if (i % 3 == 0)
        table.remove(slots[i]);
      else
        expected.insert(i);
    }
    table.counter(3) = 77;
    CHECK(numbers(table) == expected);
  }
  SavedTable<Record> found(again(shared), "test");
  CHECK(numbers(found) == expected);
  CHECK(found.counter(3) == 77);
  // Freed slots are used before new ones.
  const uint32_t slot = found.add({.number = 50000});
  CHECK(slot < 20000);
  expected.insert(50000);
  CHECK(numbers(SavedTable<Record>(again(shared), "test")) == expected);
}

TEST_CASE("a saved table of another layout is refused") {
  const Fd shared = memory();
  {
    const SavedTable<Record> table(again(shared), "test");
  }
  CHECK_THROWS(SavedTable<uint64_t>(again(shared), "test"));
}

TEST_CASE("a record counts only when it is complete") {
  const Fd shared = memory();
  SavedMemory untyped(again(shared), "test", sizeof(uint64_t) + sizeof(Record));
  // What a process leaves that was killed while it wrote a record: no mark.
  Record half{.number = 1};
  std::memcpy(untyped.slot(untyped.take()) + sizeof(uint64_t), &half, sizeof half / 2);
  CHECK(SavedTable<Record>(again(shared), "test").all().empty());
}

TEST_CASE("nodeids, look-ups and numbers outlive the table") {
  const Fd shared = memory();
  const InodeRecord seen{.device = 8, .inode = 12, .tree = TreeId{1}, .handle = {1, 8, {7}}};
  uint64_t nodeid = 0;
  {
    InodeTable table(again(shared));
    nodeid = table.remember(seen, Fd()).nodeid;
    CHECK(table.remember(seen, Fd()).nodeid == nodeid);
  }
  InodeTable table(again(shared));
  CHECK(table.size() == 1);
  CHECK(table.count_by_tree().at(TreeId{1}) == 1);
  CHECK(table.find(nodeid)->lookups == 2);
  CHECK(table.nodeid_of(8, 12) == nodeid);
  CHECK_FALSE(table.remember(seen, Fd()).is_new);
  CHECK_FALSE(table.forget(nodeid, 2));
  CHECK(table.forget(nodeid, 1));
  // Never a number twice: the kernel may still have the old one in a request.
  CHECK(table.remember(seen, Fd()).nodeid != nodeid);
}

TEST_CASE("a saved record that cannot be one is left out, and no number in use is given again") {
  const Fd shared = memory();
  const InodeRecord seen{.device = 8, .inode = 12, .tree = TreeId{1}, .handle = {1, 8, {7}}};
  uint64_t nodeid = 0;
  {
    InodeTable table(again(shared));
    nodeid = table.remember(seen, Fd()).nodeid;
  }
  {
    SavedTable<InodeRecord> damaged(again(shared), "test");
    InodeRecord wide = seen;
    wide.nodeid = nodeid + 16;
    wide.handle.length = 1 << 30;
    damaged.add(wide);
    InodeRecord elsewhere = seen;
    elsewhere.nodeid = nodeid + 17;  // of another shard than its inode
    damaged.add(elsewhere);
    InodeRecord twice = seen;
    twice.nodeid = nodeid;
    damaged.add(twice);
    for (unsigned i = 0; i < 16; ++i) damaged.counter(i) = i % 2 == 0 ? 0 : UINT64_MAX;
  }
  InodeTable table(again(shared));
  CHECK(table.size() == 1);
  CHECK(table.find(nodeid)->handle == seen.handle);
  InodeRecord other = seen;
  other.handle = {1, 8, {9}};
  CHECK(table.remember(other, Fd()).nodeid != nodeid);
  CHECK(table.find(nodeid)->handle == seen.handle);
}

TEST_CASE("a saved name that is longer than its record is left out") {
  const Fd names = memory();
  const Fd long_names = memory();
  VirtualPath shuffles;
  shuffles.kind = PathKind::kShuffles;
  fuse_ino_t known = 0;
  {
    VirtualInodes inodes(again(names), again(long_names));
    known = inodes.remember(shuffles);
  }
  {
    SavedMemory untyped(again(names), "test", 136);
    std::array<uint32_t, 2> retired_and_length{0, 100'000'000};
    std::memcpy(untyped.slot(0) + 24, retired_and_length.data(), sizeof retired_and_length);
  }
  VirtualInodes inodes(again(names), again(long_names));
  CHECK(inodes.size() == 0);
  CHECK(inodes.remember(shuffles) > known);
}

TEST_CASE("saved memory that is larger than it can be is refused") {
  const Fd shared = memory();
  {
    const SavedTable<Record> table(again(shared), "test");
  }
  REQUIRE(::ftruncate(shared.get(), off_t{1} << 32U) == 0);
  CHECK_THROWS(SavedTable<Record>(again(shared), "test"));
}

class Kept final : public KeptFiles {
 public:
  void keep(KeptKind /*kind*/, uint64_t id, int /*fd*/) override { ids.insert(id); }
  void drop(KeptKind /*kind*/, uint64_t id) override { ids.erase(id); }
  std::set<uint64_t> ids;
};

TEST_CASE("what has no handle is kept elsewhere, for as long as it is known") {
  Kept kept;
  InodeTable table(memory(), &kept);
  InodeRecord seen;
  seen.device = 1;
  seen.inode = 2;
  const auto known = table.remember(seen, Fd(::open("/", O_PATH | O_CLOEXEC)));
  CHECK(kept.ids == std::set<uint64_t>{known.nodeid});
  CHECK(table.duplicate_pinned(known.nodeid));
  table.forget(known.nodeid, 1);
  CHECK(kept.ids.empty());
  // A worker was killed between forgetting and saying so.
  kept.ids = {99};
  table.restore_pinned(99, Fd(::open("/", O_PATH | O_CLOEXEC)));
  CHECK(kept.ids.empty());
}

TEST_CASE("open files are restored, and found by the request that opened them") {
  const Fd shared = memory();
  uint64_t key = 0;
  {
    HandleTable table(again(shared));
    const auto file = std::make_shared<OpenFile>(5, O_RDWR, nullptr, Fd());
    file->backing_id = 3;
    key = table.add(file, 1234);
    const auto closed = std::make_shared<OpenFile>(6, O_RDONLY, nullptr, Fd());
    table.remove(table.add(closed, 1236));
  }
  HandleTable table(again(shared));
  const std::vector<OpenRecord> saved = table.saved();
  REQUIRE(saved.size() == 1);
  CHECK(saved[0].nodeid == 5);
  CHECK(saved[0].backing_id == 3);
  CHECK(saved[0].flags == O_RDWR);
  table.restore(saved[0], std::make_shared<OpenFile>(5, saved[0].flags, nullptr, Fd()));
  CHECK(table.find(key)->nodeid == 5);
  CHECK(table.key_of_request(1234) == key);
  CHECK(table.key_of_request(1236) == 0);
  CHECK(table.remove(key).was_last_writer);
  CHECK(HandleTable(again(shared)).saved().empty());
}

TEST_CASE("virtual names are restored, retired ones without their path") {
  const Fd names = memory();
  const Fd long_names = memory();
  const auto app = merge::AppId::parse(std::string(200, 'a'));
  VirtualPath shuffles;
  shuffles.kind = PathKind::kShuffles;
  VirtualPath deep;
  deep.kind = PathKind::kMerged;
  deep.app = *app;
  deep.partition = merge::PartitionId{7};
  fuse_ino_t first = 0;
  fuse_ino_t second = 0;
  {
    VirtualInodes inodes(again(names), again(long_names));
    first = inodes.remember(shuffles);
    second = inodes.remember(deep);
    inodes.retire(second);
  }
  VirtualInodes inodes(again(names), again(long_names));
  CHECK(inodes.find(first) == shuffles);
  CHECK(inodes.find(second) == deep);
  CHECK(inodes.remember(shuffles) == first);
  const fuse_ino_t third = inodes.remember(deep);
  CHECK(third != second);
  inodes.forget(second, 1);
  inodes.forget(first, 2);
  CHECK(VirtualInodes(again(names), again(long_names)).size() == 1);
}

TEST_CASE("the bit of a request that comes again is not part of its number") {
  note_request(42);
  CHECK_FALSE(current_request().resent);
  note_request(42 | (uint64_t{1} << 63U));
  CHECK(current_request().resent);
  CHECK(current_request().number == 42);
  note_request(0);
}

}  // namespace
}  // namespace shufflefs::fs
