// Whose an application is, and what happens when two users want the same one.
#include "merge/app_owners.h"

#include <catch2/catch_test_macros.hpp>

#include "merge/catalog.h"

namespace shufflefs::merge {
namespace {

constexpr FileOwner kAlice{1001, 100};
constexpr FileOwner kBob{1002, 100};

AppId app(std::string_view text) { return *AppId::parse(text); }
NodeName node(std::string_view text) { return *NodeName::parse(text); }

TEST_CASE("the first user has the application, another is refused", "[app_owners]") {
  AppOwners owners;
  CHECK_FALSE(owners.find(app("a")));
  CHECK(owners.claim(app("a"), kAlice));
  CHECK(owners.claim(app("a"), {kAlice.uid, 7}));  // the group may differ
  const Status refused = owners.claim(app("a"), kBob);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Code::kRefused);
  CHECK(owners.claim(app("b"), kBob));
  CHECK(owners.find(app("a")) == kAlice);
  owners.forget(app("a"));
  CHECK(owners.claim(app("a"), kBob));
}

TEST_CASE("what two nodes have accepted of two users is root's", "[app_owners]") {
  AppOwners owners;
  owners.heard(app("a"), kAlice);
  owners.heard(app("a"), kAlice);
  CHECK(owners.find(app("a")) == kAlice);
  owners.heard(app("a"), kBob);
  CHECK(owners.find(app("a")) == FileOwner{});
  owners.heard(app("a"), kAlice);
  CHECK(owners.find(app("a")) == FileOwner{});
  CHECK_FALSE(owners.claim(app("a"), kAlice));
}

TEST_CASE("a plan over nodes that know different users has nothing of either", "[app_owners]") {
  const ShuffleKey key{app("a"), ShuffleId{0}};
  PartitionInfo of_alice;
  of_alice.known = true;
  of_alice.own = {{MapId{1}, 1, 10}};
  of_alice.merged = {{MapId{1}, {1, tag_of(node("n1"))}, 0, 10, 5}};
  of_alice.partition_count = 1;
  of_alice.owner = kAlice;
  PartitionInfo of_bob = of_alice;
  of_bob.own = {{MapId{2}, 2, 10}};
  of_bob.merged = {{MapId{2}, {2, tag_of(node("n2"))}, 0, 10, 5}};
  of_bob.owner = kBob;
  const std::vector<NodeName> members = {node("n1"), node("n2")};
  const auto plan = [&](const PartitionInfo& second) {
    return make_plan(key, PartitionId{0}, members, {{node("n1"), of_alice}, {node("n2"), second}},
                     {});
  };
  CHECK(plan(of_bob).blocks.empty());
  CHECK(plan(of_bob).incomplete);
  CHECK(make_merged_plan(key, PartitionId{0}, {{node("n1"), of_alice}, {node("n2"), of_bob}})
            .blocks.empty());
  of_bob.owner = kAlice;
  CHECK(plan(of_bob).blocks.size() == 2);
  of_bob.owner.reset();  // it does not know
  CHECK(plan(of_bob).blocks.size() == 2);
}

}  // namespace
}  // namespace shufflefs::merge
