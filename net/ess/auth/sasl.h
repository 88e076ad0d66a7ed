// The server's half of SASL DIGEST-MD5 as Spark uses it: realm "default", digest-uri
// "null/default", md5-sess. It authenticates (qop "auth"); it does not encrypt. A client that wants
// SASL's encryption (spark.authenticate.enableSaslEncryption, qop "auth-conf") is refused with the
// setting to use instead. The challenge offers "auth-conf" all the same: a client that finds it
// missing gives up by itself, with a message that helps nobody.
//
// MD5 is here because clients with spark.authenticate and without spark.network.crypto speak
// nothing else. The password is the base64 of the cluster's secret: as strong as the secret.
//
// Threads: pure functions and values. Failure: kPermission or kProtocol, with the text of Java's
// SaslException; nullopt for what is no SaslMessage. Cost: copies of what has arrived, a few MD5.
// Source: RFC 2831; the JDK's com.sun.security.sasl.digest; spark-facts 1.9 (SaslMessage).
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "net/crypto.h"

namespace shufflefs::net::ess {

inline constexpr std::byte kSaslTag{0xEA};
// Spark's are below 50 bytes. Part of what HKDF is given, whose inputs OpenSSL limits.
inline constexpr std::size_t kMaxAuthAppBytes = 256;

// The body of a handshake RPC.
struct SaslMessage {
  std::string app;
  std::string token;
};
// The length in front of the token says nothing new and is not looked at, as in Java.
[[nodiscard]] std::optional<SaslMessage> decode_sasl_message(View body);
[[nodiscard]] Bytes encode_sasl_message(const SaslMessage& message);

// A token of the client: comma-separated directives, values quoted or not (RFC 2831, 7.1).
struct DigestDirectives {
  std::optional<std::string> username;
  std::optional<std::string> realm;
  std::optional<std::string> nonce;
  std::optional<std::string> cnonce;
  std::optional<std::string> qop;
  std::optional<std::string> digest_uri;
  std::optional<std::string> response;
  std::optional<std::string> charset;
  std::optional<std::string> authzid;
};
[[nodiscard]] Result<DigestDirectives> parse_directives(std::string_view text);

// `nonce` must not repeat; fresh_digest_nonce() outside of tests.
[[nodiscard]] Result<std::string> fresh_digest_nonce();
// The server's first token.
[[nodiscard]] std::string digest_challenge(std::string_view nonce);
// Checks the client's token. The result is the server's last one, which proves that it knows the
// secret, too.
[[nodiscard]] Result<std::string> verify_digest(std::string_view token, std::string_view nonce,
                                                std::string_view secret);

}  // namespace shufflefs::net::ess
