#include "merge/announcer.h"

#include <catch2/catch_test_macros.hpp>

#include "tests/merge/written_maps.h"

namespace shufflefs::merge {
namespace {

using testing::node_name;
using testing::TestCluster;

const auto kPartitions = static_cast<uint32_t>(kSizes.size());

std::vector<NodeName> names_of(const std::vector<std::size_t>& nodes) {
  std::vector<NodeName> names;
  for (const std::size_t node : nodes) names.push_back(node_name(node));
  return names;
}

// What the node was told of the partition: map ids, and whether their blocks have bytes.
std::map<MapId, bool> heard(TestCluster& cluster, std::size_t node, PartitionId partition) {
  const auto info =
      cluster.run(cluster.engine(node).local_node()->partition_info(kShuffle, partition));
  REQUIRE(info);
  std::map<MapId, bool> maps;
  for (const HeardBlock& block : info->heard) {
    if (block.non_empty) maps[block.map] = *block.non_empty;
  }
  return maps;
}

// Both candidates of each partition know all of node 0's map outputs, by the members of now.
bool candidates_know(TestCluster& cluster, std::size_t maps) {
  const Placement placement(kShuffle, cluster.view(0).names(), kPartitions);
  for (uint32_t p = 0; p < kPartitions; ++p) {
    const auto partition = static_cast<PartitionId>(p);
    for (std::size_t node = 1; node < cluster.view(0).names().size(); ++node) {
      if (!placement.is_candidate(node_name(node), partition)) continue;
      const auto found = heard(cluster, node, partition);
      if (found.size() != maps) return false;
      for (const auto& [map, non_empty] : found) CHECK(non_empty == (kSizes[p] > 0));
    }
  }
  return true;
}

void until_candidates_know(TestCluster& cluster, std::size_t maps) {
  const auto deadline = std::chrono::steady_clock::now() + testing::kPatience;
  while (!candidates_know(cluster, maps)) {
    REQUIRE(std::chrono::steady_clock::now() < deadline);
    cluster.run(sleep_for(cluster.runtime, std::chrono::milliseconds(10)));
  }
}

}  // namespace

TEST_CASE("the candidates of a partition are told of its blocks, other nodes are not") {
  TestCluster cluster(4);
  cluster.start();
  write_maps(cluster, 1, 5);
  until_candidates_know(cluster, 5);
  const Placement placement(kShuffle, cluster.view(0).names(), kPartitions);
  for (uint32_t p = 0; p < kPartitions; ++p) {
    const auto partition = static_cast<PartitionId>(p);
    for (std::size_t node = 1; node < 4; ++node) {
      if (!placement.is_candidate(node_name(node), partition))
        CHECK(heard(cluster, node, partition).empty());
    }
  }
}

TEST_CASE("a node that was down is told when it is back") {
  TestCluster cluster(3);
  for (const std::size_t node : {1U, 2U}) cluster.faults.down.insert(node_name(node));
  cluster.start();
  write_maps(cluster, 1, 3);
  cluster.settle(kShuffle, 3);
  CHECK_FALSE(candidates_know(cluster, 3));
  cluster.faults.down.clear();
  until_candidates_know(cluster, 3);
}

TEST_CASE("when a node leaves, those that become candidates in its place are told") {
  TestCluster cluster(4);
  cluster.start();
  write_maps(cluster, 1, 3);
  until_candidates_know(cluster, 3);
  const Placement later(kShuffle, names_of({0, 1, 2}), kPartitions);
  std::size_t new_to_it = 0;
  for (uint32_t p = 0; p < kPartitions; ++p) {
    const auto partition = static_cast<PartitionId>(p);
    for (const std::size_t node : {1U, 2U}) {
      if (later.is_candidate(node_name(node), partition) && heard(cluster, node, partition).empty())
        ++new_to_it;
    }
  }
  REQUIRE(new_to_it > 0);
  cluster.faults.down.insert(node_name(3));
  for (std::size_t node = 0; node < 3; ++node) cluster.view(node).remove(node_name(3));
  until_candidates_know(cluster, 3);
}

TEST_CASE(
    "who joins is told of the blocks that it is a candidate of, and so are those who change") {
  TestCluster cluster(5);
  for (std::size_t node = 0; node < 4; ++node) cluster.view(node).remove(node_name(4));
  cluster.start();
  write_maps(cluster, 1, 3);
  until_candidates_know(cluster, 3);
  const Placement later(kShuffle, names_of({0, 1, 2, 3, 4}), kPartitions);
  std::size_t new_to_it = 0;
  for (uint32_t p = 0; p < kPartitions; ++p)
    new_to_it += later.is_candidate(node_name(4), static_cast<PartitionId>(p)) ? 1 : 0;
  REQUIRE(new_to_it > 0);
  for (uint32_t p = 0; p < kPartitions; ++p)
    CHECK(heard(cluster, 4, static_cast<PartitionId>(p)).empty());
  for (std::size_t node = 0; node < 4; ++node)
    cluster.view(node).add(node_name(4), cluster.engine(4).local_node());
  until_candidates_know(cluster, 3);
}

TEST_CASE("the bits of a candidate name the blocks that are not empty") {
  const std::vector<NodeName> members = names_of({0, 1, 2});
  std::vector<uint64_t> lengths;
  for (uint32_t p = 0; p < 50; ++p) lengths.push_back(p % 3 == 0 ? 0 : p);
  const Placement placement(kShuffle, members, static_cast<uint32_t>(lengths.size()));
  for (const NodeName& node : members) {
    const std::vector<PartitionBits> ranges = candidate_bits(placement, node, BlockSizes(lengths));
    for (uint32_t p = 0; p < lengths.size(); ++p) {
      const auto partition = static_cast<PartitionId>(p);
      const std::optional<bool> bit = bit_of(ranges, partition);
      CHECK(bit.has_value() == placement.is_candidate(node, partition));
      if (bit) CHECK(*bit == (lengths[p] > 0));
    }
  }
}

}  // namespace shufflefs::merge
