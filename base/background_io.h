// The old name of base/file_io.h, until nobody includes it.
#pragma once

#include "base/file_io.h"  // IWYU pragma: export
