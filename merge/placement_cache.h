// Placements by (shuffle, partition count), made anew when the members change. Threads: any.
#pragma once

#include <map>
#include <memory>

#include "base/mutex.h"
#include "merge/cluster.h"
#include "merge/placement.h"

namespace shufflefs::merge {

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
