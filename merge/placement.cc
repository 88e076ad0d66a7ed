#include "merge/placement.h"

#include <algorithm>
#include <numeric>
#include <string_view>

namespace shufflefs::merge {
namespace {

// FNV-1a over the names, then the finalizer of splitmix64: stable over versions and machines,
// unlike std::hash.
uint64_t mix(uint64_t x) {
  x ^= x >> 30U;
  x *= 0xBF58476D1CE4E5B9ULL;
  x ^= x >> 27U;
  x *= 0x94D049BB133111EBULL;
  return x ^ (x >> 31U);
}

uint64_t hash_text(std::string_view text, uint64_t state) {
  for (const char c : text) state = (state ^ static_cast<unsigned char>(c)) * 0x100000001B3ULL;
  return state;
}

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
  const uint64_t base =
      mix(hash_text(shuffle.app.str(), 0xCBF29CE484222325ULL) + number(shuffle.shuffle));

  std::vector<uint32_t> load(nodes, 0);
  std::vector<uint32_t> order(nodes);
  std::vector<uint64_t> score(nodes);
  choices_.resize(buckets);
  for (uint32_t bucket = 0; bucket < buckets; ++bucket) {
    for (uint32_t node = 0; node < nodes; ++node) {
      score[node] = mix(hash_text(members[node].str(), base + bucket * 0x9E3779B97F4A7C15ULL));
    }
    std::iota(order.begin(), order.end(), 0U);
    std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) {
      return std::pair(score[b], a) < std::pair(score[a], b);
    });
    const auto first =
        std::find_if(order.begin(), order.end(), [&](uint32_t node) { return load[node] < most; });
    ++load[*first];
    const auto second =
        std::find_if(order.begin(), order.end(), [&](uint32_t node) { return node != *first; });
    choices_[bucket] = {*first, second != order.end() ? *second : *first};
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
