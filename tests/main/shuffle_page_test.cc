#include <boost/json/parse.hpp>
#include <catch2/catch_test_macros.hpp>
#include <numeric>

#include "main/pages.h"

namespace shufflefs {
namespace {

boost::json::value partitions_of(const std::vector<uint64_t>& sizes) {
  boost::json::array partitions;
  for (std::size_t i = 0; i < sizes.size(); ++i)
    partitions.push_back({{"partition", i}, {"bytes", sizes[i]}, {"owner", "node1"}});
  return boost::json::object{{"partitions", partitions}};
}

Skew skew(const std::vector<uint64_t>& sizes) {
  const boost::json::value partitions = partitions_of(sizes);
  return skew_of(View(partitions).list("partitions"));
}

}  // namespace

TEST_CASE("skew: every partition with bytes is in one class, and the classes have no gaps") {
  const Skew found = skew({0, 5, 4, 7, 8, 100, 0, 6});
  CHECK(found.empty == 2);
  CHECK(found.median == 6);
  CHECK(found.largest == 100);
  CHECK(found.largest_partition == 5);
  CHECK(found.classes.front().least == 4);
  CHECK(found.classes.front().partitions == 4);
  CHECK(found.classes.back().below == 128);
  std::size_t sum = 0;
  for (std::size_t i = 0; i < found.classes.size(); ++i) {
    sum += found.classes[i].partitions;
    if (i > 0) CHECK(found.classes[i].least == found.classes[i - 1].below);
  }
  CHECK(sum == 6);
  CHECK(skew({}).classes.empty());
  CHECK(skew({UINT64_MAX, 1}).classes.size() == 64);
}

TEST_CASE("shuffle page: skew, reasons, and the largest partitions first") {
  const boost::json::value shuffle = boost::json::parse(R"({"app": "wc", "maps": 4, "partitions": 3,
    "bytes": 3584, "merged_bytes": 1792, "merged_partitions": 2, "given_up": [{"node": "node1",
    "reason": "owner node3: down", "chunks": 1, "blocks": 2, "bytes": 1792}]})");
  boost::json::value partitions = partitions_of({1024, 2048, 512});
  partitions.at("partitions").at(2).as_object()["incomplete"] = "map 7 is lost";
  CHECK(shuffle_page(shuffle, View(partitions).list("partitions"), 2, Terminal::plain()) ==
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
  const boost::json::value value =
      boost::json::parse(R"({"partition": 3, "bytes": 30, "merged_bytes": 10,
    "blocks": 2, "owner": "node2", "unreachable": ["node3: down"],
    "list": [{"map": 1, "offset": 0, "bytes": 10, "merged_at": "node2", "crc32c": "0a", "origin": null},
             {"map": 2, "offset": 10, "bytes": 20, "merged_at": null, "crc32c": null, "origin": "node1"}]})");
  CHECK(partition_page("wc/0", value, 20) ==
        "wc/0/3: 2 blocks, 30 B; 10 B merged (33.3 %); its owner is node2\n"
        "  not reached: node3: down\n"
        "\n"
        "MAP  OFFSET  BYTES  MERGED AT  WRITTEN ON       CRC32C\n"
        "1    0       10 B   node2      does not answer  0a\n"
        "2    10      20 B   -          node1            -\n");
}

}  // namespace shufflefs
