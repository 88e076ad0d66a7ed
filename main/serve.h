// `shufflefs serve`: the supervisor (supervisor.h), of a new mount or of one that runs.
//
// Call it before any other thread exists. Returns the exit code: 0 after a clean stop or when
// another supervisor has taken over, 1 if the node could not be started or had to be ended by
// force, 2 for mistakes in the configuration.
#pragma once

#include "main/settings.h"

namespace shufflefs {

enum class Start {
  kMount,
  kTakeOver,  // fails if no node runs
  // Takes over if a node runs, else mounts; and does not end when it was taken over
  // (Supervisor::stay_after_handover).
  kInPod,
};

[[nodiscard]] int run_serve(const Settings& settings, Start start);

}  // namespace shufflefs
