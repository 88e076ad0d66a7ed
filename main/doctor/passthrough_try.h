// Whether the kernel passes files of a directory's disk through: tried on a mount of its own, in a
// mount namespace that nobody else sees.
//
// REQUIRES: in a child process (in_child()), as the namespace stays. Failure: an Error with the
// errno that the kernel gives. Bound: seconds.
#pragma once

#include <string>

#include "base/result.h"

namespace shufflefs::doctor {

[[nodiscard]] Status try_passthrough(const std::string& directory);

}  // namespace shufflefs::doctor
