// The life of shuffles on this node: what other nodes announce of their map outputs, drops
// (NodeApi::drop), and the end of a shuffle whose last map output has gone.
//
// Threads: reactor only; disk work is offloaded. Failure: a drop that could not be written down is
// an error; its files are looked for again after a restart.
#pragma once

#include <vector>

#include "merge/announcer.h"
#include "merge/block_lengths.h"
#include "merge/committer.h"
#include "merge/merge_store.h"
#include "merge/node_api.h"
#include "merge/shuffle_table.h"

namespace shufflefs::merge {

class ShuffleLives {
 public:
  ShuffleLives(Runtime& runtime, NodeName self, ShuffleTable& table, MergeStore& store,
               Committer& committer, BlockLengths& lengths, AppOwners& owners)
      : runtime_(runtime),
        self_(std::move(self)),
        table_(table),
        store_(store),
        committer_(committer),
        lengths_(lengths),
        owners_(owners) {}

  // Who tells the other members of drops; once they are known.
  void set_announcer(Announcer& announcer) { announcer_ = &announcer; }

  // The shuffles that this node has anything of, or was told of; sorted. Any thread.
  [[nodiscard]] std::vector<ShuffleKey> known() const;
  // Written down when it returns.
  [[nodiscard]] Task<Status> announced(AnnounceRequest request);
  // Whoever knows a later life of the name than we do has seen a drop that we have missed.
  [[nodiscard]] Task<Status> catch_up(ShuffleKey shuffle, uint64_t life);
  [[nodiscard]] Task<Result<DropReply>> drop(AppId app, std::optional<ShuffleId> shuffle,
                                             uint64_t life);
  // This node's map output has ended: takes it out of what is merged here.
  [[nodiscard]] Task<void> ended(MapOutputRef output);

 private:
  [[nodiscard]] Task<Result<DropReply>> carry_out(DroppedName name);
  // Once everything has ended that was ever heard of the shuffle.
  Task<void> end_if_over(ShuffleKey shuffle);
  // Once nothing of the application is known here any more.
  void forget_owner(const AppId& app) const;

  Runtime& runtime_;
  const NodeName self_;
  ShuffleTable& table_;
  MergeStore& store_;
  Committer& committer_;
  BlockLengths& lengths_;
  AppOwners& owners_;
  Announcer* announcer_ = nullptr;
};

}  // namespace shufflefs::merge
