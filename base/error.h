// The old name of base/result.h, until nobody includes it.
#pragma once

#include "base/result.h"  // IWYU pragma: export
