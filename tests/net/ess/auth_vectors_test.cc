// What a JVM did once, played again: tests/spark/AuthVectors.java recorded it.
#include "tests/net/ess/auth_vectors.h"

#include "base/endian.h"
#include "net/ess/auth/auth_engine.h"
#include "net/ess/auth/digest_cipher.h"
#include "net/ess/auth/digest_md5.h"
#include "net/ess/auth/session_cipher.h"
#include "tests/net/ess/auth_client.h"

namespace shufflefs::net::ess::testing {
namespace {

// A sealed piece with Spark's length in front.
Bytes framed(std::string_view hex) {
  const Bytes piece = bytes_of_hex(hex);
  Bytes frame(8);
  store_be<uint64_t>(frame.data(), 8 + piece.size());
  append(frame, piece);
  return frame;
}

DigestMd5Server server_of(const vectors::Digest& recorded, DigestOptions options = {}) {
  const std::string_view challenge = recorded.challenge;
  const std::size_t start = challenge.find("nonce=\"") + 7;
  return {std::string(challenge.substr(start, challenge.find('"', start) - start)), options};
}

TEST_CASE("DIGEST-MD5: the challenge is the JDK's, but for ciphers that OpenSSL lacks", "[auth]") {
  constexpr std::string_view kAll = "3des,rc4,des,rc4-56,rc4-40";
  for (const vectors::Digest& recorded : vectors::kDigests) {
    std::string expected(recorded.challenge);
    expected.replace(expected.find(kAll), kAll.size(), offered_digest_ciphers());
    CHECK(server_of(recorded).challenge() == expected);
  }
}

TEST_CASE("DIGEST-MD5: the JDK's exchanges and pieces, with every cipher", "[auth]") {
  for (const vectors::Digest& recorded : vectors::kDigests) {
    CAPTURE(recorded.cipher);
    // Debian 13 has OpenSSL's legacy provider, with rc4 and des, in a package of its own.
    if (offered_digest_ciphers().find(recorded.cipher) == std::string::npos) continue;
    auto accepted = server_of(recorded).verify(recorded.response, vectors::kSecret);
    REQUIRE(accepted);
    CHECK(accepted->rspauth == recorded.rspauth);
    REQUIRE((accepted->cipher != nullptr) == !recorded.cipher.empty());
    if (!accepted->cipher) continue;
    for (std::size_t i = 0; i < vectors::kPlain.size(); ++i) {
      Bytes plain;
      REQUIRE(accepted->cipher->open(framed(recorded.from_client.at(i)), plain));
      CHECK(lower_hex(plain) == vectors::kPlain.at(i));
      Bytes sealed;
      REQUIRE(accepted->cipher->seal(plain, sealed));
      CHECK(lower_hex(sealed) == lower_hex(framed(recorded.from_server.at(i))));
    }
  }
}

TEST_CASE("DIGEST-MD5: a recorded response does not do with another nonce or secret", "[auth]") {
  const vectors::Digest& recorded = vectors::kDigests[1];
  const auto replayed =
      DigestMd5Server("another nonce", {}).verify(recorded.response, vectors::kSecret);
  REQUIRE(!replayed);
  CHECK(replayed.error().message ==
        "DIGEST-MD5: digest response format violation. Mismatched nonce.");
  const auto wrong = server_of(recorded).verify(recorded.response, "another secret");
  REQUIRE(!wrong);
  CHECK(wrong.error().message ==
        "DIGEST-MD5: digest response format violation. Mismatched response.");
}

TEST_CASE("AuthEngine: Spark's exchanges and streams, with every cipher and version", "[auth]") {
  for (const vectors::Engine& recorded : vectors::kEngines) {
    CAPTURE(recorded.cipher, recorded.version);
    const auto message = decode_auth_message(bytes_of_hex(recorded.client_message));
    REQUIRE(message);
    EngineRandomness randomness;
    randomness.private_key = SecretBytes(View(bytes_of_hex(recorded.server_private)));
    randomness.salt = bytes_of_hex(recorded.server_salt);
    randomness.nonce = bytes_of_hex(recorded.server_nonce);
    auto answer = answer_engine(*message, vectors::kSecret, randomness);
    REQUIRE(answer);
    CHECK(lower_hex(answer->reply) == recorded.server_message);
    const auto cipher = make_session_cipher(std::move(answer->keys));
    Bytes plain;
    // One byte at a time: nothing depends on how the bytes come.
    for (const std::byte byte : bytes_of_hex(recorded.from_client))
      REQUIRE(cipher->open({&byte, 1}, plain));
    const std::string all = std::string(vectors::kPlain[0]) + std::string(vectors::kPlain[1]);
    CHECK(lower_hex(plain) == all);
    Bytes sealed;
    REQUIRE(cipher->seal(plain, sealed));
    if (!recorded.from_server.empty()) CHECK(lower_hex(sealed) == recorded.from_server);
  }
}

}  // namespace
}  // namespace shufflefs::net::ess::testing
