// What the simulation knows for certain: which map outputs have been written where, byte by byte,
// which are still there, and who has been told of them. The nodes never see it; all checks compare
// with it.
//
// A block's bytes follow from its map output, its writing (the same map id may be written again
// after a removal) and its partition, so nothing is stored.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "merge/heard_maps.h"

namespace shufflefs::sim {

using Witness = std::pair<std::size_t, uint64_t>;  // a node and its incarnation

// One writing of a map output.
struct WrittenMap {
  merge::ShuffleKey shuffle;
  merge::MapId map{};
  std::size_t origin = 0;
  uint64_t writing = 0;           // unique over all
  std::vector<uint64_t> lengths;  // by partition
  bool is_spark = false;
  bool committed = false;  // the task has finished it
  bool listed = false;     // its node has noticed that
  bool removed = false;    // unlinked, or dropped
  bool uncertain = false;  // a removal or a drop was interrupted: it may be there or not
  // Who has acknowledged its announcement, and for which partitions. A node that is told again has
  // heard all of them.
  std::map<Witness, std::vector<merge::PartitionBits>> told;

  [[nodiscard]] bool is_live() const { return committed && !removed && !uncertain; }
  [[nodiscard]] uint64_t length(merge::PartitionId partition) const {
    return number(partition) < lengths.size() ? lengths[number(partition)] : 0;
  }
  // Those who were told of this block.
  [[nodiscard]] std::set<Witness> witnesses(merge::PartitionId partition) const {
    std::set<Witness> found;
    for (const auto& [witness, ranges] : told) {
      if (merge::bit_of(ranges, partition)) found.insert(witness);
    }
    return found;
  }
};

class Truth {
 public:
  WrittenMap& add(WrittenMap written);

  // All writings under this name, in their order.
  [[nodiscard]] std::vector<WrittenMap*> find(const merge::ShuffleKey& shuffle, merge::MapId map);
  [[nodiscard]] std::map<uint64_t, WrittenMap>& all() { return all_; }
  [[nodiscard]] std::vector<WrittenMap*> of(const merge::ShuffleKey& shuffle);

  [[nodiscard]] static std::string block(const WrittenMap& written, merge::PartitionId partition);
  [[nodiscard]] static bool is_block(const WrittenMap& written, merge::PartitionId partition,
                                     std::string_view bytes);

 private:
  std::map<uint64_t, WrittenMap> all_;  // by writing
  std::map<std::pair<merge::ShuffleKey, merge::MapId>, std::vector<uint64_t>> by_name_;
};

}  // namespace shufflefs::sim
