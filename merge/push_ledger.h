// How far each map output of this node is: for `shufflefs wait`, status and metrics.
//
// Threads: any. Memory: about 200 bytes for a map output.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>

#include "merge/node_api.h"

namespace shufflefs::merge {

class PushLedger {
 public:
  // The map output's chunks are known; `chunks` of them are to be pushed.
  void planned(const ShuffleKey& shuffle, MapId map, uint64_t chunks, uint64_t blocks_left_home,
               uint64_t bytes_left_home);
  // Some of its chunks were cut further.
  void chunks_added(const ShuffleKey& shuffle, MapId map, uint64_t chunks);
  void unpushed(const ShuffleKey& shuffle, MapId map);  // pushing is switched off
  // Both do nothing if the map output was forgotten while its chunk was under way.
  void chunk_merged(const ShuffleKey& shuffle, MapId map);
  void chunk_given_up(const ShuffleKey& shuffle, MapId map, const std::string& reason,
                      uint64_t blocks, uint64_t bytes);
  void forget(const ShuffleKey& shuffle, MapId map);
  // Adds what is known to maps_settled, maps_given_up, maps_unpushed, *_left_home and given_up.
  void add_to(const ShuffleKey& shuffle, ShuffleInfo& info) const;

 private:
  struct Entry {
    bool pushed_off = false;
    uint64_t chunks_open = 0;
    uint64_t blocks_left_home = 0;
    uint64_t bytes_left_home = 0;
    std::map<std::string, GivenUp> given_up;  // by reason
  };
  [[nodiscard]] Entry* find(const ShuffleKey& shuffle, MapId map);  // REQUIRES: mu_ held

  mutable std::mutex mu_;
  std::map<ShuffleKey, std::map<MapId, Entry>> entries_;  // GUARDED_BY(mu_)
};

}  // namespace shufflefs::merge
