// The old name of base/hash.h, until nobody includes it.
#pragma once

#include "base/hash.h"  // IWYU pragma: export
