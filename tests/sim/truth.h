// What the simulation knows for certain: which map outputs have been written where, byte by byte,
// which are still there, and who has been told of them. The nodes never see it; all checks compare
// with it.
//
// A block's bytes follow from its map output, its writing (the same map id may be written again
// after a removal) and its partition, so nothing is stored.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "merge/shuffle_table.h"
#include "sim/sim_disk.h"

namespace shufflefs::sim {

using Witness = std::pair<std::size_t, uint64_t>;  // a node and its incarnation

// One writing of a map output.
struct WrittenMap {
  merge::ShuffleKey shuffle;
  merge::MapId map{};
  std::size_t origin = 0;
  uint64_t writing = 0;            // unique over all
  std::vector<uint64_t> lengths;   // by partition
  std::vector<std::string> files;  // on the origin's disks
  bool is_spark = false;
  // When (in steps of the schedule) the task had its answer that it is committed; when the remover
  // had its own.
  std::optional<uint64_t> committed_at;
  std::optional<uint64_t> removed_at;
  bool dropped = false;  // removed with its shuffle
  // It may be there or not, and nobody can say which: being written or removed just now, a write,
  // a removal or a drop that did not come to its end, a drop that did not reach its node.
  bool uncertain = true;
  // Its removal has begun and has not come to its end: files of it may be gone, and no event says
  // so.
  bool is_half_removed = false;
  // It was written while a drop was under way; or a file of it was lost where events of Spark's
  // directories get lost as well, and it is taken for removed.
  bool uncertain_for_good = false;
  uint64_t life = 0;                    // of the shuffle's name: drops that had been answered
  std::optional<SimDisk::Harm> harm{};  // done to one of its files behind the node's back
  // By its own bytes nobody can tell: the checksum of a merged copy can.
  bool is_silent_harm = false;
  bool may_come_again = false;          // its origin has lost its log: it is committed anew
  bool is_forgotten_at_origin = false;  // which came back with a new disk in the place of its own
  // Who has acknowledged its announcement, and for which partitions. A node that is told again has
  // heard all of them.
  std::map<Witness, std::vector<merge::PartitionBits>> told;
  std::set<std::size_t> removal_told;  // nodes that have acknowledged its removal

  [[nodiscard]] bool is_live() const { return committed_at && !removed_at && !uncertain; }
  [[nodiscard]] bool is_sound() const { return is_live() && !harm && !is_forgotten_at_origin; }
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
  [[nodiscard]] const std::map<uint64_t, WrittenMap>& all() const { return all_; }
  [[nodiscard]] std::vector<WrittenMap*> of(const merge::ShuffleKey& shuffle);

  [[nodiscard]] static std::string block(const WrittenMap& written, merge::PartitionId partition);
  [[nodiscard]] static bool is_block(const WrittenMap& written, merge::PartitionId partition,
                                     std::string_view bytes);

 private:
  std::map<uint64_t, WrittenMap> all_;  // by writing
  std::map<std::pair<merge::ShuffleKey, merge::MapId>, std::vector<uint64_t>> by_name_;
};

}  // namespace shufflefs::sim
