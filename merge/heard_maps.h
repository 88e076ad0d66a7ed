// What other nodes have announced of their map outputs: that they exist, and which of their blocks
// are not empty, for the partitions that this node is a candidate for. It makes a missing block
// noticed even if its origin has died.
//
// In memory only: a restarted node is told again (Cluster::on_new_incarnation). Threads: reactor
// only.
#pragma once

#include <deque>
#include <map>
#include <vector>

#include "merge/node_api.h"

namespace shufflefs::merge {

class HeardMaps {
 public:
  void add(const NodeName& origin, AnnouncedMap announced);
  // True if that was the last map output that this node had heard of in the shuffle.
  bool remove(const NodeName& origin, const RemovedMap& removed);
  // A push of the map output is a late one: it was removed, and this is not a later life of its id.
  [[nodiscard]] bool is_removed(const ShuffleKey& shuffle, MapId map, uint64_t commit) const;
  void drop(const ShuffleKey& shuffle);
  [[nodiscard]] std::vector<HeardBlock> of(const ShuffleKey& shuffle, PartitionId partition) const;
  [[nodiscard]] uint32_t partition_count(const ShuffleKey& shuffle) const;
  [[nodiscard]] std::vector<ShuffleKey> shuffles() const;

 private:
  struct Heard {
    NodeName origin;
    uint32_t partition_count = 0;
    std::vector<PartitionBits> ranges;  // the first one that covers a partition counts
  };
  std::map<ShuffleKey, std::map<MapId, Heard>> heard_;
  // The last ones removed: a push can be late by seconds, not by more.
  static constexpr std::size_t kMostRemoved = 100'000;
  std::map<std::pair<ShuffleKey, MapId>, uint64_t> removed_;  // its commit
  std::deque<std::pair<ShuffleKey, MapId>> removed_order_;
};

// Whether the bit of the partition is set; nothing if no range covers it.
[[nodiscard]] std::optional<bool> bit_of(const std::vector<PartitionBits>& ranges,
                                         PartitionId partition);

}  // namespace shufflefs::merge
