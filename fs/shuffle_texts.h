// The texts of a shuffle on the mount: its status, and who owns its partitions.
//
// Threads: reactor. Failure: a node that does not answer is a line of the status.
#pragma once

#include <cstdint>
#include <string>

#include "merge/engine.h"

namespace shufflefs::fs {

// shuffles/<app>/<shuffle>/status.
[[nodiscard]] Task<std::string> status_text(merge::Engine& engine, merge::ShuffleKey shuffle);
// Who would own the partitions 0 .. partition_count - 1: a line "<first> <last> <owner> <second
// choice>" for each bucket; the second choice is missing where there is one node.
[[nodiscard]] std::string owners_text(merge::Engine& engine, const merge::ShuffleKey& shuffle,
                                      uint32_t partition_count);

}  // namespace shufflefs::fs
