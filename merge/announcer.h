// Tells each member which map outputs of this node it should know of (NodeApi::announce), in
// batches, again and again until it has been heard: the queue holds names only, so a member that is
// down for long costs little.
//
// Threads: reactor only. Failure: retried with back-off for as long as the map output exists.
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
  Task<AnnounceRequest> make_request(NodeName node, std::vector<News> batch);

  Runtime& runtime_;
  FileIo& io_;
  Cluster& cluster_;
  LocalMaps& maps_;
  PlacementCache& placements_;
  std::map<NodeName, std::shared_ptr<Peer>> peers_;
  Gate gate_;
};

// The partitions for which `node` is a candidate, with a bit for each block that is not empty.
[[nodiscard]] std::vector<PartitionBits> candidate_bits(const Placement& placement,
                                                        const NodeName& node,
                                                        const std::vector<uint64_t>& block_lengths);

}  // namespace shufflefs::merge
