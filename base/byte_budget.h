// The old name of base/memory_budget.h, until nobody includes it.
#pragma once

#include "base/memory_budget.h"  // IWYU pragma: export
