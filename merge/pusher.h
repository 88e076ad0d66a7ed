// Brings committed map outputs to the owners of their partitions, in the background: plans chunks,
// reads each one once, sends it, retries with exponential back-off and jitter, and gives up for
// good after max_retries. A map task never waits for any of it, and a chunk that is given up is
// read from its origin.
//
// Threads: reactor only; disk reads are offloaded. Memory: a chunk's bytes are held under the
// budget only while it is being sent; a waiting chunk costs its list of partitions.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <vector>

#include "base/byte_budget.h"
#include "base/gate.h"
#include "base/metrics.h"
#include "merge/chunk_planner.h"
#include "merge/cluster.h"
#include "merge/engine_options.h"
#include "merge/local_maps.h"
#include "merge/placement_cache.h"
#include "merge/push_ledger.h"

namespace shufflefs::merge {

class Pusher {
 public:
  Pusher(Runtime& runtime, FileIo& io, ByteBudget& budget, Metrics& metrics, Cluster& cluster,
         LocalMaps& maps, PlacementCache& placements, PushLedger& ledger, PushOptions options);

  void submit(const ShuffleKey& shuffle, MapId map);
  [[nodiscard]] Task<void> close() { return gate_.close(); }

 private:
  struct Chunk {
    ShuffleKey shuffle;
    MapId map{};
    std::vector<PartitionId> partitions;
    uint64_t bytes = 0;
    uint32_t attempts = 0;
    TimePoint not_before;
  };
  struct Owner {
    std::deque<Chunk> queue;
    std::vector<std::unique_ptr<Timer>> idle;  // one for each worker
  };

  Task<void> plan_all();
  Task<void> plan_one(ShuffleKey shuffle, MapId map);
  void enqueue(const NodeName& name, Chunk chunk);
  Task<void> work(NodeName name, std::shared_ptr<Owner> owner, std::size_t worker);
  Task<void> attempt(NodeName name, std::shared_ptr<Owner> owner, Chunk chunk);
  Task<Result<PushReply>> send(std::shared_ptr<NodeApi> node, MapOutput output, const Chunk& chunk);
  void settle_failure(const NodeName& name, Owner& owner, Chunk chunk, const Error& error);
  [[nodiscard]] Duration backoff(uint32_t attempts);

  Runtime& runtime_;
  FileIo& io_;
  ByteBudget& budget_;
  Cluster& cluster_;
  LocalMaps& maps_;
  PlacementCache& placements_;
  PushLedger& ledger_;
  const PushOptions options_;
  Counter& pushed_bytes_;
  Counter& pushed_blocks_;
  Counter& duplicate_blocks_;
  Counter& retries_;
  Counter& given_up_chunks_;

  std::deque<std::pair<ShuffleKey, MapId>> submitted_;
  std::unique_ptr<Timer> submission_;
  bool planning_ = false;
  std::map<NodeName, std::shared_ptr<Owner>> owners_;
  Gate gate_;
};

// Whether trying the same chunk again may help. What the owner refused for good is not offered
// twice.
[[nodiscard]] bool is_retryable(Code code);

}  // namespace shufflefs::merge
