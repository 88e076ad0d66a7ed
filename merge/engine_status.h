// What the engine says of itself, for status, metrics and commands. Plain values.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "merge/node_api.h"

namespace shufflefs::merge {

// A data disk (merge/disks.h).
struct DiskStatus {
  std::string path;
  uint64_t total_bytes = 0;
  uint64_t free_bytes = 0;
  uint64_t reserve_bytes = 0;
  bool takes_merged = true;
  std::string failed;  // why it is not used; empty if it is
};

// How the pushes to one owner are (merge/pusher.h).
struct PushOwnerStatus {
  NodeName owner;
  std::size_t queued_chunks = 0;
  uint64_t queued_bytes = 0;
  uint64_t in_flight_bytes = 0;
  uint64_t window_bytes = 0;
  std::string left_alone;  // why; empty if it is not
};

// How far a drain is (merge/drain.h).
struct DrainStatus {
  bool draining = false;
  bool safe_to_stop = false;      // nothing would be lost with this node
  uint64_t map_outputs = 0;       // of this node
  uint64_t waiting = 0;           // map outputs, chunks and merged partitions to be looked at
  uint64_t maps_unpushed = 0;     // pushing is switched off
  uint64_t orphans_moved = 0;     // merged blocks whose origin has gone, now on another node
  uint64_t blocks_left_home = 0;  // too large to be pushed: only here
  uint64_t bytes_left_home = 0;
  std::vector<GivenUp> given_up;  // only here as well
};

}  // namespace shufflefs::merge
