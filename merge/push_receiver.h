// Merges what other nodes push to this one, or says which blocks are missing here.
//
// Threads: reactor only; blocks are checked and written on disk threads. Failure: see PushReply.
// Memory: the request's payload, which net leased. The response tells the sender how much more
// there is room for.
#pragma once

#include <map>

#include "base/memory_budget.h"
#include "base/metrics.h"
#include "merge/merge_store.h"
#include "merge/node_api.h"
#include "merge/shuffle_lives.h"

namespace shufflefs::merge {

class PushReceiver {
 public:
  // `budget` is only looked at, for the credit of those who push.
  PushReceiver(Runtime& runtime, ByteBudget& budget, Metrics& metrics, ShuffleTable& table,
               MergeStore& store, AppOwners& owners, ShuffleLives& lives, uint64_t max_block_bytes);

  [[nodiscard]] Task<Result<PushReply>> push(PushRequest request);
  // The node is about to leave: it takes no pushes.
  void set_draining(bool draining) { is_draining_ = draining; }

 private:
  [[nodiscard]] Status check_parts(const PushRequest& request) const;
  // On a disk thread.
  [[nodiscard]] Result<PushReply> merge(const PushRequest& request);
  [[nodiscard]] Result<PushReply> look_for(const PushRequest& request);
  [[nodiscard]] uint64_t credit_for(const NodeName& sender);

  Runtime& runtime_;
  ByteBudget& budget_;
  ShuffleTable& table_;
  MergeStore& store_;
  AppOwners& owners_;
  ShuffleLives& lives_;
  const uint64_t max_block_bytes_;
  bool is_draining_ = false;
  Counter& merged_blocks_;
  Counter& merged_bytes_;
  Counter& duplicates_;
  Counter& refused_;
  std::map<NodeName, TimePoint> senders_;  // who pushes, and when it did last
};

}  // namespace shufflefs::merge
