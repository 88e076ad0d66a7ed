// The merged partitions of a node over the lives of a shuffle's name and the commits of its map
// outputs. Several disks: disks_test.cc.
#include "merge/merge_store.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <future>

#include "base/crc32c.h"
#include "support/faulty_io.h"
#include "support/in_memory.h"
#include "support/run_task.h"
#include "support/temp_dir.h"

namespace shufflefs::merge {
namespace {

const ShuffleKey kShuffle = *parse_shuffle_key("app/0");
constexpr uint64_t kGiB = 1ULL << 30U;

MapCommit commit_of(uint64_t map, uint64_t commit = 1, uint64_t origin = 1) {
  return {static_cast<MapId>(map), {commit, static_cast<NodeTag>(origin)}};
}

struct Fixture {
  testing::InMemory here;
  testing::TempDir dir;
  testing::FaultyIo io;
  AsioRuntime runtime{1};
  std::vector<std::string> paths = {dir / "a", dir / "b"};
  uint64_t known_life = 0;
  // A start of the node.
  struct Node {
    explicit Node(Fixture& at, const std::vector<std::size_t>& away = {})
        : disks(at.io, at.paths, kGiB),
          trash(at.runtime, at.io, std::chrono::seconds(0)),
          store(at.io, trash, disks, options(at)) {
      disks.refresh();
      for (const std::size_t disk : away) disks.fail(disk, "away");
      for (std::size_t disk = 0; disk < disks.size(); ++disk) {
        if (disks.is_well(disk)) REQUIRE(trash.add_disk(at.paths[disk]));
      }
      REQUIRE(store.load());
    }
    static MergeStoreOptions options(const Fixture& at) {
      MergeStoreOptions options;
      options.held_bytes = 0;
      options.split_bytes = 8;
      options.life_of = [&at](const ShuffleKey&) { return at.known_life; };
      return options;
    }
    Disks disks;
    Trash trash;
    MergeStore store;
  };
  std::unique_ptr<Node> node;
  MergeStore* store = nullptr;

