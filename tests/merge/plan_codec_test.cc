#include "merge/plan_codec.h"

#include <catch2/catch_test_macros.hpp>
#include <random>

namespace shufflefs::merge {
namespace {

PartitionPlan a_plan() {
  PartitionPlan plan;
  plan.shuffle = {*AppId::parse("app-1"), ShuffleId{3}};
  plan.partition = PartitionId{9};
  const NodeName one = *NodeName::parse("n1");
  const NodeName two = *NodeName::parse("n2");
  plan.life = 77;
  plan.known = true;
  plan.blocks = {{MapId{1}, {5, tag_of(two)}, 0, 100, MergedAt{one, 4096, 0xABCD}, two, true},
                 {MapId{2}, {UINT64_MAX, tag_of(one)}, 100, 50, std::nullopt, one},
                 {MapId{3}, {6, tag_of(two)}, 150, 7, MergedAt{two, 0, 1}, std::nullopt}};
  plan.bytes = 157;
  plan.maps = 5;
  plan.maps_merged = 4;
  plan.merged_bytes = 107;
  plan.owner = two;
  plan.unreachable = {"n3: connection refused"};
  plan.incomplete = "block 4 is lost";
  plan.whole_at = one;
  return plan;
}

TEST_CASE("a plan survives its encoding") {
  const PartitionPlan plan = a_plan();
  const auto back = decode_plan(encode_plan(plan));
  REQUIRE(back);
  CHECK(back->shuffle == plan.shuffle);
  CHECK(back->partition == plan.partition);
  CHECK(back->life == plan.life);
  CHECK(back->known == plan.known);
  CHECK(back->bytes == plan.bytes);
  CHECK(back->maps == plan.maps);
  CHECK(back->maps_merged == plan.maps_merged);
  CHECK(back->merged_bytes == plan.merged_bytes);
  CHECK(back->owner == plan.owner);
  CHECK(back->whole_at == plan.whole_at);
  CHECK(back->incomplete == plan.incomplete);
  CHECK(back->unreachable == plan.unreachable);
  REQUIRE(back->blocks.size() == plan.blocks.size());
  for (std::size_t i = 0; i < plan.blocks.size(); ++i) {
    const PlannedBlock& was = plan.blocks[i];
    const PlannedBlock& is = back->blocks[i];
    CHECK(is.map == was.map);
    CHECK(is.id == was.id);
    CHECK(is.lost_at_origin == was.lost_at_origin);
    CHECK(is.offset == was.offset);
    CHECK(is.length == was.length);
    CHECK(is.origin == was.origin);
    REQUIRE(is.merged.has_value() == was.merged.has_value());
    if (!was.merged) continue;
    CHECK(is.merged->holder == was.merged->holder);
    CHECK(is.merged->view_offset == was.merged->view_offset);
    CHECK(is.merged->crc == was.merged->crc);
  }
}

TEST_CASE("what is no plan is refused") {
  const std::string bytes = encode_plan(a_plan());
  for (std::size_t length = 0; length < bytes.size(); ++length)
    CHECK_FALSE(decode_plan(std::string_view(bytes).substr(0, length)));
  std::mt19937 random(1);
  for (int round = 0; round < 20000; ++round) {
    std::string broken = bytes;
    for (int i = 0; i < 3; ++i) broken[random() % broken.size()] = static_cast<char>(random());
    static_cast<void>(decode_plan(broken));  // whatever it says, it comes back
  }
}

}  // namespace
}  // namespace shufflefs::merge
