#include "merge/push_chunk.h"

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <map>
#include <numeric>
#include <random>
#include <set>

#include "support/test_cluster.h"

namespace shufflefs::merge {
namespace {

Placement three_nodes(uint32_t partitions) {
  return Placement(*parse_shuffle_key("app/0"),
                   {testing::node_name(0), testing::node_name(1), testing::node_name(2)},
                   partitions);
}

}  // namespace

TEST_CASE("with replication the origin's own blocks go to their second choice as well") {
  const Placement placement = three_nodes(40);
  const NodeName origin = testing::node_name(1);
  const std::vector<uint64_t> lengths(40, 10);
  const ChunkPlan plan =
      plan_chunks(BlockSizes(lengths), placement, {1000, 1000}, MapId{1}, origin);
  std::map<uint32_t, std::set<NodeName>> holders;
  for (const auto& [owner, chunk] : plan.chunks) {
    for (const BlockToPush& block : chunk.blocks) {
      const PartitionId p = block.partition;
      CHECK(holders[number(p)].insert(owner).second);
      CHECK((owner == placement.owner(p) || owner == placement.second(p)));
    }
  }
  for (uint32_t p = 0; p < 40; ++p) {
    const bool own = placement.owner(PartitionId{p}) == origin;
    CHECK(holders[p].size() == (own ? 2 : 1));
    holders[p].erase(origin);
    CHECK(holders[p].size() == 1);
  }
}

TEST_CASE("every block is in exactly one chunk of its owner, or left at home") {
  std::mt19937_64 random(5);
  for (int round = 0; round < 300; ++round) {
    const auto partitions = static_cast<uint32_t>(1 + random() % 300);
    std::vector<uint64_t> lengths(partitions);
    for (uint64_t& length : lengths) length = random() % 3 == 0 ? 0 : random() % 5000;
    const ChunkLimits limits{1 + random() % 8000, 1 + random() % 5000};
    const Placement placement = three_nodes(partitions);
    const ChunkPlan plan =
        plan_chunks(BlockSizes(lengths), placement, limits, MapId{random() % 1000});
    std::set<uint32_t> seen;
    for (const auto& [owner, chunk] : plan.chunks) {
      REQUIRE_FALSE(chunk.blocks.empty());
      uint64_t bytes = 0;
      for (const auto& [p, length] : chunk.blocks) {
        CHECK(placement.owner(p) == owner);
        CHECK(seen.insert(number(p)).second);
        CHECK(length == lengths[number(p)]);
        bytes += length;
      }
      CHECK(bytes == chunk.bytes);
      const uint32_t first = number(chunk.blocks.front().partition);
      const uint32_t last = number(chunk.blocks.back().partition);
      CHECK(chunk.data_offset ==
            std::accumulate(lengths.begin(), lengths.begin() + first, uint64_t{0}));
      CHECK(chunk.group == first / placement.bucket_width());
      CHECK((chunk.blocks.size() == 1 || bytes <= limits.chunk_bytes));
      CHECK(std::ranges::is_sorted(chunk.blocks, {}, &BlockToPush::partition));
      // Contiguous in the file: only empty blocks lie between.
      for (uint32_t p = first; p < last; ++p) {
        CHECK((lengths[p] == 0 || std::ranges::binary_search(chunk.blocks, PartitionId{p}, {},
                                                             &BlockToPush::partition)));
      }
    }
    uint64_t left = 0;
    for (uint32_t p = 0; p < partitions; ++p) {
      CHECK(seen.contains(p) == (lengths[p] > 0 && lengths[p] <= limits.max_block_bytes));
      if (lengths[p] > limits.max_block_bytes) ++left;
    }
    CHECK(plan.blocks_left_home == left);
  }
}

TEST_CASE("the order of chunks is random, but the same for the same map") {
  const std::vector<uint64_t> lengths(200, 1000);
  const Placement placement = three_nodes(200);
  const auto first_partitions = [&](uint64_t map) {
    std::vector<uint32_t> order;
    for (const auto& [owner, chunk] :
         plan_chunks(BlockSizes(lengths), placement, {2000, 2000}, MapId{map}).chunks)
      order.push_back(number(chunk.blocks.front().partition));
    return order;
  };
  CHECK(first_partitions(1) == first_partitions(1));
  CHECK(first_partitions(1) != first_partitions(2));
  CHECK_FALSE(std::ranges::is_sorted(first_partitions(1)));
}

}  // namespace shufflefs::merge
