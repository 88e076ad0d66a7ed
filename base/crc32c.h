// CRC-32C (Castagnoli; RFC 3720 appendix B.4) by ISA-L. The usual convention: initial value and
// final xor of ~0, so that crc32c("123456789") == 0xE3069283 and java.util.zip.CRC32C agrees. Pure
// functions; about 50 GB/s.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace shufflefs {

// Continues `crc`, the value for the bytes before (0 at the start).
[[nodiscard]] uint32_t crc32c(uint32_t crc, std::span<const std::byte> bytes);
[[nodiscard]] inline uint32_t crc32c(std::span<const std::byte> bytes) { return crc32c(0, bytes); }

}  // namespace shufflefs
