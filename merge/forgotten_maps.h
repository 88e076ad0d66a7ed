// The map outputs of a shuffle that were removed at their origin. Each partition takes them out of
// its view when it is used next: Spark removes the outputs of a shuffle one by one, and most often
// nobody looks at its partitions again.
//
// Threads: any. Memory: 32 bytes for each, until the shuffle is dropped.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <vector>

#include "merge/ids.h"

namespace shufflefs::merge {

class ForgottenMaps {
 public:
  void add(MapId map) {
    const std::lock_guard lock(mu_);
    maps_.push_back(map);
    count_.store(maps_.size());
  }
  // How many there have been: the positions in the order of their removal.
  [[nodiscard]] uint64_t count() const { return count_.load(); }
  [[nodiscard]] std::vector<MapId> since(uint64_t position) const {
    const std::lock_guard lock(mu_);
    if (position >= maps_.size()) return {};
    return {maps_.begin() + static_cast<std::ptrdiff_t>(position), maps_.end()};
  }

 private:
  mutable std::mutex mu_;
  std::vector<MapId> maps_;  // GUARDED_BY(mu_)
  std::atomic<uint64_t> count_{0};
};

}  // namespace shufflefs::merge
