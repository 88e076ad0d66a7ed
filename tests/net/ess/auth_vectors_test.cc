// What a JVM did once, played again: tests/spark/AuthVectors.java recorded it.
#include "tests/net/ess/auth_vectors.h"

#include "tests/net/ess/auth_client.h"

namespace shufflefs::net::ess::testing {
namespace {

std::string nonce_of(const vectors::Digest& recorded) {
  const std::string_view challenge = recorded.challenge;
  const std::size_t start = challenge.find("nonce=\"") + 7;
  return std::string(challenge.substr(start, challenge.find('"', start) - start));
}

TEST_CASE("DIGEST-MD5: the challenge is the JDK's", "[auth]") {
  for (const vectors::Digest& recorded : vectors::kDigests)
    CHECK(digest_challenge(nonce_of(recorded)) == recorded.challenge);
}

TEST_CASE("DIGEST-MD5: the JDK's exchange, and its wish for encryption, which is refused",
          "[auth]") {
  const auto& [plain, encrypted] = vectors::kDigests;
  const auto rspauth = verify_digest(plain.response, nonce_of(plain), vectors::kSecret);
  REQUIRE(rspauth);
  CHECK(*rspauth == plain.rspauth);
  const auto refused = verify_digest(encrypted.response, nonce_of(encrypted), vectors::kSecret);
  REQUIRE(!refused);
  CHECK(refused.error().message.find("spark.network.crypto.enabled=true") != std::string::npos);
}

TEST_CASE("DIGEST-MD5: a recorded response does not do with another nonce or secret", "[auth]") {
  const vectors::Digest& recorded = vectors::kDigests[0];
  const auto replayed = verify_digest(recorded.response, "another nonce", vectors::kSecret);
  REQUIRE(!replayed);
  CHECK(replayed.error().message ==
        "DIGEST-MD5: digest response format violation. Mismatched nonce.");
  const auto wrong = verify_digest(recorded.response, nonce_of(recorded), "another secret");
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
    auto answer = respond_to_engine(*message, vectors::kSecret, randomness);
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
