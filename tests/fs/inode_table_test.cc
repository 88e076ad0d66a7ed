#include <fcntl.h>
#include <sys/stat.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <chrono>
#include <set>
#include <thread>
#include <vector>

#include "fs/native_tables.h"

namespace shufflefs::fs {
namespace {

InodeRecord file(uint64_t inode, unsigned char generation = 1) {
  InodeRecord record;
  record.device = 7;
  record.inode = inode;
  record.tree = TreeId{1};
  record.type = S_IFREG;
  record.handle.type = 1;
  record.handle.length = 2;
  record.handle.bytes[0] = generation;
  return record;
}

InodeRecord without_handle(uint64_t inode) {
  InodeRecord record = file(inode);
  record.handle = FileHandle{};
  return record;
}

Fd any_descriptor() { return Fd(::open("/", O_PATH | O_CLOEXEC)); }

// Of a file without a name.
Fd nameless_descriptor() { return Fd(::open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600)); }

bool is_open(int fd) { return ::fcntl(fd, F_GETFD) >= 0; }

}  // namespace

TEST_CASE("a known file keeps its nodeid and counts its lookups") {
  InodeTable table;
  const auto first = table.remember(file(1), Fd());
  const auto again = table.remember(file(1), Fd());
  CHECK(first.is_new);
  CHECK_FALSE(again.is_new);
  CHECK(first.nodeid == again.nodeid);
  CHECK(table.find(first.nodeid)->lookups == 2);
  CHECK_FALSE(table.forget(first.nodeid, 1));
  CHECK(table.size() == 1);
  CHECK(table.forget(first.nodeid, 1)->inode == 1);
  CHECK(table.size() == 0);
  CHECK_FALSE(table.find(first.nodeid));
}

TEST_CASE("forgetting more than was looked up, or what is unknown, does no harm") {
  InodeTable table;
  const auto known = table.remember(file(1), Fd());
  CHECK(table.forget(known.nodeid, 1000));
  CHECK_FALSE(table.forget(known.nodeid, 1));
  CHECK_FALSE(table.forget(12345, 1));
}

TEST_CASE("nodeids are never used twice, and never the root's") {
  InodeTable table;
  std::set<uint64_t> seen{1};
  for (int round = 0; round < 3; ++round) {
    for (uint64_t inode = 1; inode <= 200; ++inode) {
      const auto made = table.remember(file(inode), Fd());
      CHECK(seen.insert(made.nodeid).second);
      CHECK(made.nodeid < uint64_t{1} << 62U);
      table.forget(made.nodeid, 1);
    }
  }
}

TEST_CASE(
    "a file that took over the inode number is a new node, and the old one stays until it is "
    "forgotten") {
  InodeTable table;
  const auto old = table.remember(file(1, 1), Fd());
  const auto fresh = table.remember(file(1, 2), Fd());
  CHECK(old.nodeid != fresh.nodeid);
  CHECK(table.find(old.nodeid)->handle.bytes[0] == 1);
  CHECK(table.find(fresh.nodeid)->handle.bytes[0] == 2);
  CHECK(table.forget(old.nodeid, 1));
  CHECK(table.remember(file(1, 2), Fd()).nodeid == fresh.nodeid);
}

TEST_CASE("the same number on two devices is two files") {
  InodeTable table;
  InodeRecord other = file(1);
  other.device = 8;
  CHECK(table.remember(file(1), Fd()).nodeid != table.remember(other, Fd()).nodeid);
}

TEST_CASE("a descriptor is kept only without a handle, and closed with the last forget") {
  InodeTable table;
  Fd unneeded = any_descriptor();
  const int unneeded_number = unneeded.get();
  const auto handled = table.remember(file(1), std::move(unneeded));
  CHECK_FALSE(is_open(unneeded_number));
  CHECK_FALSE(table.duplicate_pinned(handled.nodeid));

  Fd kept = any_descriptor();
  const int kept_number = kept.get();
  const auto pinned = table.remember(without_handle(2), std::move(kept));
  CHECK(is_open(kept_number));
  CHECK(table.duplicate_pinned(pinned.nodeid));
  CHECK(table.remember(without_handle(2), any_descriptor()).nodeid == pinned.nodeid);
  table.forget(pinned.nodeid, 2);
  CHECK_FALSE(is_open(kept_number));
}

