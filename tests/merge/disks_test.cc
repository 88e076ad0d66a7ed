// Several disks: placement, refusal, eviction, and a disk that fails.
#include "merge/disks.h"

#include <catch2/catch_test_macros.hpp>

#include "base/crc32c.h"
#include "merge/merge_store.h"
#include "support/faulty_io.h"
#include "support/in_memory.h"
#include "support/run_task.h"
#include "support/temp_dir.h"

namespace shufflefs::merge {
namespace {

const ShuffleKey kShuffle = *parse_shuffle_key("app/0");
constexpr uint64_t kGiB = 1ULL << 30U;

struct Fixture {
  testing::InMemory here;
  testing::TempDir dir;
  testing::FaultyIo io;
  AsioRuntime runtime{1};
  std::vector<std::string> paths = {dir / "a", dir / "b"};
  Disks disks{io, paths, kGiB};
  Trash trash{runtime, io, std::chrono::seconds(0)};
  MergeStore store{io, trash, disks, {.held_bytes = 0}};

  Fixture() {
    for (const std::string& path : paths) {
      io.free_bytes[path] = 100 * kGiB;
      REQUIRE(trash.add_disk(path));
    }
    disks.refresh();
    REQUIRE(store.load());
  }
  Result<MergedPartition::Appended> append(uint32_t partition, uint64_t map,
                                           const ShuffleKey& shuffle = kShuffle) {
    return append_to(store, partition, map, shuffle, 0);
  }
  static Result<MergedPartition::Appended> append_to(MergeStore& to, uint32_t partition,
                                                     uint64_t map, const ShuffleKey& shuffle,
                                                     uint64_t life, uint64_t commit = 1) {
    // More than a page: it goes to the disk at once.
    static const std::string text(5000, 'b');
    const auto bytes = std::as_bytes(std::span(text));
    return to.append(shuffle, life,
                     {{static_cast<PartitionId>(partition), static_cast<MapId>(map), id_of(commit),
                       crc32c(bytes), bytes}},
                     [] { return true; });
  }
  static CommitId id_of(uint64_t commit) { return {commit, NodeTag{1}}; }
  static MapCommit commit_of(uint64_t map, uint64_t commit = 1) {
    return {static_cast<MapId>(map), id_of(commit)};
  }
  [[nodiscard]] std::size_t partitions_on(std::size_t disk) {
    std::size_t count = 0;
    const auto entries = io.list(paths[disk] + "/merged/app/0-0");
    if (!entries) return 0;
    for (const DirectoryEntry& entry : *entries) count += entry.name.ends_with(".index") ? 1 : 0;
    return count;
  }
};

}  // namespace

TEST_CASE_METHOD(Fixture, "partitions are spread over the disks that have room") {
  for (uint32_t p = 0; p < 10; ++p) REQUIRE(append(p, 1));
  CHECK(partitions_on(0) == 5);
  CHECK(partitions_on(1) == 5);
  io.free_bytes[paths[0]] = 10 * kGiB;  // far less than the other
  disks.refresh();
  for (uint32_t p = 10; p < 20; ++p) REQUIRE(append(p, 1));
  CHECK(partitions_on(0) == 5);
  CHECK(partitions_on(1) == 15);
}

TEST_CASE_METHOD(Fixture, "below the reserve pushes are refused with a reason") {
  REQUIRE(append(0, 1));
  for (const std::string& path : paths) io.free_bytes[path] = kGiB / 2;
  disks.refresh();
  for (const uint32_t partition : {0U, 1U}) {
    const auto refused = append(partition, 2);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == Code::kNoSpace);
    CHECK(refused.error().message.find("reserve") != std::string::npos);
  }
  for (const std::string& path : paths) io.free_bytes[path] = 100 * kGiB;
  disks.refresh();
  CHECK(append(0, 2));
}

TEST_CASE_METHOD(Fixture, "a write that finds no room is refused as such, and the disk rests") {
  REQUIRE(append(0, 1));
  io.fail_writes_below[paths[0]] = ENOSPC;
  const auto refused = append(0, 2);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Code::kNoSpace);
  CHECK(disks.is_well(0));
  CHECK_FALSE(disks.takes_merged(0));
  io.fail_writes_below.clear();
  disks.refresh();
  CHECK(append(0, 2));
}

