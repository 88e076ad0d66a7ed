// The frame: a fixed prefix of 32 bytes, a header (msgpack), a raw payload. See docs/wire.md.
//
// Pure functions over bytes: no sockets, no state, any thread. Failure: kProtocol with what was
// wrong, kCorruptData where a checksum of an otherwise sound frame differs. Cost: nothing is
// allocated for what a peer merely claims; the receiver checks the claimed lengths against its own
// limits first.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"

namespace shufflefs::net {

using Bytes = std::vector<std::byte>;

inline constexpr std::size_t kPrefixBytes = 32;
inline constexpr std::size_t kMagicBytes = 4;

struct FramePrefix {
  uint16_t type = 0;
  uint32_t header_bytes = 0;
  uint32_t header_crc = 0;
  uint64_t payload_bytes = 0;
  uint32_t payload_crc = 0;
};

// What the receiver is willing to take.
struct FrameLimits {
  uint64_t header_bytes = 0;
  uint64_t payload_bytes = 0;
};

// The prefix and the header, to be followed by the payload on the wire. REQUIRES: header.size()
// fits 32 bits.
[[nodiscard]] Bytes encode_frame_head(uint16_t type, std::span<const std::byte> header,
                                      std::span<const std::byte> payload);

// Checks the first four bytes alone, so a stranger that sends less than a prefix is noticed at
// once.
[[nodiscard]] Status check_magic(std::span<const std::byte, kMagicBytes> bytes);

[[nodiscard]] Result<FramePrefix> decode_prefix(std::span<const std::byte, kPrefixBytes> bytes);

// Before anything is allocated for the frame.
[[nodiscard]] Status check_limits(const FramePrefix& prefix, const FrameLimits& limits);

[[nodiscard]] Status check_header(const FramePrefix& prefix, std::span<const std::byte> header);
[[nodiscard]] Status check_payload(const FramePrefix& prefix, std::span<const std::byte> payload);

}  // namespace shufflefs::net
