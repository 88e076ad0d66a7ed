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

// The value of two byte strings laid end to end, from the values of each, so that pieces of a block
// can be checked in any order. As zlib's crc32_combine: appending n zero bytes is a linear map over
// GF(2). Cost: about a microsecond, logarithmic in the length.
[[nodiscard]] uint32_t crc32c_combine(uint32_t first, uint32_t second, uint64_t second_length);

}  // namespace shufflefs
