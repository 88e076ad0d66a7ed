// Counts what operator new hands out on this thread, so that a test can bound what a decoder
// allocates.
#pragma once

#include <cstddef>

namespace shufflefs::net::testing {

// Bytes allocated on this thread since it started.
[[nodiscard]] std::size_t allocated_bytes();

}  // namespace shufflefs::net::testing
