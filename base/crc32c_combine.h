// The crc32c of two byte strings laid end to end, from the crc32c of each. So pieces of a block can
// be checked in any order. The method is the one of zlib's crc32_combine: appending n zero bytes is
// a linear map over GF(2).
#pragma once

#include <cstdint>

namespace shufflefs {

// Cost: about a microsecond, logarithmic in the length.
[[nodiscard]] uint32_t crc32c_combine(uint32_t first, uint32_t second, uint64_t second_length);

}  // namespace shufflefs
