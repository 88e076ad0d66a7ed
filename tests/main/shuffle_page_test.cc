#include "main/shuffle_page.h"

#include <boost/json/parse.hpp>
#include <catch2/catch_test_macros.hpp>
#include <numeric>

namespace shufflefs {
namespace {

std::vector<PartitionView> partitions_of(const std::vector<uint64_t>& sizes) {
  std::vector<PartitionView> partitions;
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    PartitionView partition;
    partition.partition = i;
    partition.bytes = sizes[i];
    partition.owner = "node1";
    partitions.push_back(partition);
  }
  return partitions;
}

}  // namespace

TEST_CASE("skew: every partition with bytes is in one class, and the classes have no gaps") {
  const Skew skew = skew_of(partitions_of({0, 5, 4, 7, 8, 100, 0, 6}));
  CHECK(skew.empty == 2);
  CHECK(skew.median == 6);
  CHECK(skew.largest == 100);
  CHECK(skew.largest_partition == 5);
  CHECK(skew.classes.front().least == 4);
  CHECK(skew.classes.front().partitions == 4);
  CHECK(skew.classes.back().below == 128);
  std::size_t sum = 0;
  for (std::size_t i = 0; i < skew.classes.size(); ++i) {
    sum += skew.classes[i].partitions;
    if (i > 0) CHECK(skew.classes[i].least == skew.classes[i - 1].below);
  }
  CHECK(sum == 6);
  CHECK(skew_of({}).classes.empty());
  CHECK(skew_of(partitions_of({UINT64_MAX, 1})).classes.size() == 64);
}

TEST_CASE("shuffle page: skew, reasons, and the largest partitions first") {
  ShuffleView shuffle;
  shuffle.app = "wc";
  shuffle.maps = 4;
  shuffle.partitions = 3;
  shuffle.bytes = 3584;
  shuffle.merged_bytes = 1792;
  shuffle.merged_partitions = 2;
  shuffle.given_up = {{"node1", "owner node3: down", 1, 2, 1792}};
  auto partitions = partitions_of({1024, 2048, 512});
  partitions[2].incomplete = "map 7 is lost";
  CHECK(shuffle_page(shuffle, partitions, 2, Terminal::plain()) ==
        "wc/0: 4 map outputs, 3 partitions, 3.5 KiB; 1.8 KiB merged in 2 partitions (50.0 %)\n"
        "  gave up wc/0: node1: 2 blocks (1.8 KiB) will not be merged: owner node3: down\n"
        "  incomplete partition 2: map 7 is lost\n"
        "\n"
        "Sizes of partitions: median 1.0 KiB, largest 2.0 KiB (1, 2.0 times the median)\n"
        "  512 B to 1.0 KiB    1  ########################################\n"
        "  1.0 KiB to 2.0 KiB  1  ########################################\n"
        "  2.0 KiB to 4.0 KiB  1  ########################################\n"
        "\n"
        "PARTITION  OWNER  BYTES    MERGED  RATIO  MAPS  MAPS MERGED\n"
        "1          node1  2.0 KiB  0 B     0.0 %  0     0\n"
        "0          node1  1.0 KiB  0 B     0.0 %  0     0\n"
        "and 1 smaller ones; --all lists them\n");
}

TEST_CASE("partition page: each block with its copies") {
  const auto value = boost::json::parse(R"({"partition": 3, "bytes": 30, "merged_bytes": 10,
    "blocks": 2, "owner": "node2", "unreachable": ["node3: down"],
    "list": [{"map": 1, "offset": 0, "bytes": 10, "merged_at": "node2", "crc32c": "0a", "origin": null},
             {"map": 2, "offset": 10, "bytes": 20, "merged_at": null, "crc32c": null, "origin": "node1"}]})");
  const auto* const list = value.as_object().if_contains("list");
  std::vector<BlockView> blocks;
  for (const auto& item : list->as_array()) blocks.push_back(block_view(item));
  CHECK(partition_page("wc/0", partition_view(value), blocks, 20) ==
        "wc/0/3: 2 blocks, 30 B; 10 B merged (33.3 %); its owner is node2\n"
        "  not reached: node3: down\n"
        "\n"
        "MAP  OFFSET  BYTES  MERGED AT  WRITTEN ON       CRC32C\n"
        "1    0       10 B   node2      does not answer  0a\n"
        "2    10      20 B   -          node1            -\n");
}

}  // namespace shufflefs
