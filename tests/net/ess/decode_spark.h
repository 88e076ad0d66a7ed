// Feeds bytes from a stranger through the decoders of the shuffle service, as a stream of frames,
// as one frame, and as the body of an RPC. For the property test and the fuzzer. Returns how many
// of them took it.
#pragma once

#include "net/ess/protocol.h"

namespace shufflefs::net::ess::testing {

inline int decode_rpc_body(std::span<const std::byte> body) {
  const auto decoded = decode_rpc(body);
  if (!decoded) return 0;
  // What was decoded is also used as the session uses it.
  if (const auto* blocks = std::get_if<BlockList>(&*decoded)) {
    for (std::size_t i = 0; i < blocks->chunks() && i < 1000; ++i) {
      if (blocks->chunk(i).map >= blocks->maps.size()) __builtin_trap();
    }
  }
  return 1;
}

inline int decode_one_frame(std::span<const std::byte> bytes) {
  const auto frame = decode_frame(bytes);
  if (!frame) return 0;
  if (const auto* rpc = std::get_if<RpcRequest>(&*frame)) (void)decode_rpc_body(rpc->body);
  return 1;
}

inline int decode_frames(std::span<const std::byte> bytes) {
  int taken = 0;
  while (bytes.size() >= kLengthBytes) {
    const auto size = decode_length(bytes.first<kLengthBytes>(), std::size_t{16} << 20U);
    if (!size || *size > bytes.size() - kLengthBytes) break;
    taken += decode_one_frame(bytes.subspan(kLengthBytes, *size));
    bytes = bytes.subspan(kLengthBytes + *size);
  }
  return taken;
}

}  // namespace shufflefs::net::ess::testing
