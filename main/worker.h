// The process that does the work: everything that is a node except holding the mount. Started by
// the supervisor only, which tells it through a channel what to serve and when to end; it may be
// killed at any instant.
#pragma once

namespace shufflefs {

// Returns the exit code: 0 when told to end, kExitUnmounted, or why it could not start.
[[nodiscard]] int run_worker();

}  // namespace shufflefs
