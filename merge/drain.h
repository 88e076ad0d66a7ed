// Prepares this node for being stopped for good: it takes no more pushes, and what exists only here
// is brought to other nodes.
//
// Of this node's own map outputs each block must be merged elsewhere: they are offered once more,
// those of partitions that this node owns itself to their second choice (Pusher). Of what is merged
// here only orphans have to move: blocks whose origin is no living member any more, such as one
// that was drained before, or is being drained as well. They are sent as they are, partition by
// partition, to a node that takes them.
//
// Several at a time: of two nodes the one that begins later finds the other one draining. It brings
// its map outputs past the other, which takes none, and moves what it has merged of the other's.
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
  struct Orphan {
    MapId map{};
    CommitId id;
    uint64_t offset = 0;  // in the partition's merged view
    uint64_t length = 0;
    uint32_t crc = 0;
  };
  // The partitions that are merged here, one after the other. Ends early if the drain has ended.
  Task<void> move_orphans(uint64_t round);
  Task<void> move_orphans_of(ShuffleKey shuffle, PartitionId partition);
  Task<Result<std::vector<Orphan>>> orphans_of(ShuffleKey shuffle, PartitionId partition);
  // Which members are being drained too: asked, as there is no list of them.
  Task<void> look_at_members(ShuffleKey shuffle, PartitionId partition);
  // Where they may go: the owner, the second choice, then all others.
  [[nodiscard]] std::vector<NodeName> targets(const ShuffleKey& shuffle, PartitionId partition);
  Task<Status> send_to_any(ShuffleKey shuffle, PartitionId partition, std::vector<Orphan> orphans);
  Task<Status> send(NodeName to, ShuffleKey shuffle, PartitionId partition,
                    std::vector<Orphan> orphans);
  Task<Status> send_once(NodeName to, ShuffleKey shuffle, PartitionId partition,
                         std::vector<Orphan> orphans);
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
