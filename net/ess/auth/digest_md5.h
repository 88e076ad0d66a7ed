// The server's half of SASL DIGEST-MD5 as Spark uses it: realm "default", digest-uri
// "null/default", qop auth or auth-conf, md5-sess. One exchange per object.
//
// MD5 and the ciphers of this mechanism are old; they are here because unmodified clients with
// spark.authenticate and without spark.network.crypto speak nothing else. The password is the
// base64 of the cluster's secret, so that its strength is the secret's.
//
// Threads: one connection, one thread at a time. Failure: kPermission or kProtocol, with the text
// of Java's SaslException. Cost: a few MD5 of short texts. Source: RFC 2831; the JDK's
// com.sun.security.sasl.digest for what it leaves open.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "net/crypto.h"
#include "net/ess/auth/cipher.h"

namespace shufflefs::net::ess {

struct DigestOptions {
  bool require_encryption = false;         // offer auth-conf only
  std::size_t piece_bytes = 64ULL << 10U;  // sealed at once
};

struct DigestAccepted {
  std::string rspauth;             // the last token, to be sent in the clear
  std::unique_ptr<Cipher> cipher;  // nullptr for qop auth
};

class DigestMd5Server {
 public:
  // `nonce` must not repeat; fresh_nonce() outside of tests.
  DigestMd5Server(std::string nonce, DigestOptions options);

  [[nodiscard]] static Result<std::string> fresh_nonce();

  // The first token. Empties itself of nothing: may be called again.
  [[nodiscard]] std::string challenge() const;

  // Checks the client's token. Once: after it, whatever the result, the exchange is over.
  [[nodiscard]] Result<DigestAccepted> verify(std::string_view token,
                                              std::string_view secret) const;

 private:
  std::string nonce_;
  DigestOptions options_;
};

}  // namespace shufflefs::net::ess
