#include <algorithm>
#include <catch2/catch_test_macros.hpp>

#include "merge/catalog.h"
#include "merge/placement.h"
#include "support/test_cluster.h"

namespace shufflefs::merge {
namespace {

using testing::node_name;
const ShuffleKey kShuffle = *parse_shuffle_key("app/0");
constexpr PartitionId kPartition{0};
const std::vector<NodeName> kMembers = {node_name(0), node_name(1), node_name(2)};

using Answers = std::vector<std::pair<NodeName, PartitionInfo>>;

PartitionInfo info(std::vector<BlockAtOrigin> at_origin, std::vector<MergedBlock> merged = {},
                   std::vector<HeardBlock> heard = {}) {
  return {std::move(at_origin), std::move(merged), std::move(heard), 1};
}

std::vector<uint64_t> maps_of(const PartitionPlan& plan) {
  std::vector<uint64_t> maps;
  for (const PlannedBlock& block : plan.blocks) maps.push_back(number(block.map));
  return maps;
}

}  // namespace

TEST_CASE("merged blocks come first in index order, the others by map id from their origins") {
  const Answers answers = {
      {node_name(0), info({{MapId{9}, 4}, {MapId{2}, 3}})},
      {node_name(1),
       info({{MapId{5}, 10}, {MapId{7}, 0}}, {{MapId{5}, 0, 10, 1}, {MapId{2}, 10, 3, 2}})},
  };
  const PartitionPlan plan = make_plan(kShuffle, kPartition, kMembers, answers, {});
  CHECK(maps_of(plan) == std::vector<uint64_t>{5, 2, 9});
  CHECK(plan.bytes == 17);
  CHECK(plan.maps == 4);
  CHECK(plan.maps_merged == 3);  // 5, 2 and the empty 7
  CHECK(plan.merged_bytes == 13);
  CHECK_FALSE(plan.incomplete);
  CHECK_FALSE(plan.whole_at);
  CHECK(plan.blocks[1].merged->view_offset == 10);
  CHECK(plan.blocks[1].origin == node_name(0));
  CHECK_FALSE(plan.blocks[2].merged);
}

TEST_CASE("a partition that is merged whole at one node can be read from its file") {
  const Answers answers = {{node_name(0), info({{MapId{1}, 4}})},
                           {node_name(1), info({}, {{MapId{1}, 0, 4, 1}})}};
  CHECK(make_plan(kShuffle, kPartition, kMembers, answers, {}).whole_at == node_name(1));
}

TEST_CASE("a block merged at two nodes is read once") {
  const Answers answers = {{node_name(0), info({}, {{MapId{1}, 0, 4, 1}})},
                           {node_name(1), info({}, {{MapId{2}, 0, 5, 1}, {MapId{1}, 5, 4, 1}})}};
  CHECK(maps_of(make_plan(kShuffle, kPartition, kMembers, answers, {})) ==
        std::vector<uint64_t>{2, 1});
}

TEST_CASE("a merged block whose map output was unlinked at its living origin is left out") {
  const Answers answers = {{node_name(0), info({{MapId{1}, 4}})},
                           {node_name(1), info({}, {{MapId{1}, 0, 4, 1}, {MapId{2}, 4, 5, 1}},
                                               {{MapId{2}, node_name(0), true}})}};
  const PartitionPlan plan = make_plan(kShuffle, kPartition, kMembers, answers, {});
  CHECK(maps_of(plan) == std::vector<uint64_t>{1});
  CHECK_FALSE(plan.whole_at);
}

TEST_CASE(
    "a merged block of a dead origin is read, an unmerged one makes the partition incomplete") {
  const std::vector<UnreachableNode> dead = {{node_name(2), "connection refused"}};
  const Answers merged = {
      {node_name(0), info({})},
      {node_name(1), info({}, {{MapId{1}, 0, 4, 1}}, {{MapId{1}, node_name(2), true}})}};
  CHECK(maps_of(make_plan(kShuffle, kPartition, kMembers, merged, dead)) ==
        std::vector<uint64_t>{1});
  CHECK_FALSE(make_plan(kShuffle, kPartition, kMembers, merged, dead).incomplete);

  const Answers unmerged = {
      {node_name(0), info({})},
      {node_name(1),
       info({}, {}, {{MapId{1}, node_name(2), true}, {MapId{3}, node_name(2), false}})}};
  const PartitionPlan plan = make_plan(kShuffle, kPartition, kMembers, unmerged, dead);
  REQUIRE(plan.incomplete);
  CHECK(plan.incomplete->find("map 1") != std::string::npos);
  CHECK(plan.incomplete->find("connection refused") != std::string::npos);
  CHECK(plan.maps == 2);
}

TEST_CASE("a merged block whose map output was written anew is read from its origin") {
  const Answers answers = {{node_name(0), info({{MapId{1}, 7}})},
                           {node_name(1), info({}, {{MapId{1}, 0, 4, 1}})}};
  const PartitionPlan plan = make_plan(kShuffle, kPartition, kMembers, answers, {});
  REQUIRE(plan.blocks.size() == 1);
  CHECK_FALSE(plan.blocks[0].merged);
  CHECK(plan.bytes == 7);
}

TEST_CASE("with both candidates dead nobody can know what is missing") {
  const Placement placement(kShuffle, kMembers, 1);
  Answers answers;
  std::vector<UnreachableNode> dead;
  for (const NodeName& node : kMembers) {
    if (placement.is_candidate(node, kPartition))
      dead.push_back({node, "timeout"});
    else
      answers.emplace_back(node, info({{MapId{1}, 4}}));
  }
  REQUIRE(dead.size() == 2);
  CHECK(make_plan(kShuffle, kPartition, kMembers, answers, dead).incomplete);
  answers.emplace_back(dead.back().node, info({}));
  dead.pop_back();
  CHECK_FALSE(make_plan(kShuffle, kPartition, kMembers, answers, dead).incomplete);
}

TEST_CASE("the merged plan is the node with most blocks, then what only others have") {
  const PartitionInfo most = info({}, {{MapId{2}, 0, 5, 7}, {MapId{3}, 5, 1, 8}});
  Answers answers = {{node_name(0), info({}, {{MapId{2}, 0, 5, 7}})}, {node_name(1), most}};
  const PartitionPlan one = make_merged_plan(kShuffle, kPartition, answers);
  CHECK(maps_of(one) == std::vector<uint64_t>{2, 3});
  CHECK(one.whole_at == node_name(1));

  answers[0].second = info({}, {{MapId{1}, 0, 4, 1}});
  const PartitionPlan two = make_merged_plan(kShuffle, kPartition, answers);
  CHECK(maps_of(two) == std::vector<uint64_t>{2, 3, 1});
  CHECK_FALSE(two.whole_at);
  CHECK(two.owner == node_name(1));
  CHECK(two.blocks[2].offset == 6);
  CHECK(two.blocks[2].merged->holder == node_name(0));
  CHECK(make_merged_plan(kShuffle, kPartition, {}).blocks.empty());
}

}  // namespace shufflefs::merge
