#include "net/wire.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/crc32c.h"
#include "base/endian.h"

namespace shufflefs::net {
namespace {

constexpr std::array<std::byte, kMagicBytes> kMagic = {std::byte{'S'}, std::byte{'F'},
                                                       std::byte{'S'}, std::byte{'1'}};

// Offsets in the prefix; docs/wire.md has the same table.
constexpr std::size_t kTypeAt = 4;
constexpr std::size_t kFlagsAt = 6;
constexpr std::size_t kHeaderBytesAt = 8;
constexpr std::size_t kHeaderCrcAt = 12;
constexpr std::size_t kPayloadBytesAt = 16;
constexpr std::size_t kPayloadCrcAt = 24;
constexpr std::size_t kPrefixCrcAt = 28;

Error protocol_error(std::string message) {
  return make_error(Code::kProtocol, std::move(message));
}

Status check_crc(std::string_view what, uint32_t expected, std::span<const std::byte> bytes) {
  const uint32_t found = crc32c(bytes);
  if (found == expected) return ok();
  return make_error(
      Code::kCorruptData,
      fmt::format(
          "the {} of a frame was damaged on the way: its crc32c is {:08x}, the sender wrote {:08x}",
          what, found, expected));
}

}  // namespace

Bytes encode_frame_head(uint16_t type, std::span<const std::byte> header,
                        std::span<const std::byte> payload) {
  Bytes head(kPrefixBytes + header.size());
  std::ranges::copy(kMagic, head.begin());
  store_le<uint16_t>(&head[kTypeAt], type);
  store_le<uint16_t>(&head[kFlagsAt], 0);
  store_le<uint32_t>(&head[kHeaderBytesAt], static_cast<uint32_t>(header.size()));
  store_le<uint32_t>(&head[kHeaderCrcAt], crc32c(header));
  store_le<uint64_t>(&head[kPayloadBytesAt], payload.size());
  store_le<uint32_t>(&head[kPayloadCrcAt], crc32c(payload));
  store_le<uint32_t>(&head[kPrefixCrcAt], crc32c(std::span(head).first(kPrefixCrcAt)));
  std::ranges::copy(header, head.begin() + kPrefixBytes);
  return head;
}

Status check_magic(std::span<const std::byte, kMagicBytes> bytes) {
  if (std::ranges::equal(bytes, kMagic)) return ok();
  return protocol_error(
      fmt::format("not a shufflefs frame (starts with {:02x} {:02x} {:02x} {:02x}): is something "
                  "else talking to the peer port?",
                  bytes[0], bytes[1], bytes[2], bytes[3]));
}

Result<FramePrefix> decode_prefix(std::span<const std::byte, kPrefixBytes> bytes) {
  TRY(check_magic(bytes.first<kMagicBytes>()));
  // Before the lengths are believed: a damaged length would make us wait for bytes that never come.
  const uint32_t crc = crc32c(bytes.first(kPrefixCrcAt));
  const auto claimed_crc = load_le<uint32_t>(&bytes[kPrefixCrcAt]);
  if (crc != claimed_crc) {
    return protocol_error(
        fmt::format("the prefix of a frame was damaged, or is not one: its crc32c is {:08x}, the "
                    "sender wrote {:08x}",
                    crc, claimed_crc));
  }
  if (const auto flags = load_le<uint16_t>(&bytes[kFlagsAt]); flags != 0) {
    return protocol_error(fmt::format(
        "a frame has the unknown flags {:#06x}: this protocol version has none", flags));
  }
  FramePrefix prefix;
  prefix.type = load_le<uint16_t>(&bytes[kTypeAt]);
  prefix.header_bytes = load_le<uint32_t>(&bytes[kHeaderBytesAt]);
  prefix.header_crc = load_le<uint32_t>(&bytes[kHeaderCrcAt]);
  prefix.payload_bytes = load_le<uint64_t>(&bytes[kPayloadBytesAt]);
  prefix.payload_crc = load_le<uint32_t>(&bytes[kPayloadCrcAt]);
  return prefix;
}

Status check_limits(const FramePrefix& prefix, const FrameLimits& limits) {
  if (prefix.header_bytes > limits.header_bytes) {
    return protocol_error(
        fmt::format("the header length {} is above the limit of {} for message type {}",
                    prefix.header_bytes, limits.header_bytes, prefix.type));
  }
  if (prefix.payload_bytes > limits.payload_bytes) {
    return protocol_error(
        fmt::format("the payload length {} is above the limit of {} for message type {}",
                    prefix.payload_bytes, limits.payload_bytes, prefix.type));
  }
  return ok();
}

Status check_header(const FramePrefix& prefix, std::span<const std::byte> header) {
  return check_crc("header", prefix.header_crc, header);
}

Status check_payload(const FramePrefix& prefix, std::span<const std::byte> payload) {
  return check_crc("payload", prefix.payload_crc, payload);
}

}  // namespace shufflefs::net
