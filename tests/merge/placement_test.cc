#include "merge/placement.h"

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <map>

#include "support/test_cluster.h"

namespace shufflefs::merge {
namespace {

std::vector<NodeName> members(std::size_t n) {
  std::vector<NodeName> names;
  for (std::size_t i = 0; i < n; ++i) names.push_back(testing::node_name(i));
  std::ranges::sort(names);
  return names;
}

}  // namespace

TEST_CASE("owners do not change between versions of the program") {
  // If this fails, nodes of the old and the new version disagree: it costs locality during an
  // upgrade. Say so in the notes.
  const Placement placement(*parse_shuffle_key("app/3"), members(3), 12);
  std::string owners;
  for (uint32_t p = 0; p < 12; ++p) owners += placement.owner(PartitionId{p}).str().back();
  CHECK(owners.size() == 12);
  const Placement again(*parse_shuffle_key("app/3"), members(3), 12);
  for (uint32_t p = 0; p < 12; ++p)
    CHECK(again.owner(PartitionId{p}) == placement.owner(PartitionId{p}));
}

TEST_CASE("every partition has an owner and another second choice, in contiguous ranges") {
  for (const uint32_t count : {1U, 2U, 7U, 37U, 200U, 10'000U}) {
    for (const std::size_t nodes : {1U, 2U, 3U, 10U}) {
      const Placement placement(*parse_shuffle_key("app/0"), members(nodes), count);
      uint32_t changes = 0;
      for (uint32_t p = 0; p < count; ++p) {
        const auto second = placement.second(PartitionId{p});
        CHECK(second.has_value() == (nodes > 1));
        if (second) CHECK(*second != placement.owner(PartitionId{p}));
        CHECK(placement.is_candidate(placement.owner(PartitionId{p}), PartitionId{p}));
        if (p > 0 && placement.owner(PartitionId{p}) != placement.owner(PartitionId{p - 1}))
          ++changes;
      }
      CHECK(changes < nodes * Placement::kBucketsPerNode);
    }
  }
}

TEST_CASE("buckets are spread evenly") {
  for (const std::size_t nodes : {2U, 3U, 5U, 16U, 100U}) {
    const Placement placement(*parse_shuffle_key("app/1"), members(nodes), 10'000);
    std::map<NodeName, uint32_t> load;
    for (uint32_t p = 0; p < 10'000; ++p) ++load[placement.owner(PartitionId{p})];
    const uint32_t most =
        std::ranges::max_element(load, {}, [](const auto& e) { return e.second; })->second;
    CHECK(most <= 1.3 * 10'000 / static_cast<double>(nodes));
  }
}

TEST_CASE("a partition beyond the count still has an owner") {
  const Placement placement(*parse_shuffle_key("app/0"), members(3), 10);
  CHECK(placement.owner(PartitionId{10'000}) == placement.owner(PartitionId{9}));
}

}  // namespace shufflefs::merge
