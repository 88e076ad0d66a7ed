#include "merge/block_sizes.h"

#include <catch2/catch_test_macros.hpp>
#include <numeric>
#include <random>

namespace shufflefs::merge {

TEST_CASE("sizes without a block") {
  const BlockSizes none;
  CHECK(none.partition_count() == 0);
  CHECK(none.total_bytes() == 0);
  CHECK(none.size() == 0);
  CHECK(none.length(PartitionId{0}) == 0);
  CHECK(none.first_from(0) == 0);
  const BlockSizes empty(std::vector<uint64_t>{0, 0, 0});
  CHECK(empty.partition_count() == 3);
  CHECK(empty.total_bytes() == 0);
  CHECK(empty.size() == 0);
  CHECK(empty != none);
}

TEST_CASE("sizes say what the lengths do, whichever way they are made") {
  std::mt19937_64 random(3);
  for (int round = 0; round < 200; ++round) {
    std::vector<uint64_t> lengths(random() % 60);
    for (uint64_t& length : lengths)
      length = random() % 2 == 0 ? 0 : random() % 4 == 0 ? random() >> 8U : random() % 100;
    const BlockSizes sizes(lengths);
    BlockSizes added;
    for (std::size_t p = 0; p < lengths.size(); ++p)
      added.add(static_cast<PartitionId>(p), lengths[p]);
    CHECK(added == sizes);
    CHECK(sizes.partition_count() == lengths.size());
    CHECK(sizes.total_bytes() == std::accumulate(lengths.begin(), lengths.end(), uint64_t{0}));
    uint64_t offset = 0;
    std::size_t next = 0;
    for (uint32_t p = 0; p < lengths.size(); ++p) {
      CHECK(sizes.length(static_cast<PartitionId>(p)) == lengths[p]);
      CHECK(sizes.first_from(p) == next);
      if (lengths[p] == 0) continue;
      REQUIRE(next < sizes.size());
      CHECK(number(sizes[next].partition) == p);
      CHECK(sizes[next].offset == offset);
      CHECK(sizes[next].length == lengths[p]);
      offset += lengths[p];
      ++next;
    }
    CHECK(sizes.size() == next);
    CHECK(sizes.first_from(lengths.size()) == next);
    CHECK(sizes.first_from(UINT64_MAX) == next);
    CHECK(sizes.length(PartitionId{UINT32_MAX}) == 0);
  }
}

TEST_CASE("a lonely block among a million partitions costs as much as one of one") {
  BlockSizes sizes;
  sizes.add(PartitionId{500'000}, 7);
  sizes.add(PartitionId{999'999}, 0);
  CHECK(sizes.partition_count() == 1'000'000);
  CHECK(sizes.size() == 1);
  CHECK(sizes.length(PartitionId{500'000}) == 7);
  CHECK(sizes.length(PartitionId{499'999}) == 0);
  CHECK(sizes.memory_bytes() < 200);
}

}  // namespace shufflefs::merge
