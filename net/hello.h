// The first frame each way. Nothing else is parsed before it has been accepted, and it is small: at
// most 4 KiB and no payload. `features` and `credentials` are reserved for the authentication of
// peers, which will come here, before any other message is read.
//
// Pure functions, any thread. Failure: kProtocol, kVersion ("upgrade the older one"), kWrongPeer.
#pragma once

#include "net/context.h"
#include "net/messages.h"

namespace shufflefs::net {

inline constexpr uint32_t kProtocolVersion = 1;
inline constexpr FrameLimits kHelloLimits = {4096, 0};

struct Hello {
  uint64_t features = 0;  // none yet; unknown bits are ignored
  NodeIdentity sender;
  std::string
      expected;  // the name that the caller believes the other one to have; empty: unknown (DNS)
  Bytes credentials;  // reserved, empty
};

struct HelloAnswer {
  uint64_t features = 0;
  NodeIdentity sender;
  Bytes credentials;  // reserved, empty
};

[[nodiscard]] Bytes encode(const Hello& hello);
[[nodiscard]] Result<Hello> decode_hello(std::span<const std::byte> header);
[[nodiscard]] Bytes encode(const HelloAnswer& answer);
[[nodiscard]] Result<HelloAnswer> decode_hello_answer(std::span<const std::byte> header);

// The callee's check: is it me who is meant?
[[nodiscard]] Status check_hello(const Hello& hello, const NodeIdentity& self);
// The caller's check: is it the node that I meant?
[[nodiscard]] Status check_hello_answer(const HelloAnswer& answer, std::string_view expected);

}  // namespace shufflefs::net
