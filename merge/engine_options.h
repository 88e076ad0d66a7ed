// What the domain can be told. Defaults, ranges and prices are in main/config_keys.cc
// (docs/configuration.md).
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/runtime.h"
#include "merge/ids.h"

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
};

}  // namespace shufflefs::merge
