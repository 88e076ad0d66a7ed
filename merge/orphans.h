// Ends shuffles that nobody has a map output of any more. Mostly the news of the last removal does
// that (LocalNode::announce); but the news dies with a daemon that is killed between the removal
// and the telling, and then merged partitions would stay until the application is dropped.
//
// A shuffle is ended on proof only: twice in a row every member has answered, none has a map output
// of it, and nobody has heard of one from a node that is not among those.
//
// Threads: reactor; the store's disk work is offloaded. Cost: one small question to each member for
// each shuffle that this node has merged or heard of and has no map output of, at each look.
#pragma once

#include <set>

#include "merge/catalog.h"
#include "merge/heard_maps.h"
#include "merge/local_maps.h"
#include "merge/merge_store.h"

namespace shufflefs::merge {

class Orphans {
 public:
  Orphans(Runtime& runtime, Catalog& catalog, LocalMaps& maps, HeardMaps& heard, MergeStore& store,
          Duration pause)
      : runtime_(runtime),
        catalog_(catalog),
        maps_(maps),
        heard_(heard),
        store_(store),
        pause_(pause),
        gate_(runtime, "orphans") {}

  void start() { gate_.spawn(run()); }
  // REQUIRES: the catalog still answers.
  [[nodiscard]] Task<void> close() { return gate_.close(); }

 private:
  Task<void> run();
  Task<void> look();
  Task<void> end(ShuffleKey shuffle);

  Runtime& runtime_;
  Catalog& catalog_;
  LocalMaps& maps_;
  HeardMaps& heard_;
  MergeStore& store_;
  const Duration pause_;           // between two looks
  std::set<ShuffleKey> suspects_;  // of the last look
  Gate gate_;
};

}  // namespace shufflefs::merge
