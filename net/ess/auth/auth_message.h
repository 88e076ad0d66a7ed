// The two bodies of handshake RPCs: SaslMessage (first byte 0xEA) and AuthMessage (0xFB).
//
// Pure functions over bytes, any thread. Failure: nullopt for anything that is not exactly such a
// message; what follows from that depends on the policy. Cost: copies of what has arrived; no
// length is believed. Source: spark-facts 1.9; Spark's SaslMessage, AuthMessage, Encoders.
#pragma once

#include <optional>
#include <string>

#include "net/crypto.h"

namespace shufflefs::net::ess {

inline constexpr std::byte kSaslTag{0xEA};
inline constexpr std::byte kAuthTag{0xFB};
// Spark's are below 50 bytes. Part of what HKDF is given, whose inputs OpenSSL limits.
inline constexpr std::size_t kMaxAuthAppBytes = 256;

struct SaslMessage {
  std::string app;
  std::string token;
};

struct AuthMessage {
  std::string app;
  Bytes salt;
  Bytes ciphertext;
};

// The length in front of the token says nothing new and is not looked at, as in Java.
[[nodiscard]] std::optional<SaslMessage> decode_sasl_message(View body);
[[nodiscard]] Bytes encode_sasl_message(const SaslMessage& message);

[[nodiscard]] std::optional<AuthMessage> decode_auth_message(View body);
[[nodiscard]] Bytes encode_auth_message(const AuthMessage& message);

}  // namespace shufflefs::net::ess
