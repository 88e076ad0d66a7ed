// The server's half of Spark's AuthEngine: both sides send an ephemeral X25519 public key,
// encrypted under a key that only holders of the secret can derive; the session's keys come from
// the shared result and both messages.
//
// Threads: pure functions. Failure: kPermission if the client does not know the secret or its
// message is malformed; nullopt for what is no AuthMessage. Cost: three X25519 operations and a few
// HKDF, 0.2 ms. Keys are wiped. Source: spark-facts 1.9; Spark's network/crypto/README.md.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "net/crypto.h"

namespace shufflefs::net::ess {

inline constexpr std::byte kAuthTag{0xFB};
inline constexpr std::size_t kAuthSaltBytes = 16;

// The body of a handshake RPC.
struct AuthMessage {
  std::string app;
  Bytes salt;
  Bytes ciphertext;
};
[[nodiscard]] std::optional<AuthMessage> decode_auth_message(View body);
[[nodiscard]] Bytes encode_auth_message(const AuthMessage& message);

// What the session is encrypted with. Spark does not say on the wire which version of the engine
// it is configured for, so both keys are kept until the first encrypted bytes tell.
struct SessionKeys {
  SecretBytes key_v1;     // authEngineVersion 1: the X25519 result itself, 32 bytes
  SecretBytes key_v2;     // authEngineVersion 2: derived from it, 16 bytes
  SecretBytes client_iv;  // "inputIv"; what the server sends is encrypted with it (AES/CTR only)
  SecretBytes server_iv;  // "outputIv"; what the client sends
};

// The server's randomness, a parameter so that a recorded exchange can be played again.
struct EngineRandomness {
  SecretBytes private_key;  // kX25519Bytes
  Bytes salt;               // kAuthSaltBytes
  Bytes nonce;              // kGcmNonceBytes
};
[[nodiscard]] Result<EngineRandomness> fresh_engine_randomness();

struct EngineResponse {
  Bytes reply;  // an encoded AuthMessage
  SessionKeys keys;
};

[[nodiscard]] Result<EngineResponse> respond_to_engine(const AuthMessage& client,
                                                       std::string_view secret,
                                                       const EngineRandomness& randomness);

// The pieces, which a client (in a test) needs in another order.
[[nodiscard]] Result<AuthMessage> seal_public_key(View public_key, std::string_view app,
                                                  std::string_view secret, View salt, View nonce,
                                                  View transcript);
[[nodiscard]] Result<Bytes> open_public_key(const AuthMessage& message, std::string_view secret,
                                            View transcript);
// `transcript` is both encoded messages, the client's first.
[[nodiscard]] Result<SessionKeys> derive_session(View shared, View transcript);

}  // namespace shufflefs::net::ess
