// Tells each member which map outputs of this node it should know of (NodeApi::announce), in
// batches, again and again until it has been heard: the queue holds names only, so a member that is
// down for long costs little.
//
// When the members change, other nodes become candidates of a partition: those are told then. With
// rendezvous hashing that is little, as long as the buckets stay as wide as they were.
//
// Threads: reactor only. Failure: retried with back-off for as long as the map output exists, also
// when it is the disk here that fails.
#pragma once

#include <deque>
#include <map>
#include <memory>

#include "base/gate.h"
#include "merge/cluster.h"
#include "merge/local_maps.h"
#include "merge/placement_cache.h"

namespace shufflefs::merge {

class Announcer {
 public:
  Announcer(Runtime& runtime, FileIo& io, Cluster& cluster, LocalMaps& maps,
            PlacementCache& placements);

  // News that some member has still to hear.
  [[nodiscard]] std::size_t pending() const;

  void committed(const ShuffleKey& shuffle, MapId map);
  void removed(const ShuffleKey& shuffle, MapId map, uint64_t commit);
  // Everything again, for a node that has forgotten it.
  void tell_all(const NodeName& node);
  [[nodiscard]] Task<void> close() { return gate_.close(); }

 private:
  struct News {
    ShuffleKey shuffle;
    MapId map{};
    bool removed = false;
    uint64_t commit = 0;  // of what was removed
  };
  struct Peer {
    std::deque<News> queue;
    std::size_t being_told = 0;
    std::unique_ptr<Timer> news;
  };
  Peer& peer(const NodeName& node);
  void tell(const NodeName& node, News news);
  void tell_members(const News& news);
  Task<void> run(NodeName node, std::shared_ptr<Peer> peer);
  struct Message {
    AnnounceRequest request;
    std::vector<News> unreadable;  // left out: their map outputs cannot be read now
  };
  Task<Message> make_message(NodeName node, std::vector<News> batch);
  Task<void> watch_members();
  Task<void> tell_new_candidates(std::vector<NodeName> before, std::vector<NodeName> now);

  Runtime& runtime_;
  FileIo& io_;
  Cluster& cluster_;
  LocalMaps& maps_;
  PlacementCache& placements_;
  std::map<NodeName, std::shared_ptr<Peer>> peers_;
  std::vector<NodeName> members_;  // by whose placement the candidates have been told
  Gate gate_;
};

// The partitions for which `node` is a candidate, with a bit for each block that is not empty.
[[nodiscard]] std::vector<PartitionBits> candidate_bits(const Placement& placement,
                                                        const NodeName& node,
                                                        const std::vector<uint64_t>& block_lengths);

// The nodes that are a candidate of some partition by the later member list, and of the same
// partition were not by the earlier one; sorted.
[[nodiscard]] std::vector<NodeName> new_candidates(const ShuffleKey& shuffle,
                                                   uint32_t partition_count,
                                                   const std::vector<NodeName>& before,
                                                   const std::vector<NodeName>& now);

}  // namespace shufflefs::merge