TEST_CASE_METHOD(Fixture,
                 "a disk that errors leaves at once, the others go on with its partitions") {
  for (uint32_t p = 0; p < 10; ++p) REQUIRE(append(p, 1));
  io.fail_writes_below[paths[0]] = EIO;
  for (uint32_t p = 0; p < 10; ++p) REQUIRE(append(p, 2));
  CHECK_FALSE(disks.is_well(0));
  CHECK(disks.is_well(1));
  const auto status = disks.status();
  CHECK(status[0].failed.find(paths[0]) != std::string::npos);
  CHECK_FALSE(status[0].takes_merged);
  // Begun anew on the other: what the failed disk had is not served any more.
  const auto merged = store.find(kShuffle, PartitionId{0});
  REQUIRE(merged);
  CHECK((*merged)->blocks() == 1);
  CHECK((*store.find(kShuffle, PartitionId{1}))->blocks() == 2);
  CHECK(partitions_on(1) == 10);
}

TEST_CASE_METHOD(Fixture, "a disk that errors when the last pages are written leaves as well") {
  for (uint32_t p = 0; p < 10; ++p) REQUIRE(append(p, 1));
  io.fail_writes_below[paths[0]] = EIO;
  store.flush_idle();  // all were written to since the last call, which there was none
  CHECK(disks.is_well(0));
  store.flush_idle();
  CHECK_FALSE(disks.is_well(0));
  CHECK(disks.is_well(1));
  CHECK((*store.find(kShuffle, PartitionId{1}))->blocks() == 1);
}

TEST_CASE_METHOD(Fixture,
                 "a copy that was begun anew while its disk was away goes when that is back") {
  for (uint32_t p = 0; p < 4; ++p) REQUIRE(append(p, 1));
  disks.fail(0, "pulled out");
  for (uint32_t p = 0; p < 4; ++p) REQUIRE(append(p, 2));
  CHECK(partitions_on(0) == 2);
  CHECK(disks.works_again(0));
  io.fail_removals = true;  // not to be used while it has them
  CHECK_FALSE(store.finish_drops(0));
  io.fail_removals = false;
  CHECK(store.finish_drops(0));
  disks.recovered(0);
  CHECK(partitions_on(0) == 0);
  CHECK(partitions_on(1) == 4);
  for (uint32_t p = 0; p < 4; ++p)
    CHECK((*store.find(kShuffle, PartitionId{p}))->contains(commit_of(2)));
}

TEST_CASE_METHOD(Fixture, "what was dropped while its disk was away is gone when that is back") {
  for (uint32_t p = 0; p < 4; ++p) REQUIRE(append(p, 1));
  disks.fail(0, "pulled out");
  store.drop(kShuffle, 1);
  CHECK(partitions_on(0) == 2);
  CHECK(disks.works_again(0));
  CHECK(store.finish_drops(0));
  disks.recovered(0);
  CHECK(partitions_on(0) == 0);
  CHECK(disks.is_well(0));
}

TEST_CASE_METHOD(
    Fixture,
    "a disk that was away at the start is taken up when it is back, but for earlier lives") {
  const auto dropped = ShuffleKey{kShuffle.app, ShuffleId{1}};
  for (uint32_t p = 0; p < 4; ++p) {
    REQUIRE(append(p, 1));
    REQUIRE(append(p, 1, dropped));
  }
  store.stop_holding();
  Disks later{io, paths, kGiB};
  later.refresh();
  later.fail(0, "pulled out");
  Trash its_trash{runtime, io, std::chrono::seconds(0)};
  REQUIRE(its_trash.add_disk(paths[1]));
  MergeStoreOptions options;
  options.life_of = [&](const ShuffleKey& key) { return key == dropped ? 1U : 0U; };
  MergeStore restarted(io, its_trash, later, options);
  REQUIRE(restarted.load());
  CHECK(later.works_again(0));
  CHECK(restarted.finish_drops(0));
  later.recovered(0);
  CHECK(partitions_on(0) == 2);  // it may be the only copy
  for (uint32_t p = 0; p < 4; ++p)
    CHECK((*restarted.find(kShuffle, PartitionId{p}))->contains(commit_of(1)));
  CHECK_FALSE(io.stat(paths[0] + "/merged/app/1-0"));
  restarted.drop(kShuffle, 1);  // the disk has a trash again
  CHECK(partitions_on(0) == 0);
}

