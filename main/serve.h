// The daemon's life around the node: log level, signals, start, wait, stop. Blocks until it is
// over.
//
// Call it before any other thread exists. Returns the exit code: 0 after a clean stop, 1 if the
// node could not be started or had to be ended by force, 2 if a data directory cannot be made.
#pragma once

#include "main/settings.h"

namespace shufflefs {

[[nodiscard]] int run_serve(const Settings& settings);

}  // namespace shufflefs
