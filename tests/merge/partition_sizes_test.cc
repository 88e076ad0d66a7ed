// How large the partitions are, asked of single nodes.
#include <catch2/catch_test_macros.hpp>

#include "support/test_cluster.h"

namespace shufflefs::merge {
namespace {

using testing::random_blocks;
using testing::TestCluster;
const ShuffleKey kShuffle = *parse_shuffle_key("app/0");
const std::vector<uint64_t> kSizes = {100, 0, 5000, 20, 30'000, 9, 700};

PartitionSizes sizes(TestCluster& cluster, std::size_t node, uint32_t first, uint32_t cells,
                     uint32_t width) {
  return cluster.run(cluster.engine(node).partition_sizes({kShuffle, first, cells, width}));
}

}  // namespace

TEST_CASE("partition sizes: committed at the origins, merged at the owners, by cell") {
  TestCluster cluster(2);
  cluster.start();
  for (uint64_t map = 0; map < 6; ++map)
    cluster.write_map(map % 3 == 0 ? 0 : 1, kShuffle, map, random_blocks(map, kSizes));
  cluster.settle(kShuffle, 6);

  const PartitionSizes first = sizes(cluster, 0, 0, 7, 1);
  const PartitionSizes second = sizes(cluster, 1, 0, 7, 1);
  CHECK(first.maps == 2);
  CHECK(first.maps_counted == 2);
  CHECK(second.maps_counted == 4);
  for (std::size_t p = 0; p < kSizes.size(); ++p) {
    CHECK(first.committed_bytes[p] == 2 * kSizes[p]);
    CHECK(second.committed_bytes[p] == 4 * kSizes[p]);
    CHECK(first.merged_bytes[p] + second.merged_bytes[p] == 6 * kSizes[p]);
  }

  const PartitionSizes wide = sizes(cluster, 1, 1, 3, 2);  // 1-2, 3-4, 5-6
  CHECK(wide.committed_bytes == std::vector<uint64_t>{4 * 5000, 4 * (20 + 30'000), 4 * (9 + 700)});
  const PartitionSizes beyond = sizes(cluster, 1, 6, 4, 5);
  CHECK(beyond.committed_bytes == std::vector<uint64_t>{4 * 700, 0, 0, 0});
  CHECK(sizes(cluster, 1, 0, 1U << 31U, 1).committed_bytes.size() ==
        PartitionSizesQuestion::kMostCells);
}

TEST_CASE("partition sizes: later map outputs are added, and a shuffle nobody knows is empty") {
  TestCluster cluster(1);
  cluster.start();
  CHECK(sizes(cluster, 0, 0, 2, 1).committed_bytes == std::vector<uint64_t>{0, 0});
  cluster.write_map(0, kShuffle, 1, {"abc", "d"});
  cluster.settle(kShuffle, 1);
  CHECK(sizes(cluster, 0, 0, 2, 1).committed_bytes == std::vector<uint64_t>{3, 1});
  cluster.write_map(0, kShuffle, 2, {"", "efgh", "i"});
  cluster.settle(kShuffle, 2);
  CHECK(sizes(cluster, 0, 0, 3, 1).committed_bytes == std::vector<uint64_t>{3, 5, 1});
  // What is dropped is not remembered.
  REQUIRE(cluster.run(cluster.engine(0).catalog().drop(kShuffle.app, kShuffle.shuffle)));
  CHECK(sizes(cluster, 0, 0, 3, 1).committed_bytes == std::vector<uint64_t>{0, 0, 0});
}

}  // namespace shufflefs::merge
