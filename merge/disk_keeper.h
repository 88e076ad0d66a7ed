// Keeps the disks usable: looks at their room regularly, evicts merged data when it gets scarce
// (disks.h has the marks), and gives back what complete shuffles had preallocated.
//
// Threads: run() is a task of the reactor; the work is offloaded.
#pragma once

#include <map>

#include "base/metrics.h"
#include "merge/disks.h"
#include "merge/engine_options.h"
#include "merge/merge_store.h"

namespace shufflefs::merge {

class DiskKeeper {
 public:
  DiskKeeper(Runtime& runtime, Disks& disks, MergeStore& store, Metrics& metrics,
             DiskOptions options);
  // Until cancelled.
  [[nodiscard]] Task<void> run();

 private:
  struct Seen {
    uint64_t appends = 0;
    TimePoint since;  // when it was first seen with so many
    bool trimmed = false;
  };
  [[nodiscard]] Task<void> look_at_shuffles();
  [[nodiscard]] Task<void> try_failed_disks();
  [[nodiscard]] Task<void> make_room(std::size_t disk);
  // Complete ones first, and among them the one that has been quiet for longest.
  [[nodiscard]] std::vector<ShuffleKey> by_worth() const;
  [[nodiscard]] bool is_complete(const Seen& seen) const;

  Runtime& runtime_;
  Disks& disks_;
  MergeStore& store_;
  const DiskOptions options_;
  Counter& evictions_;
  std::map<ShuffleKey, Seen> seen_;
  std::map<std::size_t, TimePoint> failed_;  // the disks, and when they were tried last
};

}  // namespace shufflefs::merge
