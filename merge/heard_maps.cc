#include "merge/heard_maps.h"

#include <algorithm>

namespace shufflefs::merge {

std::optional<bool> bit_of(const std::vector<PartitionBits>& ranges, PartitionId partition) {
  for (const PartitionBits& range : ranges) {
    if (number(partition) < range.first || number(partition) - range.first >= range.count) continue;
    const uint32_t at = number(partition) - range.first;
    return (range.non_empty[at / 8] >> (at % 8U) & 1U) != 0;
  }
  return std::nullopt;
}

void HeardMaps::add(const NodeName& origin, AnnouncedMap announced) {
  Heard& heard = heard_[announced.shuffle][announced.map];
  std::vector<PartitionBits> ranges = std::move(announced.ranges);
  // Told again as the members have changed: what it was told of before is still right, and who is
  // its candidate now may not have been told yet.
  const bool is_same = heard.origin == origin && heard.partition_count == announced.partition_count;
  const std::size_t most = 4 * (ranges.size() + 1);
  for (PartitionBits& old : heard.ranges) {
    const bool is_news = std::ranges::none_of(ranges, [&](const PartitionBits& range) {
      return range.first <= old.first && old.first + old.count <= range.first + range.count;
    });
    if (is_same && is_news && ranges.size() < most) ranges.push_back(std::move(old));
  }
  heard = {origin, announced.partition_count, std::move(ranges)};
}

bool HeardMaps::is_removed(const ShuffleKey& shuffle, MapId map, uint64_t commit) const {
  const auto it = removed_.find({shuffle, map});
  return it != removed_.end() && commit <= it->second;
}

bool HeardMaps::remove(const NodeName& origin, const RemovedMap& removed) {
  const ShuffleKey& shuffle = removed.shuffle;
  const MapId map = removed.map;
  const auto [place, is_new] = removed_.try_emplace({shuffle, map}, removed.commit);
  place->second = std::max(place->second, removed.commit);
  if (is_new) removed_order_.emplace_back(shuffle, map);
  if (removed_order_.size() > kMostRemoved) {
    removed_.erase(removed_order_.front());
    removed_order_.pop_front();
  }
  const auto of_shuffle = heard_.find(shuffle);
  if (of_shuffle == heard_.end()) return false;
  const auto it = of_shuffle->second.find(map);
  if (it == of_shuffle->second.end() || it->second.origin != origin) return false;
  of_shuffle->second.erase(it);
  if (!of_shuffle->second.empty()) return false;
  heard_.erase(of_shuffle);
  return true;
}

void HeardMaps::drop(const ShuffleKey& shuffle) { heard_.erase(shuffle); }

std::vector<HeardBlock> HeardMaps::of(const ShuffleKey& shuffle, PartitionId partition) const {
  std::vector<HeardBlock> blocks;
  const auto of_shuffle = heard_.find(shuffle);
  if (of_shuffle == heard_.end()) return blocks;
  for (const auto& [map, heard] : of_shuffle->second) {
    // A partition beyond the output's count is an empty block of it.
    const auto bit = number(partition) < heard.partition_count ? bit_of(heard.ranges, partition)
                                                               : std::optional(false);
    if (bit) blocks.push_back({map, heard.origin, *bit});
  }
  return blocks;
}

uint32_t HeardMaps::partition_count(const ShuffleKey& shuffle) const {
  uint32_t count = 0;
  const auto of_shuffle = heard_.find(shuffle);
  if (of_shuffle == heard_.end()) return 0;
  for (const auto& [map, heard] : of_shuffle->second)
    count = std::max(count, heard.partition_count);
  return count;
}

std::vector<ShuffleKey> HeardMaps::shuffles() const {
  std::vector<ShuffleKey> keys;
  keys.reserve(heard_.size());
  for (const auto& [key, maps] : heard_) keys.push_back(key);
  return keys;
}

}  // namespace shufflefs::merge