TEST_CASE_METHOD(Fixture, "after a restart what is of an earlier life is not taken up") {
  for (uint32_t p = 0; p < 4; ++p) REQUIRE(append(p, 1));
  MergeStoreOptions options;
  options.life_of = [](const ShuffleKey&) { return 1U; };
  MergeStore restarted(io, trash, disks, options);
  REQUIRE(restarted.load());
  CHECK(restarted.shuffles().empty());
  CHECK(partitions_on(0) + partitions_on(1) == 0);
}

TEST_CASE_METHOD(Fixture, "when the failed disk is back after a restart the longer copy counts") {
  for (uint64_t map = 0; map < 3; ++map) REQUIRE(append(0, map));
  for (int i = 0; i < 2; ++i) store.flush_idle();
  io.fail_writes_below[paths[0]] = EIO;
  REQUIRE(append(0, 9));
  io.fail_writes_below.clear();
  Disks again(io, paths, kGiB);
  again.refresh();
  MergeStore restarted(io, trash, again);
  REQUIRE(restarted.load());
  CHECK((*restarted.find(kShuffle, PartitionId{0}))->blocks() == 3);
}

TEST_CASE_METHOD(Fixture, "eviction takes a shuffle's partitions of one disk, and only those") {
  const ShuffleKey other = *parse_shuffle_key("app/1");
  for (uint32_t p = 0; p < 4; ++p) {
    REQUIRE(append(p, 1));
    REQUIRE(append(p, 1, other));
  }
  CHECK(store.evict(kShuffle, 0));
  CHECK_FALSE(store.evict(kShuffle, 0));
  CHECK(store.partitions(kShuffle) == std::vector{PartitionId{1}, PartitionId{3}});
  CHECK(store.partitions(other).size() == 4);
  CHECK(partitions_on(0) == 0);
  // They may come again.
  REQUIRE(append(0, 1));
  CHECK((*store.find(kShuffle, PartitionId{0}))->blocks() == 1);
  CHECK(store.evict(kShuffle, 1));
  CHECK(store.evict(kShuffle, 0));
  CHECK(store.shuffles() == std::vector{other});
}

TEST_CASE_METHOD(Fixture, "the marks: refuse below the reserve, evict below twice as much") {
  CHECK(disks.to_evict(0) == 0);
  io.free_bytes[paths[0]] = 3 * kGiB / 2;
  disks.refresh();
  CHECK(disks.takes_merged(0));
  CHECK(disks.to_evict(0) == 3 * kGiB / 2);
  io.free_bytes[paths[0]] = 0;
  disks.refresh();
  CHECK_FALSE(disks.takes_merged(0));
  CHECK(disks.to_evict(0) == 3 * kGiB);
}

TEST_CASE_METHOD(Fixture, "more partitions than the cache holds are loaded again when needed") {
  MergeStoreOptions options;
  options.cache_bytes = 20'000;  // some dozens
  options.open_files = 8;
  MergeStore small(io, trash, disks, options);
  const auto put = [&](uint32_t partition, uint64_t map) {
    const std::string text = std::to_string(partition) + "/" + std::to_string(map) + ";";
    const auto bytes = std::as_bytes(std::span(text));
    const auto done = small.append(kShuffle, 0,
                                   {{static_cast<PartitionId>(partition), static_cast<MapId>(map),
                                     id_of(1), crc32c(bytes), bytes}},
                                   [] { return true; });
    REQUIRE(done);
    return done->merged == 1;
  };
  for (uint64_t map = 0; map < 5; ++map) {
    for (uint32_t p = 0; p < 500; ++p) CHECK(put(p, map));
  }
  for (uint32_t p = 0; p < 500; ++p) CHECK_FALSE(put(p, p % 5));
  const MergedTotals totals = small.totals(kShuffle);
  CHECK(totals.partitions == 500);
  CHECK(totals.blocks == 2500);
  CHECK(small.contains(kShuffle, PartitionId{499}, commit_of(4)));
  CHECK_FALSE(small.contains(kShuffle, PartitionId{499}, commit_of(5)));
}

}  // namespace shufflefs::merge