  Fixture() {
    for (const std::string& path : paths) io.free_bytes[path] = 100 * kGiB;
    restart();
  }
  void restart(const std::vector<std::size_t>& away = {}) {
    if (node) node->store.stop_holding();
    node = std::make_unique<Node>(*this, away);
    store = &node->store;
  }
  void comes_back(std::size_t disk) {
    REQUIRE(node->disks.works_again(disk));
    REQUIRE(store->finish_drops(disk));
    node->disks.recovered(disk);
  }
  Result<MergedPartition::Appended> append(uint64_t life, uint32_t partition,
                                           const MapCommit& commit, std::string_view text) {
    const auto bytes = std::as_bytes(std::span(text.data(), text.size()));
    return store->append(
        kShuffle, life,
        {{static_cast<PartitionId>(partition), commit.map, commit.id, crc32c(bytes), bytes}},
        [] { return true; });
  }
  // The bytes of a partition; "-" if it is not here.
  [[nodiscard]] std::string read(uint32_t partition) const {
    const auto merged = store->find(kShuffle, static_cast<PartitionId>(partition));
    if (!merged) return "-";
    std::string text((*merged)->bytes(), ' ');
    if (!(*merged)->read(0, std::as_writable_bytes(std::span(text)))) return "unreadable";
    return text;
  }
  [[nodiscard]] bool is_there(std::size_t disk, std::string_view below) {
    return static_cast<bool>(io.stat(paths[disk] + "/merged/" + std::string(below)));
  }
};

}  // namespace

// ---- lives ---------------------------------------------------------------------------------------------------------

TEST_CASE_METHOD(Fixture, "each life of a shuffle's name has its own directory") {
  REQUIRE(append(0, 0, commit_of(1), "one"));
  CHECK(is_there(0, "app/0-0/0.index"));
  CHECK(store->life(kShuffle) == 0);
  store->drop(kShuffle, 7);
  CHECK(read(0) == "-");
  CHECK_FALSE(is_there(0, "app"));
  CHECK(store->shuffles().empty());
  known_life = 7;
  CHECK(store->life(kShuffle) == 7);
  const auto late = append(0, 0, commit_of(1), "one");
  REQUIRE_FALSE(late);
  CHECK(late.error().code == Code::kDropped);
  REQUIRE(append(7, 0, commit_of(1), "uno"));
  CHECK(read(0) == "uno");
  CHECK(is_there(0, "app/0-7/0.index"));
}

TEST_CASE_METHOD(Fixture, "a drop ends what is below its life, and nothing else") {
  REQUIRE(append(7, 0, commit_of(1), "one"));
  store->drop(kShuffle, 5);
  store->drop(kShuffle, 7);
  CHECK(read(0) == "one");
  store->drop(kShuffle, 8);
  store->drop(kShuffle, 8);
  CHECK(read(0) == "-");
}

TEST_CASE_METHOD(Fixture, "a push of a later life ends the earlier one, of an earlier is refused") {
  REQUIRE(append(3, 0, commit_of(1), "one"));
  store->forget(kShuffle, commit_of(2));
  REQUIRE(append(9, 0, commit_of(2), "two"));  // another life: another map output
  CHECK(read(0) == "two");
  CHECK_FALSE(is_there(0, "app/0-3"));
  const auto late = append(3, 0, commit_of(1), "one");
  REQUIRE_FALSE(late);
  CHECK(late.error().code == Code::kDropped);
  CHECK(store->life(kShuffle) == 9);
}

TEST_CASE_METHOD(Fixture, "a drop that cannot move its directory is finished later") {
  REQUIRE(append(0, 0, commit_of(1), "one"));
  io.fail_renames = true;
  store->drop(kShuffle, 7);
  known_life = 7;
  CHECK(read(0) == "-");
  CHECK(node->disks.is_well(0));
  CHECK(is_there(0, "app/0-0"));
  // The next life does not wait for it.
  REQUIRE(append(7, 0, commit_of(1), "uno"));
  store->drop_again();
  CHECK(is_there(0, "app/0-0"));
  io.fail_renames = false;
  store->drop_again();
  CHECK_FALSE(is_there(0, "app/0-0"));
  CHECK(read(0) == "uno");
}

TEST_CASE_METHOD(Fixture, "a start takes the largest life, wherever it lies") {
  REQUIRE(append(0, 0, commit_of(1), "one"));  // disk a
  node->disks.fail(0, "pulled out");
  REQUIRE(append(5, 1, commit_of(2), "two"));  // disk b
  SECTION("on the disks") {
    restart();
    CHECK(store->life(kShuffle) == 5);
    CHECK(read(1) == "two");
  }
  SECTION("what this node knows") {
    known_life = 6;
    restart();
    CHECK(store->life(kShuffle) == 6);
    CHECK(read(1) == "-");
    CHECK_FALSE(is_there(1, "app/0-5"));
    CHECK(store->shuffles().empty());
  }
  CHECK(read(0) == "-");
  CHECK_FALSE(is_there(0, "app/0-0"));
}

TEST_CASE_METHOD(Fixture, "directories that are not ours are left alone") {
  for (const char* name : {"0", "0-", "0-x", "0-1-2", "00-1", "0-01"})
    REQUIRE(io.make_directories(paths[0] + "/merged/app/" + name));
  restart();
  CHECK(store->shuffles().empty());
  CHECK(is_there(0, "app/0"));
  CHECK(is_there(0, "app/0-01"));
}

// ---- a disk that was away at the start -----------------------------------------------------------------------------

TEST_CASE_METHOD(Fixture,
                 "what a disk has that was away at the start is taken up when it is back") {
  // Partition 0: index on a, its segment 1 on b. Partition 1: the reverse.
  for (uint32_t p = 0; p < 2; ++p) {
    REQUIRE(append(0, p, commit_of(1), "first"));
    REQUIRE(append(0, p, commit_of(2), "second"));
  }
  REQUIRE(is_there(1, "app/0-0/0.1.data"));
  REQUIRE(is_there(0, "app/0-0/1.1.data"));
  restart({0});
  CHECK(read(0) == "-");
  comes_back(0);
  CHECK(read(0) == "firstsecond");
  CHECK(read(1) == "firstsecond");
}

TEST_CASE_METHOD(Fixture, "a returning disk's copy stays beside one that was begun anew") {
  REQUIRE(append(0, 0, commit_of(1), "first"));   // a
  REQUIRE(append(0, 0, commit_of(2), "second"));  // segment 1, on b
  REQUIRE(append(0, 0, commit_of(3), "third"));   // segment 2, on a
  restart({0});
  REQUIRE(append(0, 0, commit_of(1), "first"));  // begun anew on b, above the segment there
  comes_back(0);
  CHECK(read(0) == "first");
  for (uint64_t map = 4; map < 8; ++map)
    REQUIRE(append(0, 0, commit_of(map), "more" + std::to_string(map)));
  CHECK(read(0) == "firstmore4more5more6more7");
  // The longer one counts from the next start on; nothing of it has been written over.
  restart();
  CHECK(read(0) == "firstmore4more5more6more7");
  CHECK_FALSE(is_there(0, "app/0-0/0.index"));
}

TEST_CASE_METHOD(Fixture, "a returning disk loses earlier lives, and brings later ones") {
  REQUIRE(append(3, 0, commit_of(1), "one"));
  restart({0});
  SECTION("earlier") {
    REQUIRE(append(5, 1, commit_of(1), "uno"));
    comes_back(0);
    CHECK_FALSE(is_there(0, "app/0-3"));
    CHECK(read(0) == "-");
    CHECK(read(1) == "uno");
  }
  SECTION("later") {
    REQUIRE(append(2, 1, commit_of(1), "uno"));
    comes_back(0);
    CHECK(read(0) == "one");
    CHECK(read(1) == "-");
    CHECK_FALSE(is_there(1, "app/0-2"));
    CHECK(store->life(kShuffle) == 3);
  }
}

// ---- commits -------------------------------------------------------------------------------------------------------

TEST_CASE_METHOD(Fixture, "a push of a commit that is over is refused, and says why") {
  REQUIRE(append(0, 0, commit_of(1, 5), "five"));
  REQUIRE(append(0, 1, commit_of(1, 7), "seven"));
  const auto replaced = append(0, 2, commit_of(1, 5), "five");
  REQUIRE_FALSE(replaced);
  CHECK(replaced.error().code == Code::kDropped);
  CHECK(read(0).empty());
  store->forget(kShuffle, commit_of(1, 7));
  const auto removed = append(0, 2, commit_of(1, 7), "seven");
  REQUIRE_FALSE(removed);
  CHECK(removed.error().code == Code::kDropped);
  CHECK(removed.error().message == "map 1 of shuffle app/0 has been removed");
  CHECK(read(1).empty());
  REQUIRE(append(0, 2, commit_of(1, 9), "nine"));
  const auto earlier = append(0, 2, commit_of(1, 8), "eight");
  REQUIRE_FALSE(earlier);
  CHECK(earlier.error().message == "map 1 of shuffle app/0 has been replaced by a later commit");
  CHECK(store->contains(kShuffle, PartitionId{2}, commit_of(1, 9)));
  CHECK_FALSE(store->contains(kShuffle, PartitionId{2}, commit_of(1, 8)));
}

TEST_CASE_METHOD(Fixture, "the others of a push with a commit that is over are merged") {
  REQUIRE(append(0, 0, commit_of(1, 7), "seven"));
  const std::string_view text = "text";
  const auto bytes = std::as_bytes(std::span(text.data(), text.size()));
  const auto block = [&](const MapCommit& commit) {
    return MergeStore::Block{PartitionId{0}, commit.map, commit.id, crc32c(bytes), bytes, {}};
  };
  const auto done = store->append(kShuffle, 0, {block(commit_of(1, 5)), block(commit_of(2, 5))},
                                  [] { return true; });
  REQUIRE_FALSE(done);
  CHECK(done.error().code == Code::kDropped);
  CHECK(read(0) == "seventext");
}

TEST_CASE_METHOD(Fixture, "an origin's commits up to a number are refused, whenever they come") {
  store->forget_range(kShuffle, NodeTag{1}, {1, 10});
  CHECK(store->shuffles().empty());
  CHECK_FALSE(append(0, 0, commit_of(1, 10, 1), "ten"));
  REQUIRE(append(0, 0, commit_of(1, 11, 1), "eleven"));
  REQUIRE(append(0, 0, commit_of(2, 5, 2), "five"));
  store->forget_range(kShuffle, NodeTag{1}, {1, 11});
  CHECK(read(0) == "five");
}

TEST_CASE_METHOD(Fixture, "what is over is known although its partition was evicted") {
  REQUIRE(append(0, 0, commit_of(1), "one"));
  store->forget(kShuffle, commit_of(1));
  REQUIRE(store->evict(kShuffle, 0));
  CHECK(store->shuffles().empty());
  CHECK_FALSE(append(0, 0, commit_of(1), "one"));
  REQUIRE(append(0, 0, commit_of(2), "two"));
  CHECK(read(0) == "two");
}

// ---- who waits for a disk --------------------------------------------------------------------------------------------

TEST_CASE_METHOD(Fixture, "a read makes nothing on the disk") {
  REQUIRE(append(0, 0, commit_of(1), "first"));   // disk a
  REQUIRE(append(0, 0, commit_of(2), "second"));  // segment 1, on b
  store->stop_holding();
  REQUIRE(io.remove_tree(paths[1] + "/merged/app"));
  restart();
  CHECK(read(0) == "first");
  CHECK(store->totals(kShuffle).partitions == 1);
  CHECK_FALSE(is_there(1, "app"));
}

TEST_CASE_METHOD(Fixture, "a segment that vanished in use is an error, and no read makes it anew") {
  REQUIRE(append(0, 0, commit_of(1), "first"));
  REQUIRE(append(0, 0, commit_of(2), "second"));
  restart();
  CHECK(read(0) == "firstsecond");
  REQUIRE(io.remove_tree(paths[1] + "/merged/app"));
  std::string text(11, ' ');
  const auto done =
      (*store->find(kShuffle, PartitionId{0}))->read(0, std::as_writable_bytes(std::span(text)));
  REQUIRE_FALSE(done);
  CHECK(done.error().code == Code::kCorruptData);
  CHECK_FALSE(is_there(1, "app"));
}

TEST_CASE_METHOD(Fixture, "listings and removals do not wait for a disk that hangs") {
  REQUIRE(append(0, 0, commit_of(1), "one"));
  std::promise<void> hangs;
  std::promise<void> ends;
  io.before_make_directories = [&, once = std::make_shared<std::once_flag>()] {
    std::call_once(*once, [&] {
      hangs.set_value();
      ends.get_future().wait();
    });
  };
  auto appending = std::async(std::launch::async, [&] {
    return static_cast<bool>(append(0, 1, commit_of(1), "one"));  // its disk has no directory yet
  });
  hangs.get_future().wait();
  auto asking = std::async(std::launch::async, [&] {
    CHECK(store->shuffles().size() == 1);
    CHECK(store->uses().size() == 1);
    CHECK_FALSE(store->partitions(kShuffle).empty());
    store->forget(kShuffle, commit_of(2));
    store->forget_range(kShuffle, NodeTag{2}, {1, 1});
    CHECK(store->life(kShuffle) == 0);
  });
  const bool answered = asking.wait_for(std::chrono::seconds(30)) == std::future_status::ready;
  ends.set_value();
  CHECK(answered);
  CHECK(appending.get());
}

}  // namespace shufflefs::merge
