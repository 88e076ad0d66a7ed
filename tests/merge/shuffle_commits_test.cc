#include "merge/shuffle_commits.h"

#include <catch2/catch_test_macros.hpp>

namespace shufflefs::merge {
namespace {

constexpr MapCommit at(uint64_t map, uint64_t commit, uint64_t origin = 1) {
  return {static_cast<MapId>(map), {commit, static_cast<NodeTag>(origin)}};
}

}  // namespace

TEST_CASE("the larger commit is the current one, and the earlier is over for good") {
  ShuffleCommits commits;
  CHECK(commits.current(MapId{1}) == CommitId{});
  CHECK(commits.standing(at(1, 5)) == Standing::kUnknown);
  CHECK(commits.note(at(1, 5)) == Standing::kCurrent);
  CHECK(commits.note(at(1, 5)) == Standing::kCurrent);
  CHECK(commits.note(at(1, 4)) == Standing::kReplaced);
  CHECK(commits.count() == 0);
  CHECK(commits.note(at(1, 5, 2)) == Standing::kCurrent);  // the same number of a larger node
  CHECK(commits.since(0) == std::vector{at(1, 5)});
  CHECK(commits.current(MapId{1}) == at(1, 5, 2).id);
  commits.remove(at(1, 5, 2));
  CHECK(commits.note(at(1, 5, 2)) == Standing::kRemoved);
  CHECK(commits.note(at(1, 5)) == Standing::kRemoved);
  CHECK(commits.current(MapId{1}) == CommitId{});
  CHECK(commits.since(1) == std::vector{at(1, 5, 2)});
  CHECK(commits.since(2).empty());
}

TEST_CASE("a removal is of one commit, told before it or after, once or twice") {
  ShuffleCommits commits;
  commits.remove(at(1, 7));
  commits.remove(at(1, 7));
  commits.remove(at(1, 9));
  CHECK(commits.count() == 0);  // nobody has merged it
  CHECK(commits.note(at(1, 5)) == Standing::kCurrent);
  CHECK(commits.note(at(1, 7)) == Standing::kRemoved);
  CHECK(commits.note(at(1, 9)) == Standing::kRemoved);
  CHECK(commits.current(MapId{1}) == at(1, 5).id);
  CHECK(commits.note(at(1, 8)) == Standing::kCurrent);
  commits.remove(at(1, 4));
  CHECK(commits.current(MapId{1}) == at(1, 8).id);
  CHECK(commits.since(0) == std::vector{at(1, 5)});
}

TEST_CASE("an origin's commits in a range are over") {
  ShuffleCommits commits;
  for (uint64_t map = 0; map < 40; ++map) commits.note(at(map, 10 + map, map % 2));
  commits.end_range(NodeTag{1}, {1, 20});
  commits.end_range(NodeTag{1}, {1, 15});
  CHECK(commits.since(0) ==
        std::vector{at(1, 11, 1), at(3, 13, 1), at(5, 15, 1), at(7, 17, 1), at(9, 19, 1)});
  CHECK(commits.note(at(100, 20, 1)) == Standing::kRemoved);
  CHECK(commits.note(at(100, 20, 0)) == Standing::kCurrent);
  CHECK(commits.note(at(1, 5, 0)) == Standing::kCurrent);  // nobody has said that it is over
}

TEST_CASE("what an index says is learned at once") {
  ShuffleCommits commits;
  commits.note(at(1, 7));
  commits.remove(at(2, 3));
  const std::vector removed{at(3, 1), at(4, 1)};
  const std::vector blocks{at(1, 5), at(2, 3), at(3, 2), at(5, 1)};
  const auto learned = commits.learn(removed, blocks);
  CHECK(learned.over == std::vector{at(1, 5), at(2, 3)});
  CHECK(learned.position == commits.count());
  CHECK(commits.standing(at(4, 1)) == Standing::kRemoved);
  CHECK(commits.current(MapId{3}) == at(3, 2).id);
}

}  // namespace shufflefs::merge
