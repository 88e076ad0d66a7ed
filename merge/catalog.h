// Who has what, over all nodes: listings, totals, and the plan of a partition. There is no
// coordinator and no stored state: the members are asked each time, all at once.
//
// Threads: reactor only. Failure: an unreachable node is named in the answer, never an error of the
// whole. Bound: the peer timeout.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/gate.h"
#include "merge/ask_nodes.h"
#include "merge/cluster.h"
#include "merge/logical_clock.h"
#include "merge/partition_plan.h"
#include "merge/placement.h"

namespace shufflefs::merge {

// The sum of the nodes' ShuffleInfo.
struct ShuffleTotals {
  ShuffleKey shuffle;
  ShuffleInfo sum;  // given_up and refused_commits are left empty here: see below
  std::vector<std::pair<NodeName, GivenUp>> given_up;
  std::vector<std::string> refused_commits;
  std::vector<UnreachableNode> unreachable;
  bool known = false;             // some node has something of it
  std::vector<FileOwner> owners;  // of the application, as the nodes say
};

class Catalog {
 public:
  // `lost_timeout`: StreamOptions::lost_patience.
  Catalog(Runtime& runtime, Cluster& cluster, LogicalClock& clock, PlacementCache& placements,
          Duration lost_timeout);

  // Ends the questions under way.
  [[nodiscard]] Task<void> close() { return gate_.close(); }

  // Sorted, without doubles. All shuffles that any live node has something of.
  [[nodiscard]] Task<std::vector<ShuffleKey>> shuffles();
  // How many partitions the shuffle has (0 if it is unknown): partitions/ lists 0 .. count - 1. The
  // largest that any node knows of.
  [[nodiscard]] Task<uint32_t> partition_count(ShuffleKey shuffle);
  [[nodiscard]] Task<ShuffleTotals> totals(ShuffleKey shuffle);
  // The partition as of now. A plan that is neither known nor incomplete is of a partition that
  // does not exist: every member says so.
  [[nodiscard]] Task<PartitionPlan> plan(ShuffleKey shuffle, PartitionId partition);
  // Asks again for up to `lost_timeout` while a node that does not answer may have what nobody else
  // has. A node that fell silent just now may have committed something that nobody was told of: it
  // is waited for too, but not in every reading while it is away. A node that knows other members
  // than this one gets the time in which members spread, once.
  [[nodiscard]] Task<PartitionPlan> plan_for_reading(ShuffleKey shuffle, PartitionId partition);
  // Only what is merged: what <p>.merged and <p>.index show; empty if nothing is. Asks this node,
  // then the two candidates; all others only if those have nothing or do not answer. No map output
  // is looked at, so the blocks' origins are left open.
  [[nodiscard]] Task<PartitionPlan> merged_plan(ShuffleKey shuffle, PartitionId partition);
  // The node has been restarted: if it falls silent again, that is news.
  void has_returned(const NodeName& node) { silent_since_.erase(node); }
  // What every node reports (NodeApi::report), by name; an error says why one does not.
  [[nodiscard]] Task<std::vector<std::pair<NodeName, Result<std::string>>>> reports(
      std::string about);
  // Drops on every node: a new life of the name begins. An error names the nodes that could not be
  // told; they are told when they are back.
  [[nodiscard]] Task<Status> drop(AppId app, std::optional<ShuffleId> shuffle);

 private:
  template <class T, class Ask>
  Task<Answers<T>> ask(std::vector<NodeName> names, Ask ask);
  struct Asked {
    PartitionPlan plan;
    std::vector<std::pair<NodeName, uint64_t>> other_views;  // nodes and their Cluster::view_hash()
  };
  [[nodiscard]] Task<Asked> ask_for_plan(ShuffleKey shuffle, PartitionId partition);
  [[nodiscard]] bool somebody_has_just_gone();
  template <class T, class Ask>
  Task<Answers<T>> ask_all(Ask ask) {
    return this->ask<T>(cluster_.names(), std::move(ask));
  }

  Runtime& runtime_;
  Cluster& cluster_;
  LogicalClock& clock_;
  const Duration lost_timeout_;
  PlacementCache& placements_;
  std::map<NodeName, TimePoint> silent_since_;  // members whose last answer is missing
  // Other views of the members that a reading has waited for in vain; the last kMostViews.
  std::deque<std::pair<NodeName, uint64_t>> waited_out_;
  Gate gate_;
};

}  // namespace shufflefs::merge
