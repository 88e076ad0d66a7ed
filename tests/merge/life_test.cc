// The ends of things: applications by the thousand leave nothing behind, and a node with many
// merged partitions starts quickly.
#include <catch2/catch_test_macros.hpp>
#include <filesystem>

#include "merge/merge_store.h"
#include "support/in_memory.h"
#include "support/test_cluster.h"

namespace shufflefs::merge {
namespace {

namespace fs = std::filesystem;

// How many files and directories; nothing if one vanished while we looked.
std::optional<std::size_t> count_below(const std::string& directory) {
  std::error_code error;
  std::size_t count = 0;
  fs::recursive_directory_iterator it(directory, error);
  for (; !error && it != fs::recursive_directory_iterator(); it.increment(error)) ++count;
  return error ? std::nullopt : std::optional(count);
}

}  // namespace

TEST_CASE("a thousand applications leave nothing behind, on disk or in memory") {
  const testing::InMemory here;
  testing::TestCluster cluster(2, testing::TestCluster::quick(), std::chrono::milliseconds(30),
                               64U << 20U, std::chrono::seconds(0));
  cluster.start();
  std::vector<std::size_t> before;
  for (std::size_t node = 0; node < 2; ++node)
    before.push_back(count_below(cluster.data_dir(node)).value());
  for (int round = 0; round < 10; ++round) {
    std::vector<ShuffleKey> shuffles;
    for (int i = 0; i < 100; ++i) {
      shuffles.push_back(testing::shuffle_key(fmt::format("app-{}-{}/0", round, i)));
      cluster.write_map(static_cast<std::size_t>(i) % 2, shuffles.back(), 1, {"one", "two", ""});
    }
    for (const ShuffleKey& shuffle : shuffles) cluster.settle(shuffle, 1);
    for (const ShuffleKey& shuffle : shuffles)
      REQUIRE(cluster.run(cluster.engine(0).catalog().drop(shuffle.app, std::nullopt)));
  }
  // The trash is emptied by its own clock.
  testing::run_until(cluster.runtime, [&] {
    for (std::size_t node = 0; node < 2; ++node) {
      // What the table's log says of names that were dropped stays, as long as they are not very
      // many (ShuffleTable::forget_old).
      const auto now = count_below(cluster.data_dir(node));
      const auto in_log = count_below(cluster.data_dir(node) + "/table");
      if (!now || !in_log || *now - *in_log > before[node] + 1) return false;
    }
    return true;
  });
  for (std::size_t node = 0; node < 2; ++node) {
    CHECK(cluster.memory(node).used_bytes() == 0);
    CHECK(cluster.run(cluster.engine(node).local_node()->list_shuffles())->empty());
  }
}

// Not in the ordinary run: it makes 200,000 files. `merge_test "[restart]"`.
TEST_CASE("a node with 100,000 merged partitions starts within two seconds", "[.][restart]") {
  testing::TempDir dir;
  const auto io = make_posix_file_io();
  AsioRuntime runtime{1};
  constexpr uint32_t kPartitions = 100'000;
  const ShuffleKey key = testing::shuffle_key("app/0");
  const auto open = [&](auto&& use) {
    Disks disks(*io, {dir / "data"}, 1);
    Trash trash{runtime, *io, std::chrono::seconds(0)};
    REQUIRE(trash.add_disk(dir / "data"));
    disks.refresh();
    MergeStore store(*io, trash, disks, {.verify = false});
    const auto begin = std::chrono::steady_clock::now();
    REQUIRE(store.load());
    const auto took = std::chrono::steady_clock::now() - begin;
    use(store);
    return std::chrono::duration_cast<std::chrono::milliseconds>(took);
  };
  const std::string text = "a block";
  const auto bytes = std::as_bytes(std::span(text));
  open([&](MergeStore& store) {
    for (uint32_t p = 0; p < kPartitions; ++p)
      REQUIRE(store.append(
          key, 0,
          {{static_cast<PartitionId>(p), MapId{1}, CommitId{1, NodeTag{1}}, crc32c(bytes), bytes}},
          [] { return true; }));
  });
  const auto took = open([&](MergeStore& store) {
    CHECK(store.partitions(key).size() == kPartitions);
    CHECK(store.contains(key, PartitionId{kPartitions - 1}, {MapId{1}, {1, NodeTag{1}}}));
  });
  WARN("loaded " << kPartitions << " partitions in " << took.count() << " ms");
  CHECK(took < std::chrono::seconds(2));
}

}  // namespace shufflefs::merge