TEST_CASE("a removed file that is known can be pinned") {
  InodeTable table;
  const auto known = table.remember(file(1), Fd());
  table.pin(7, 1, any_descriptor());
  table.pin(7, 99, any_descriptor());
  CHECK(table.duplicate_pinned(known.nodeid));
  CHECK(table.size() == 1);
}

TEST_CASE("what loses a name is held while somebody may still use it") {
  using Removal = InodeTable::Removal;
  InodeTable table;
  const auto known = table.remember(file(1), Fd());
  CHECK(table.begin_removal(7, 99, any_descriptor()) == 0);
  const auto begin = [&table](Fd descriptor) {
    return table.begin_removal(7, 1, std::move(descriptor));
  };
  SECTION("from before the removal on, and not after one that failed") {
    REQUIRE(begin(any_descriptor()) == known.nodeid);
    CHECK(table.duplicate_pinned(known.nodeid));
    table.end_removal(known.nodeid, Removal::kFailed);
    CHECK_FALSE(table.duplicate_pinned(known.nodeid));
  }
  SECTION("a file with another name need not be held any longer") {
    REQUIRE(begin(any_descriptor()) == known.nodeid);
    table.end_removal(known.nodeid, Removal::kUntilForgotten);
    CHECK_FALSE(table.duplicate_pinned(known.nodeid));
  }
  SECTION("until it is forgotten if it has no other") {
    REQUIRE(begin(nameless_descriptor()) == known.nodeid);
    table.end_removal(known.nodeid, Removal::kUntilForgotten);
    CHECK(table.duplicate_pinned(known.nodeid));
    table.forget(known.nodeid, 1);
    CHECK_FALSE(table.duplicate_pinned(known.nodeid));
  }
  SECTION("or only if it was looked up again, also during the removal") {
    REQUIRE(begin(nameless_descriptor()) == known.nodeid);
    const bool again = GENERATE(false, true);
    if (again) table.remember(file(1), Fd());
    table.end_removal(known.nodeid, Removal::kIfFoundAgain);
    CHECK(static_cast<bool>(table.duplicate_pinned(known.nodeid)) == again);
  }
  SECTION("of two removals at a time the last one decides") {
    REQUIRE(begin(any_descriptor()) == known.nodeid);
    REQUIRE(begin(any_descriptor()) == known.nodeid);
    table.end_removal(known.nodeid, Removal::kFailed);
    CHECK(table.duplicate_pinned(known.nodeid));
    table.end_removal(known.nodeid, Removal::kKept);
    CHECK(table.duplicate_pinned(known.nodeid));
  }
  SECTION("when a lookup finds that its file has lost its name") {
    table.hold_removed(known.nodeid, nameless_descriptor());
    CHECK(table.duplicate_pinned(known.nodeid));
    table.forget(known.nodeid, 1);
    table.hold_removed(known.nodeid, nameless_descriptor());
    CHECK_FALSE(table.duplicate_pinned(known.nodeid));
  }
}

TEST_CASE("lookups and forgets of many threads add up") {
  InodeTable table;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&table] {
      for (uint64_t i = 0; i < 20000; ++i) {
        const auto made = table.remember(file(i % 100), Fd());
        if (i % 2 == 0) table.forget(made.nodeid, 1);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  uint64_t lookups = 0;
  for (uint64_t inode = 0; inode < 100; ++inode) {
    const auto known = table.remember(file(inode), Fd());
    lookups += table.find(known.nodeid)->lookups - 1;
  }
  CHECK(lookups == 4 * 10000);
}

// How much a lookup costs here; run with: fs_test "[.speed]"
TEST_CASE("speed of the inode table", "[.speed]") {
  for (const unsigned count : {1U, 2U, 4U}) {
    InodeTable table;
    const auto begin = std::chrono::steady_clock::now();
    std::vector<std::thread> threads;
    for (unsigned t = 0; t < count; ++t) {
      threads.emplace_back([&table, t] {
        for (uint64_t i = 0; i < 500000; ++i) table.remember(file((t << 20U) + i), Fd());
      });
    }
    for (std::thread& thread : threads) thread.join();
    const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - begin;
    WARN(count << " threads: " << took.count() / (500000.0 * count) << " ns for a new inode");
  }
}

}  // namespace shufflefs::fs
