// The client's halves of the handshakes, as far as the tests need them; Spark's own are in
// tests/spark/AuthClient.java.
#pragma once

#include <catch2/catch_test_macros.hpp>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "net/ess/auth/sasl.h"
#include "net/ess/auth/server_auth.h"

namespace shufflefs::net::ess::testing {

inline constexpr std::string_view kTestSecret = "a cluster secret";
inline constexpr std::string_view kTestApp = "app-20261121000000-0001";

inline std::shared_ptr<const AuthSecret> test_secret(std::string_view text = kTestSecret) {
  return std::make_shared<const AuthSecret>(text);
}
inline std::string text_of(View bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
inline Bytes bytes_of(std::string_view text) {
  const View view = view_of(text);
  return {view.begin(), view.end()};
}
Bytes bytes_of_hex(std::string_view hex);

// A frame of `size` bytes, 9 at least, as a client's plain bytes must begin with.
Bytes frame_of(std::size_t size);

// One side of SASL DIGEST-MD5.
class SaslClient {
 public:
  explicit SaslClient(std::string_view secret, std::string_view qop = "auth")
      : secret_(secret), qop_(qop) {}

  // The bodies of the two RPCs.
  [[nodiscard]] static Bytes first(std::string_view app = kTestApp);
  [[nodiscard]] Bytes second(View challenge, std::string_view app = kTestApp);

  // After second().
  [[nodiscard]] std::string expected_rspauth() const { return rspauth_; }

 private:
  [[nodiscard]] std::string response(std::string_view method, std::string_view nonce) const;

  std::string secret_, qop_;
  SecretBytes hash_;
  std::string rspauth_;
};

// One side of AuthEngine.
class EngineClient {
 public:
  explicit EngineClient(std::string_view secret = kTestSecret, std::string_view app = kTestApp);

  [[nodiscard]] Bytes message() const { return encode_auth_message(message_); }
  // nullopt if the server's message is not right.
  [[nodiscard]] std::optional<SessionKeys> keys(View reply) const;

 private:
  std::string secret_;
  SecretBytes private_key_;
  AuthMessage message_;
};

// The client's end of the session's cipher.
enum class SessionKind { kCtrV1, kCtrV2, kGcmV1, kGcmV2 };
[[nodiscard]] std::unique_ptr<Cipher> client_cipher(SessionKind kind, SessionKeys keys);

}  // namespace shufflefs::net::ess::testing
