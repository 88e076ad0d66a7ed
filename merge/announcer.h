// Tells each member the events of this node's map outputs (NodeApi::announce), in the order in
// which they happened. The table has them; here is only how far each member has been told. When the
// members change, other nodes become candidates of a partition: everybody is told again.
//
// Threads: reactor only. Failure: retried with back-off for as long as the node is a member.
#pragma once

#include <map>
#include <memory>
#include <optional>

#include "base/gate.h"
#include "base/metrics.h"
#include "merge/block_lengths.h"
#include "merge/cluster.h"
#include "merge/placement.h"
#include "merge/shuffle_table.h"

namespace shufflefs::merge {

class Announcer {
 public:
  Announcer(Runtime& runtime, FileIo& io, Metrics& metrics, Cluster& cluster, ShuffleTable& table,
            PlacementCache& placements);

  // Announcements that some member has still to hear; those of members that are down included.
  [[nodiscard]] std::size_t pending() const;

  // The table has news.
  void wake();
  // The node has begun a new life, or is a member for the first time: everything from the start.
  void tell_all(const NodeName& node);
  // Returns when every member that is up has been told of the news so far, after `timeout` at the
  // latest.
  [[nodiscard]] Task<void> tell_now(Duration timeout);
  // The node is about to leave: every member is told of all partitions, as candidates may leave
  // too.
  void set_leaving(bool leaving);
  // The members that are up have been told everything.
  [[nodiscard]] bool is_all_told() const;
  [[nodiscard]] Task<void> close() { return gate_.close(); }

 private:
  struct Peer {
    uint64_t told = 0;  // up to this news
    // Everything up to here is told again, as the member is a candidate of other partitions now.
    bool again = false;
    bool is_whole = false;  // it knows that it has been told everything
    std::unique_ptr<Timer> news;
  };
  struct Message {
    AnnounceRequest request;
    uint64_t last = 0;  // the last news in it
  };
  void add_members();
  Task<void> run(NodeName node, std::shared_ptr<Peer> peer);
  Task<Message> make_message(NodeName node, std::vector<ShuffleTable::News> batch);
  Task<void> watch_members();
  [[nodiscard]] uint64_t told_to_all() const;

  Runtime& runtime_;
  Cluster& cluster_;
  ShuffleTable& table_;
  PlacementCache& placements_;
  OutputSizes sizes_;
  std::map<NodeName, std::shared_ptr<Peer>> peers_;
  std::vector<Timer*> waiting_;    // in tell_now()
  std::vector<NodeName> members_;  // sorted
  std::vector<NodeName> placed_;   // by whose placement the candidates have been told
  bool is_leaving_ = false;
  Gate gate_;
};

// The partitions for which `node` is a candidate, or all, with a bit for each block that is not
// empty.
[[nodiscard]] std::vector<PartitionBits> candidate_bits(const Placement& placement,
                                                        const std::optional<NodeName>& node,
                                                        const BlockSizes& sizes);

}  // namespace shufflefs::merge
