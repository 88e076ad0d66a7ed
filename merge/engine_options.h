// What the domain can be told, and what it says of itself: plain values. Defaults, ranges and
// prices of the options are in main/config_keys.cc (docs/configuration.md).
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/runtime.h"
#include "merge/ids.h"
#include "merge/node_api.h"

namespace shufflefs::merge {

struct StreamOptions {
  uint64_t ahead_bytes = 4U << 20U;
  Duration patience = std::chrono::seconds(10);  // for the memory budget and for one unit to arrive
  // How often a node that has what nobody else has is asked again, before it is taken for lost.
  Duration lost_patience = std::chrono::seconds(5);
};

struct PushOptions {
  bool enabled = true;
  uint64_t chunk_bytes = 2U << 20U;
  uint64_t max_block_bytes = 64U << 20U;
  bool replicate = false;  // every block to a second node, also what its origin owns
  uint32_t max_retries = 6;
  Duration jitter = std::chrono::milliseconds(20);
  Duration first_backoff = std::chrono::milliseconds(100);
  Duration longest_backoff = std::chrono::seconds(5);
  uint32_t per_owner = 2;                            // messages under way to one owner at a time
  Duration slow = std::chrono::seconds(2);           // an owner that takes longer gets less
  Duration busy_patience = std::chrono::minutes(5);  // with an owner that says it is busy
  Duration memory_patience = std::chrono::seconds(30);
  uint32_t readers = 2;  // disk threads that read map outputs for pushes at a time
  std::size_t max_queued_blocks = 256U << 10U;  // cut into chunks and waiting
};

struct DiskOptions {
  uint64_t reserve_bytes = 0;  // kept free of merged data on each disk; 0: 5 %, at most 10 GiB
  Duration check_interval = std::chrono::seconds(1);    // a tenth of it when room is scarce
  Duration try_again_after = std::chrono::seconds(30);  // a disk that has failed
  // A shuffle to which nothing has been merged for so long counts as complete: it is evicted first.
  Duration complete_after = std::chrono::seconds(30);
};

struct EngineOptions {
  NodeName self;
  std::vector<std::string> data_dirs;  // absolute; disk i is shown as local/disk<i>
  PushOptions push;
  StreamOptions stream;
  DiskOptions disk;
  uint64_t split_bytes = 4ULL << 30U;  // a merged partition goes on in a further file above it
  // Whether the ends of merged partitions are checked against their checksums when they are first
  // used. False only if the machine has run on since the last life of this node.
  bool verify_merged = true;
  Duration trash_grace = std::chrono::seconds(60);
  // For registered executors (merge/spark_files.h).
  std::vector<std::string> mounts;        // the names of the mount
  std::vector<std::string> allowed_dirs;  // outside of it; absolute
  Duration app_ttl{};                     // 0: never
  uint64_t app_quota = 0;                 // bytes of an application on this node; 0: none
  // Whether a commit through the mount waits until the other members know of it. Not where the
  // reactor runs on the thread that commits, as in unit tests.
  bool tell_before_answering = true;
  // Makes the kernel forget names on the mount whose files were removed below it. Disk threads.
  std::function<void(const std::vector<std::string>&)> forget_names;
  // Whether something has happened below local/ of which commits() is still to be told: where that
  // is told after the fact. Any thread.
  std::function<bool()> has_unread_events;
};

// ---- status --------------------------------------------------------------------------------------------------------

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
