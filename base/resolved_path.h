// The old name of base/fd.h, until nobody includes it.
#pragma once

#include "base/fd.h"  // IWYU pragma: export
