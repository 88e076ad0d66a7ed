// The old name of base/escape.h, until nobody includes it.
#pragma once

#include "base/escape.h"  // IWYU pragma: export
