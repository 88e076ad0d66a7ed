// What other nodes have announced of their map outputs: that they exist, and which of their blocks
// are not empty, for the partitions that this node is a candidate for. It makes a missing block
// noticed even if its origin has died.
//
// In memory only: a restarted node is told again (Cluster::on_new_incarnation). Threads: reactor
// only.
#pragma once

#include <map>
#include <vector>

#include "merge/node_api.h"

namespace shufflefs::merge {

class HeardMaps {
 public:
  void add(const NodeName& origin, AnnouncedMap announced);
  // True if that was the last map output that this node had heard of in the shuffle.
  bool remove(const NodeName& origin, const ShuffleKey& shuffle, MapId map);
  void drop(const ShuffleKey& shuffle);
  [[nodiscard]] std::vector<HeardBlock> of(const ShuffleKey& shuffle, PartitionId partition) const;
  [[nodiscard]] uint32_t partition_count(const ShuffleKey& shuffle) const;
  [[nodiscard]] std::vector<ShuffleKey> shuffles() const;

 private:
  struct Heard {
    NodeName origin;
    uint32_t partition_count = 0;
    std::vector<PartitionBits> ranges;
  };
  std::map<ShuffleKey, std::map<MapId, Heard>> heard_;
};

// Whether the bit of the partition is set; nothing if no range covers it.
[[nodiscard]] std::optional<bool> bit_of(const std::vector<PartitionBits>& ranges,
                                         PartitionId partition);

}  // namespace shufflefs::merge
