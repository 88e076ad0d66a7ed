// `shufflefs serve`: the supervisor (supervisor.h), of a new mount or of one that runs.
//
// Call it before any other thread exists. Returns the exit code: 0 after a clean stop or when
// another supervisor has taken over, 1 if the node could not be started or had to be ended by
// force, 2 for mistakes in the configuration.
#pragma once

#include "main/settings.h"

namespace shufflefs {

[[nodiscard]] int run_serve(const Settings& settings, bool take_over);

}  // namespace shufflefs
