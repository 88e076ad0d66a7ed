// The old name of base/check.h, until nobody includes it.
#pragma once

#include "base/check.h"  // IWYU pragma: export
