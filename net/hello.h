// The frames of the handshake. Nothing else is parsed before it is over (net/handshake.h), and they
// are small: at most 4 KiB and no payload.
//
// Pure functions, any thread. Failure: kProtocol, kVersion ("upgrade the older one"), kWrongPeer.
#pragma once

#include "net/context.h"
#include "net/member_table.h"
#include "net/messages.h"
#include "net/peer_secrets.h"

namespace shufflefs::net {

inline constexpr uint32_t kProtocolVersion = 4;
inline constexpr FrameLimits kHelloLimits = {4096, 0};

// Features. The sender has a shared secret, and will prove it.
inline constexpr uint64_t kProvesSecret = 1;

using Nonce = std::array<std::byte, kNonceBytes>;
using Proof = std::array<std::byte, kProofBytes>;

struct Hello {
  uint64_t features = 0;  // unknown bits are ignored
  NodeIdentity sender;
  std::string
      expected;  // the name that the caller believes the other one to have; empty: unknown (DNS)
  Nonce nonce{};
  // Where peers reach the sender, and its record's clock. No host: where the connection comes from.
  // Port 0: it only asks, and is no member.
  HostPort address{};
  uint64_t clock = 0;
};

struct HelloAnswer {
  uint64_t features = 0;
  NodeIdentity sender;
  Nonce nonce{};
  HostPort address{};  // as in the hello; no host: where it was reached
  uint64_t clock = 0;
  std::string caller_host{};  // where the callee sees the connection come from
};

[[nodiscard]] Bytes encode(const Hello& hello);
[[nodiscard]] Result<Hello> decode_hello(std::span<const std::byte> header);
[[nodiscard]] Bytes encode(const HelloAnswer& answer);
[[nodiscard]] Result<HelloAnswer> decode_hello_answer(std::span<const std::byte> header);
[[nodiscard]] MemberRecord record_of(const Hello& hello);
[[nodiscard]] MemberRecord record_of(const HelloAnswer& answer);
// Both ways: the caller's proof, and the callee's in the answer to it.
[[nodiscard]] Bytes encode_proof(std::span<const std::byte> proof);
[[nodiscard]] Result<Proof> decode_proof(std::span<const std::byte> header);

// The callee's check: is it me who is meant?
[[nodiscard]] Status check_hello(const Hello& hello, const NodeIdentity& self);
// The caller's check: is it the node that I meant?
[[nodiscard]] Status check_hello_answer(const HelloAnswer& answer, std::string_view expected);

}  // namespace shufflefs::net
