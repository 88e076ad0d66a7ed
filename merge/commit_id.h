// Which commit of a map output. Two nodes may commit the same map id (two attempts), and one node
// may commit it twice (removed and written again): the commit tells them apart, in announcements,
// pushes, index records and answers.
//
// Order: of two commits of one map id the larger one counts, for all partitions and all readers.
// The number comes from the origin's logical clock (merge/logical_clock.h), so a commit that was
// made with knowledge of another is larger than it. Pure values.
#pragma once

#include <algorithm>
#include <compare>
#include <cstdint>
#include <vector>

#include "base/hash.h"
#include "merge/ids.h"

namespace shufflefs::merge {

// A node's name as a number that is the same everywhere: names of any length fit an index record.
enum class NodeTag : uint64_t {};

// FNV-1a over the name, mixed (MurmurHash3's finalizer). Two of 10,000 names share a tag with a
// probability of 3e-12.
[[nodiscard]] constexpr NodeTag tag_of(const NodeName& name) {
  uint64_t hash = fnv1a(name.str());
  hash = (hash ^ (hash >> 33U)) * 0xFF51AFD7ED558CCDULL;
  hash = (hash ^ (hash >> 33U)) * 0xC4CEB9FE1A85EC53ULL;
  return static_cast<NodeTag>(hash ^ (hash >> 33U));
}

[[nodiscard]] constexpr uint64_t number(NodeTag tag) { return static_cast<uint64_t>(tag); }

struct CommitId {
  uint64_t commit = 0;
  NodeTag origin{};
  friend constexpr auto operator<=>(const CommitId&, const CommitId&) = default;
};

// A map output of a shuffle, and which commit of it.
struct MapCommit {
  MapId map{};
  CommitId id;
  friend constexpr auto operator<=>(const MapCommit&, const MapCommit&) = default;
};

// Commits of one origin by their numbers, from `first` to `last`.
struct CommitRange {
  uint64_t first = 0;
  uint64_t last = 0;
  friend constexpr auto operator<=>(const CommitRange&, const CommitRange&) = default;
};

// Ranges of one origin. There are few: each table that a node has lost begins another.
class CommitRanges {
 public:
  // False if it says nothing new.
  bool add(CommitRange range) {
    if (std::ranges::any_of(ranges_, [&](const CommitRange& known) {
          return known.first <= range.first && range.last <= known.last;
        }))
      return false;
    std::erase_if(ranges_, [&](const CommitRange& known) {
      const bool meets = known.first <= range.last && range.first <= known.last;
      if (meets) range = {std::min(range.first, known.first), std::max(range.last, known.last)};
      return meets;
    });
    ranges_.insert(std::ranges::upper_bound(ranges_, range), range);
    return true;
  }
  [[nodiscard]] bool contains(uint64_t commit) const {
    return std::ranges::any_of(ranges_, [&](const CommitRange& range) {
      return range.first <= commit && commit <= range.last;
    });
  }
  [[nodiscard]] bool empty() const { return ranges_.empty(); }
  [[nodiscard]] const std::vector<CommitRange>& list() const { return ranges_; }  // sorted

 private:
  std::vector<CommitRange> ranges_;  // do not meet
};

}  // namespace shufflefs::merge
