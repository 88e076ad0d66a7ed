// The old name of base/crc32c.h, until nobody includes it.
#pragma once

#include "base/crc32c.h"  // IWYU pragma: export
