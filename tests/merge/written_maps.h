// What the tests of pushing share: map outputs of a fixed shape on all nodes of a cluster, and the
// check that a node reads exactly them.
#pragma once

#include <catch2/catch_test_macros.hpp>

#include "support/test_cluster.h"

namespace shufflefs::merge {

inline const ShuffleKey kShuffle = *parse_shuffle_key("app/0");
inline const std::vector<uint64_t> kSizes = {100, 0, 5000, 20, 30'000, 1, 700, 0, 0, 12'345};
using Blocks = std::vector<std::vector<std::string>>;  // by map and partition

// Writes `maps` map outputs round-robin and returns the blocks of each.
inline Blocks write_maps(testing::TestCluster& cluster, std::size_t nodes, uint64_t maps) {
  Blocks all;
  for (uint64_t map = 0; map < maps; ++map) {
    all.push_back(testing::random_blocks(map, kSizes));
    cluster.write_map(map % nodes, kShuffle, map, all.back());
  }
  return all;
}

// The partition read on the node holds exactly the blocks of all maps, whatever their order.
inline void check_partition(testing::TestCluster& cluster, std::size_t node, uint32_t partition,
                            const Blocks& all) {
  const PartitionPlan plan = cluster.plan(node, kShuffle, partition);
  INFO("partition " << partition << ": " << plan.incomplete.value_or(""));
  REQUIRE_FALSE(plan.incomplete);
  const auto text = cluster.read(node, plan, 7777);
  REQUIRE(text);
  std::size_t expected = 0;
  for (const auto& blocks : all) expected += blocks[partition].size();
  CHECK(text->size() == expected);
  for (const PlannedBlock& block : plan.blocks) {
    CHECK(text->substr(block.offset, block.length) == all[number(block.map)][partition]);
  }
}

inline void check_all(testing::TestCluster& cluster, std::size_t node, const Blocks& all) {
  for (uint32_t partition = 0; partition < kSizes.size(); ++partition)
    check_partition(cluster, node, partition, all);
}

}  // namespace shufflefs::merge
