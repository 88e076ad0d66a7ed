#include "base/crc32c.h"

#include <isa-l/crc.h>

#include <algorithm>

namespace shufflefs {

uint32_t crc32c(uint32_t crc, std::span<const std::byte> bytes) {
  // ISA-L takes an int length and a non-const pointer that it does not write through.
  constexpr std::size_t kMaxStep = std::size_t{1} << 30U;
  uint32_t state = ~crc;
  while (!bytes.empty()) {
    const std::size_t step = std::min(bytes.size(), kMaxStep);
    // NOLINTNEXTLINE(cppcoreguidelines-pro-type-const-cast)
    auto* data = const_cast<unsigned char*>(reinterpret_cast<const unsigned char*>(bytes.data()));
    state = crc32_iscsi(data, static_cast<int>(step), state);
    bytes = bytes.subspan(step);
  }
  return ~state;
}

}  // namespace shufflefs
