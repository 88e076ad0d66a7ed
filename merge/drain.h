// Prepares this node for being stopped for good: what exists only here is brought to other nodes.
//
// Own map outputs: the pusher offers them once more, and sends the missing blocks. Merged blocks:
// only orphans move. Their origin has left, or is being drained as well. They are sent partition by
// partition to a node that takes them, without the pusher's queue: there may be more than fit in
// memory.
//
// Threads: reactor only. Memory: a message at a time, from the push share of the budget. It lasts
// until end(), or as long as the process.
#pragma once

#include <set>

#include "base/gate.h"
#include "base/memory_budget.h"
#include "base/metrics.h"
#include "merge/app_owners.h"
#include "merge/cluster.h"
#include "merge/engine_options.h"
#include "merge/merge_store.h"
#include "merge/placement.h"
#include "merge/pusher.h"
#include "merge/shuffle_table.h"

namespace shufflefs::merge {

class Drain {
 public:
  struct Parts {
    Runtime& runtime;
    Cluster& cluster;
    ShuffleTable& table;
    MergeStore& store;
    AppOwners& owners;
    Pusher& pusher;
    PlacementCache& placements;
    ByteBudget& budget;
    Metrics& metrics;
    PushOptions options;
  };
  explicit Drain(const Parts& parts);

  void begin();
  void end();
  [[nodiscard]] bool on() const { return on_; }
  // `waiting`: what the rest of the node has still to do before it may go.
  [[nodiscard]] DrainStatus status(std::size_t waiting) const;
  [[nodiscard]] Task<void> close() { return gate_.close(); }

 private:
  using Orphans = std::vector<MergedBlock>;
  // The partitions that are merged here, one after the other. Ends early if the drain has ended.
  Task<void> move_orphans(uint64_t round);
  Task<void> move_orphans_of(ShuffleKey shuffle, PartitionId partition);
  Task<Result<Orphans>> orphans_of(ShuffleKey shuffle, PartitionId partition);
  // Which members are being drained too: asked, as there is no list of them.
  Task<void> look_at_members(ShuffleKey shuffle, PartitionId partition);
  // Where they may go: the owner, the second choice, then all others.
  [[nodiscard]] std::vector<NodeName> targets(const ShuffleKey& shuffle, PartitionId partition);
  Task<Status> send_to_any(ShuffleKey shuffle, PartitionId partition, Orphans orphans);
  Task<Status> send(NodeName to, ShuffleKey shuffle, PartitionId partition, Orphans orphans);
  Task<Status> send_once(NodeName to, ShuffleKey shuffle, PartitionId partition, Orphans orphans);
  void lost(const std::string& reason, uint64_t blocks, uint64_t bytes);

  Parts parts_;
  Counter& moved_;
  bool on_ = false;
  uint64_t round_ = 0;           // of begin() and end()
  uint64_t to_look_ = 0;         // merged partitions
  std::set<NodeName> staying_;   // members that take pushes
  std::set<NodeName> draining_;  // members that do not
  uint64_t moved_before_ = 0;
  std::map<std::string, GivenUp> lost_;  // by reason
  Gate gate_;
};

}  // namespace shufflefs::merge
