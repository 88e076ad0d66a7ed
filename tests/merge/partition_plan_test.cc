// The rules of a plan, one by one. Together, against a model: partition_plan_world_test.cc.
#include <fmt/format.h>

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "merge/catalog.h"
#include "merge/placement.h"

namespace shufflefs::merge {
namespace {

using Catch::Matchers::ContainsSubstring;
using NodeAnswers = std::vector<std::pair<NodeName, PartitionInfo>>;
using Maps = std::vector<uint64_t>;

NodeName node_name(std::size_t i) { return *NodeName::parse(fmt::format("node{}", i + 1)); }
NodeTag tag(std::size_t i) { return tag_of(node_name(i)); }

const ShuffleKey kShuffle = *parse_shuffle_key("app/0");
constexpr PartitionId kPartition{0};
const std::vector<NodeName> kMembers = {node_name(0), node_name(1), node_name(2)};

PartitionInfo info(std::vector<OwnBlock> own, std::vector<MergedBlock> merged = {},
                   std::vector<HeardBlock> heard = {}) {
  PartitionInfo made;
  made.known = true;
  made.partition_count = 1;
  made.own = std::move(own);
  made.merged = std::move(merged);
  made.heard = std::move(heard);
  return made;
}

MergedBlock merged(uint64_t map, uint64_t commit, std::size_t origin, uint64_t offset,
                   uint64_t length) {
  return {MapId{map}, {commit, tag(origin)}, offset, length, 1};
}

PartitionPlan plan_of(const NodeAnswers& answers,
                      const std::vector<UnreachableNode>& unreachable = {}) {
  return make_plan(kShuffle, kPartition, kMembers, answers, unreachable);
}

Maps maps_of(const PartitionPlan& plan) {
  Maps maps;
  for (const PlannedBlock& block : plan.blocks) maps.push_back(number(block.map));
  return maps;
}

// A member that is no candidate of the partition, and the two that are.
struct Roles {
  std::size_t bystander = 0;
  std::vector<std::size_t> candidates;
};
Roles roles() {
  const Placement placement(kShuffle, kMembers, 1);
  Roles found;
  for (std::size_t i = 0; i < kMembers.size(); ++i) {
    if (placement.is_candidate(kMembers[i], kPartition))
      found.candidates.push_back(i);
    else
      found.bystander = i;
  }
  return found;
}

}  // namespace

TEST_CASE("merged blocks come first in index order, the others by map id from their origins") {
  const PartitionPlan plan =
      plan_of({{node_name(0), info({{MapId{9}, 1, 4}, {MapId{2}, 2, 3}})},
               {node_name(1), info({{MapId{5}, 3, 10}, {MapId{7}, 4, 0}},
                                   {merged(5, 3, 1, 0, 10), merged(2, 2, 0, 10, 3)})},
               {node_name(2), {}}});
  CHECK(maps_of(plan) == Maps{5, 2, 9});
  CHECK(plan.known);
  CHECK(plan.bytes == 17);
  CHECK(plan.maps == 4);
  CHECK(plan.maps_merged == 3);  // 5, 2 and the empty 7
  CHECK(plan.merged_bytes == 13);
  CHECK_FALSE(plan.incomplete);
  CHECK_FALSE(plan.whole_at);
  CHECK(plan.blocks[1].merged->view_offset == 10);
  CHECK(plan.blocks[1].origin == node_name(0));
  CHECK(plan.blocks[1].id == CommitId{2, tag(0)});
  CHECK_FALSE(plan.blocks[1].lost_at_origin);
  CHECK_FALSE(plan.blocks[2].merged);
}

TEST_CASE("a partition that is merged whole at one node can be read from its file") {
  CHECK(plan_of({{node_name(0), info({{MapId{1}, 1, 4}})},
                 {node_name(1), info({}, {merged(1, 1, 0, 0, 4)})},
                 {node_name(2), {}}})
            .whole_at == node_name(1));
}

TEST_CASE("a block merged at two nodes is read once") {
  const PartitionPlan plan =
      plan_of({{node_name(0), info({{MapId{1}, 1, 4}, {MapId{2}, 2, 5}}, {merged(1, 1, 0, 0, 4)})},
               {node_name(1), info({}, {merged(2, 2, 0, 0, 5), merged(1, 1, 0, 5, 4)})},
               {node_name(2), {}}});
  CHECK(maps_of(plan) == Maps{2, 1});
  CHECK(plan.whole_at == node_name(1));
}

TEST_CASE("of merged copies with different bytes none is taken, nor the origin's") {
  MergedBlock other = merged(1, 1, 0, 0, 4);
  other.crc = 2;
  const NodeAnswers answers = {
      {node_name(0), info({{MapId{1}, 1, 4}}, {merged(2, 2, 1, 0, 5), merged(1, 1, 0, 5, 4)})},
      {node_name(1), info({{MapId{2}, 2, 5}}, {other})},
      {node_name(2), {}}};
  const PartitionPlan plan = plan_of(answers);
  CHECK(maps_of(plan) == Maps{2});
  CHECK_THAT(plan.incomplete.value_or(""), ContainsSubstring("the merged copies of map 1 differ"));
  const PartitionPlan shown = make_merged_plan(kShuffle, kPartition, answers);
  CHECK(maps_of(shown) == Maps{2});
  CHECK_FALSE(shown.whole_at);
}

TEST_CASE("a commit that is over is left out, whoever says so") {
  PartitionInfo holder = info({}, {merged(1, 5, 0, 0, 4), merged(2, 6, 0, 4, 5)});
  PartitionInfo origin = info({{MapId{1}, 5, 4}});
  SECTION("it is listed") { origin.ended = {{tag(0), {}, {{MapId{2}, 6}}}}; }
  SECTION("it is not above what has ended altogether") {
    origin = info({});
    origin.ended = {{tag(0), {{1, 6}}, {}}};
  }
  SECTION("another node was told") { holder.ended = {{tag(0), {}, {{MapId{2}, 6}}}}; }
  const PartitionPlan plan =
      plan_of({{node_name(0), origin}, {node_name(1), holder}, {node_name(2), {}}});
  CHECK(maps_of(plan) == (origin.own.empty() ? Maps{} : Maps{1}));
  CHECK_FALSE(plan.incomplete);
  CHECK_FALSE(plan.whole_at);
  CHECK(plan.known);
}

TEST_CASE("a commit is over when its origin has made a later one under the same map id") {
  const std::vector<MergedBlock> old = {merged(1, 5, 0, 0, 4)};
  SECTION("that has bytes") {
    const PartitionPlan plan = plan_of({{node_name(0), info({{MapId{1}, 9, 7}})},
                                        {node_name(1), info({}, old)},
                                        {node_name(2), {}}});
    REQUIRE(plan.blocks.size() == 1);
    CHECK_FALSE(plan.blocks[0].merged);
    CHECK(plan.blocks[0].id.commit == 9);
    CHECK(plan.bytes == 7);
  }
  SECTION("that is empty here") {
    CHECK(plan_of({{node_name(0), info({{MapId{1}, 9, 0}})},
                   {node_name(1), info({}, old)},
                   {node_name(2), {}}})
              .blocks.empty());
  }
  SECTION("that is over as well") {
    PartitionInfo origin = info({});
    origin.ended = {{tag(0), {}, {{MapId{1}, 9}}}};
    const PartitionPlan plan =
        plan_of({{node_name(0), origin}, {node_name(1), info({}, old)}, {node_name(2), {}}});
    CHECK(plan.blocks.empty());
    CHECK_FALSE(plan.incomplete);
  }
}

TEST_CASE("of two nodes' commits of one map id the larger counts, and no block of the other") {
  const NodeAnswers answers = {{node_name(0), info({{MapId{1}, 5, 4}})},
                               {node_name(1), info({{MapId{1}, 6, 7}}, {merged(1, 5, 0, 0, 4)})},
                               {node_name(2), {}}};
  const PartitionPlan plan = plan_of(answers);
  REQUIRE(plan.blocks.size() == 1);
  CHECK(plan.blocks[0].id == CommitId{6, tag(1)});
  CHECK(plan.blocks[0].origin == node_name(1));
  CHECK_FALSE(plan.blocks[0].merged);
  CHECK(plan.maps == 1);
  // If it is removed the other counts again.
  NodeAnswers later = answers;
  later[1].second.own.clear();
  later[1].second.ended = {{tag(1), {}, {{MapId{1}, 6}}}};
  REQUIRE(plan_of(later).blocks.size() == 1);
  CHECK(plan_of(later).blocks[0].id == CommitId{5, tag(0)});
}

TEST_CASE("an answer of an earlier life tells of nothing that is there") {
  PartitionInfo missed_it = info({{MapId{1}, 5, 4}}, {merged(2, 6, 0, 0, 3)});
  PartitionInfo dropped;
  dropped.life = 7;
  const PartitionPlan gone =
      plan_of({{node_name(0), missed_it}, {node_name(1), dropped}, {node_name(2), dropped}});
  CHECK(gone.blocks.empty());
  CHECK_FALSE(gone.known);
  CHECK_FALSE(gone.incomplete);
  CHECK(gone.life == 7);
  PartitionInfo again = info({{MapId{1}, 9, 8}});
  again.life = 7;
  const PartitionPlan anew =
      plan_of({{node_name(0), missed_it}, {node_name(1), again}, {node_name(2), dropped}});
  REQUIRE(anew.blocks.size() == 1);
  CHECK(anew.blocks[0].origin == node_name(1));
  CHECK(anew.known);
}

TEST_CASE("a merged block of a silent origin is read, an unmerged one leaves the plan incomplete") {
  const auto [bystander, candidates] = roles();
  const std::vector<UnreachableNode> dead = {{node_name(bystander), "connection refused"}};
  const HeardBlock heard{MapId{1}, node_name(bystander), 5, true};
  const NodeAnswers copied = {
      {node_name(candidates[0]), info({})},
      {node_name(candidates[1]), info({}, {merged(1, 5, bystander, 0, 4)}, {heard})}};
  CHECK(maps_of(plan_of(copied, dead)) == Maps{1});
  CHECK_FALSE(plan_of(copied, dead).incomplete);
  CHECK(plan_of(copied, dead).blocks[0].origin == node_name(bystander));

  const NodeAnswers alone = {{node_name(candidates[0]), info({})},
                             {node_name(candidates[1]),
                              info({}, {}, {heard, {MapId{3}, node_name(bystander), 6, false}})}};
  const PartitionPlan plan = plan_of(alone, dead);
  REQUIRE(plan.incomplete);
  CHECK_THAT(*plan.incomplete, ContainsSubstring("map 1"));
  CHECK_THAT(*plan.incomplete, ContainsSubstring(node_name(bystander).str()));
  CHECK_THAT(*plan.incomplete, ContainsSubstring("connection refused"));
  CHECK(plan.maps == 2);
  CHECK(plan.maps_merged == 1);

  // Whoever was told of it only for other partitions does not know whether it has bytes.
  const NodeAnswers unknown = {
      {node_name(candidates[0]), info({})},
      {node_name(candidates[1]), info({}, {}, {{MapId{3}, node_name(bystander), 6, {}}})}};
  CHECK(plan_of(unknown, dead).incomplete);
}

TEST_CASE("what its origin has lost is served by merged copies, or it is missing") {
  const HeardBlock heard{MapId{1}, node_name(0), 5, true};
  const bool listed = GENERATE(true, false);
  PartitionInfo origin = info({});
  if (listed) origin.own = {{MapId{1}, 5, 0, true}};
  const NodeAnswers copied = {{node_name(0), origin},
                              {node_name(1), info({}, {merged(1, 5, 0, 0, 4)}, {heard})},
                              {node_name(2), {}}};
  const PartitionPlan served = plan_of(copied);
  REQUIRE(served.blocks.size() == 1);
  CHECK(served.blocks[0].lost_at_origin);
  CHECK(served.blocks[0].origin == node_name(0));
  CHECK_FALSE(served.incomplete);

  const NodeAnswers alone = {
      {node_name(0), origin}, {node_name(1), info({}, {}, {heard})}, {node_name(2), {}}};
  REQUIRE(plan_of(alone).incomplete);
  CHECK_THAT(*plan_of(alone).incomplete, ContainsSubstring("its origin node1 has lost it"));

  NodeAnswers empty = alone;
  empty[1].second.heard[0].non_empty = false;
  CHECK_FALSE(plan_of(empty).incomplete);
  CHECK(plan_of(empty).maps_merged == 1);
}

TEST_CASE("a node that does not list all it has counts as silent for the rest") {
  const auto [bystander, candidates] = roles();
  PartitionInfo partly = info({{MapId{1}, 5, 4}});
  partly.incomplete = "/data2 is away";
  const auto plan_with = [&](std::vector<HeardBlock> heard) {
    return plan_of({{node_name(bystander), partly},
                    {node_name(candidates[0]), info({}, {}, std::move(heard))},
                    {node_name(candidates[1]), {}}});
  };
  CHECK_FALSE(plan_with({}).incomplete);  // the candidates know of no more
  CHECK(maps_of(plan_with({})) == Maps{1});
  const PartitionPlan plan = plan_with({{MapId{2}, node_name(bystander), 6, true}});
  REQUIRE(plan.incomplete);
  CHECK_THAT(*plan.incomplete, ContainsSubstring("/data2 is away"));
  CHECK(maps_of(plan) == Maps{1});

  // A candidate cannot vouch for itself.
  const NodeAnswers itself = {{node_name(bystander), info({})}, {node_name(candidates[0]), partly}};
  CHECK(plan_of(itself, {{node_name(candidates[1]), "timeout"}}).incomplete);
}

TEST_CASE("with both candidates silent nobody can know what is missing") {
  const auto [bystander, candidates] = roles();
  NodeAnswers answers = {{node_name(bystander), info({{MapId{1}, 1, 4}})}};
  std::vector<UnreachableNode> dead;
  for (const std::size_t node : candidates) dead.push_back({node_name(node), "timeout"});
  CHECK(plan_of(answers, dead).incomplete);
  answers.emplace_back(dead.back().node, info({}));
  dead.pop_back();
  CHECK_FALSE(plan_of(answers, dead).incomplete);
  // Who has missed a drop was not told of what was written since.
  answers[0].second.life = 3;
  CHECK(plan_of(answers, dead).incomplete);
}

TEST_CASE("a partition does not exist only if every member says so") {
  const NodeAnswers nobody = {{node_name(0), {}}, {node_name(1), {}}, {node_name(2), {}}};
  CHECK_FALSE(plan_of(nobody).known);
  CHECK_FALSE(plan_of(nobody).incomplete);

  const NodeAnswers some = {{node_name(0), {}}, {node_name(1), {}}};
  const PartitionPlan plan = plan_of(some, {{node_name(2), "timeout"}});
  CHECK_FALSE(plan.known);
  REQUIRE(plan.incomplete);
  CHECK_THAT(*plan.incomplete, ContainsSubstring("node3") && ContainsSubstring("timeout"));
  CHECK(plan_of(some).incomplete);  // it was not asked

  NodeAnswers known = nobody;
  known[0].second = info({{MapId{1}, 1, 0}});
  CHECK(plan_of(known).known);
  CHECK(plan_of(known).bytes == 0);
  CHECK_FALSE(plan_of(known).incomplete);
  CHECK_FALSE(make_plan(kShuffle, PartitionId{1}, kMembers, known, {}).known);
  CHECK_FALSE(make_plan(kShuffle, PartitionId{1}, kMembers, known, {}).incomplete);
}

TEST_CASE("the merged plan is the node with most blocks, then what only others have") {
  const PartitionInfo most = info({}, {merged(2, 2, 0, 0, 5), merged(3, 3, 0, 5, 1)});
  NodeAnswers answers = {{node_name(0), info({}, {merged(2, 2, 0, 0, 5)})}, {node_name(1), most}};
  const PartitionPlan one = make_merged_plan(kShuffle, kPartition, answers);
  CHECK(maps_of(one) == Maps{2, 3});
  CHECK(one.whole_at == node_name(1));
  CHECK(one.known);

  answers[0].second = info({}, {merged(1, 1, 0, 0, 4)});
  const PartitionPlan two = make_merged_plan(kShuffle, kPartition, answers);
  CHECK(maps_of(two) == Maps{2, 3, 1});
  CHECK_FALSE(two.whole_at);
  CHECK(two.owner == node_name(1));
  CHECK(two.blocks[2].offset == 6);
  CHECK(two.blocks[2].merged->holder == node_name(0));
  CHECK_FALSE(two.blocks[2].origin);

  answers[0].second.ended = {{tag(0), {}, {{MapId{3}, 3}}}};
  CHECK(maps_of(make_merged_plan(kShuffle, kPartition, answers)) == Maps{2, 1});
  answers[1].second.life = 4;
  CHECK(maps_of(make_merged_plan(kShuffle, kPartition, answers)) == Maps{2, 3});
  CHECK(make_merged_plan(kShuffle, kPartition, {}).blocks.empty());
  CHECK_FALSE(make_merged_plan(kShuffle, kPartition, {}).known);
}

}  // namespace shufflefs::merge
