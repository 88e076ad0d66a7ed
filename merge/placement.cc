#include "merge/placement.h"

#include <algorithm>
#include <string_view>

#include "base/hash.h"

namespace shufflefs::merge {
namespace {

constexpr uint32_t kNobody = UINT32_MAX;

// A member and its score for a bucket.
struct Best {
  uint64_t score = 0;
  uint32_t node = kNobody;
  [[nodiscard]] bool beats(const Best& other) const {
    if (node == kNobody) return false;
    return score > other.score || (score == other.score && node < other.node);
  }
};

uint32_t ceil_div(uint32_t a, uint32_t b) { return a / b + (a % b != 0 ? 1 : 0); }

}  // namespace

Placement::Placement(const ShuffleKey& shuffle, const std::vector<NodeName>& members,
                     uint32_t partition_count)
    : members_(members) {
  const auto nodes = static_cast<uint32_t>(members.size());
  const uint32_t wanted = std::min(partition_count, std::max(1U, nodes * kBucketsPerNode));
  width_ = ceil_div(partition_count, wanted);
  const uint32_t buckets = ceil_div(partition_count, width_);
  const uint32_t most = ceil_div(buckets, nodes);
  const uint64_t base = mixed_bits(fnv1a(shuffle.app.str()) + number(shuffle.shuffle));

  // The names are hashed once, not once for each bucket: with thousands of members the latter
  // takes seconds.
  std::vector<uint64_t> name_hash(nodes);
  for (uint32_t node = 0; node < nodes; ++node) name_hash[node] = fnv1a(members[node].str());
  std::vector<uint32_t> load(nodes, 0);
  choices_.resize(buckets);
  for (uint32_t bucket = 0; bucket < buckets; ++bucket) {
    const uint64_t salt = mixed_bits(base + bucket * 0x9E3779B97F4A7C15ULL);
    // The two best of all, and the best of those that have room; ties by name.
    Best best;
    Best next;
    Best with_room;
    for (uint32_t node = 0; node < nodes; ++node) {
      const Best here{mixed_bits(name_hash[node] ^ salt), node};
      if (!best.beats(here)) {
        next = best;
        best = here;
      } else if (!next.beats(here)) {
        next = here;
      }
      if (load[node] < most && !with_room.beats(here)) with_room = here;
    }
    ++load[with_room.node];
    const Best& second = best.node != with_room.node ? best : next;
    choices_[bucket] = {with_room.node, second.node != kNobody ? second.node : with_room.node};
  }
}

const Placement::Choice& Placement::choice(PartitionId partition) const {
  // A partition beyond the count (another output of the shuffle has more) falls to the last bucket.
  return choices_[std::min<std::size_t>(number(partition) / width_, choices_.size() - 1)];
}

const NodeName& Placement::owner(PartitionId partition) const {
  return members_[choice(partition).first];
}

std::optional<NodeName> Placement::second(PartitionId partition) const {
  const Choice& chosen = choice(partition);
  if (chosen.first == chosen.second) return std::nullopt;
  return members_[chosen.second];
}

bool Placement::is_candidate(const NodeName& node, PartitionId partition) const {
  const Choice& chosen = choice(partition);
  return members_[chosen.first] == node || members_[chosen.second] == node;
}

}  // namespace shufflefs::merge
