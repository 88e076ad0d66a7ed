// Which node owns a partition: the same answer on every node, contiguous ranges together, no
// coordinator.
//
// The partitions are split into buckets of contiguous partitions, about kBucketsPerNode for each
// member, and each bucket goes to a member by rendezvous hashing (Thaler and Ravishankar, 1998) of
// (app, shuffle, bucket, member), with a bound on the buckets that one member may get, so that the
// load is even. The second choice is the next best member. A disagreement between nodes (a
// membership change, outputs with different partition counts) costs locality only: readers ask
// every candidate and address blocks by map id.
//
// Threads: immutable after construction. Cost: buckets x members hashes to construct.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "base/mutex.h"
#include "merge/cluster.h"
#include "merge/ids.h"

namespace shufflefs::merge {

class Placement {
 public:
  static constexpr uint32_t kBucketsPerNode = 4;

  // REQUIRES: members is sorted and not empty, partition_count > 0.
  Placement(const ShuffleKey& shuffle, const std::vector<NodeName>& members,
            uint32_t partition_count);

  [[nodiscard]] const NodeName& owner(PartitionId partition) const;
  // Nothing if there is only one member.
  [[nodiscard]] std::optional<NodeName> second(PartitionId partition) const;
  [[nodiscard]] bool is_candidate(const NodeName& node, PartitionId partition) const;

  // Partitions per bucket; bucket b holds [b * width, (b + 1) * width).
  [[nodiscard]] uint32_t bucket_width() const { return width_; }
  [[nodiscard]] uint32_t buckets() const { return static_cast<uint32_t>(choices_.size()); }

 private:
  struct Choice {
    uint32_t first = 0;   // into members_
    uint32_t second = 0;  // equal to first if there is one member
  };
  [[nodiscard]] const Choice& choice(PartitionId partition) const;

  std::vector<NodeName> members_;
  uint32_t width_ = 1;
  std::vector<Choice> choices_;
};

// Placements by (shuffle, partition count), made anew when the members change. Threads: any.
class PlacementCache {
 public:
  explicit PlacementCache(Cluster& cluster) : cluster_(cluster) {}

  // REQUIRES: partition_count > 0.
  [[nodiscard]] std::shared_ptr<const Placement> get(const ShuffleKey& shuffle,
                                                     uint32_t partition_count) {
    std::vector<NodeName> members = cluster_.names();
    const MutexLock lock(mu_);
    if (members != members_ || cache_.size() > kMost) {
      cache_.clear();
      members_ = std::move(members);
    }
    std::shared_ptr<const Placement>& cached = cache_[{shuffle, partition_count}];
    if (!cached) cached = std::make_shared<const Placement>(shuffle, members_, partition_count);
    return cached;
  }

 private:
  static constexpr std::size_t kMost = 1000;
  Cluster& cluster_;
  Mutex mu_;
  std::vector<NodeName> members_ GUARDED_BY(mu_);
  std::map<std::pair<ShuffleKey, uint32_t>, std::shared_ptr<const Placement>> cache_
      GUARDED_BY(mu_);
};

}  // namespace shufflefs::merge
