// ServerAuth from the first message to encrypted traffic, and what it refuses in which words.
#include <fmt/format.h>

#include <catch2/matchers/catch_matchers_string.hpp>

#include "tests/net/ess/auth_client.h"

namespace shufflefs::net::ess::testing {
namespace {

using Catch::Matchers::ContainsSubstring;

// Both directions, in pieces that do not agree with the frames.
void check_traffic(Cipher& client, Cipher& server) {
  for (const std::size_t size : {std::size_t{9}, std::size_t{33}, std::size_t{70'000}}) {
    const Bytes frame = frame_of(size);
    for (Cipher* from : {&client, &server}) {
      Cipher& to = from == &client ? server : client;
      Bytes sealed;
      for (std::size_t at = 0; at < size; at += 65536) {
        const std::size_t piece = std::min<std::size_t>(65536, size - at);
        REQUIRE(from->seal(std::span(frame).subspan(at, piece), sealed));
      }
      Bytes opened;
      for (std::size_t at = 0; at < sealed.size(); at += 1000) {
        const auto part = View(sealed).subspan(at, std::min<std::size_t>(1000, sealed.size() - at));
        REQUIRE(to.open(part, opened));
      }
      REQUIRE(opened == frame);
    }
  }
}

// An authenticated pair, or a failed test.
AuthResponse pass_sasl(ServerAuth& auth, SaslClient& client) {
  const AuthResponse challenge = auth.receive(SaslClient::first());
  REQUIRE(!challenge.refusal);
  REQUIRE(!challenge.done);
  return auth.receive(client.second(challenge.reply));
}

TEST_CASE("SASL without encryption", "[auth]") {
  ServerAuth auth(test_secret(), {});
  SaslClient client(kTestSecret, "auth");
  const AuthResponse answer = pass_sasl(auth, client);
  REQUIRE(!answer.refusal);
  CHECK(answer.done);
  CHECK(!answer.close);
  CHECK(text_of(answer.reply) == client.expected_rspauth());
  CHECK(auth.done());
  CHECK(auth.app_id() == kTestApp);
  CHECK(auth.take_cipher() == nullptr);
}

TEST_CASE("SASL with encryption is refused with the setting to use instead", "[auth]") {
  ServerAuth auth(test_secret(), {});
  SaslClient client(kTestSecret, "auth-conf");
  const AuthResponse answer = pass_sasl(auth, client);
  REQUIRE(answer.refusal);
  CHECK_THAT(*answer.refusal, ContainsSubstring("spark.network.crypto.enabled=true"));
  CHECK_THAT(*answer.refusal, ContainsSubstring("spark.authenticate.enableSaslEncryption"));
  CHECK(!answer.close);
  CHECK(!auth.done());
  CHECK(auth.take_cipher() == nullptr);
}

TEST_CASE("AuthEngine with each cipher and version", "[auth]") {
  for (const SessionKind kind :
       {SessionKind::kCtrV1, SessionKind::kCtrV2, SessionKind::kGcmV1, SessionKind::kGcmV2}) {
    CAPTURE(static_cast<int>(kind));
    ServerAuth auth(test_secret(), {});
    const EngineClient client;
    const AuthResponse answer = auth.receive(client.message());
    REQUIRE(!answer.refusal);
    REQUIRE(answer.done);
    CHECK(auth.app_id() == kTestApp);
    auto keys = client.keys(answer.reply);
    REQUIRE(keys);
    const auto cipher = auth.take_cipher();
    REQUIRE(cipher);
    Bytes too_early;
    CHECK(!cipher->seal(frame_of(20), too_early));
    check_traffic(*client_cipher(kind, *std::move(keys)), *cipher);
  }
}

TEST_CASE("a client whose cipher nobody knows is refused", "[auth]") {
  ServerAuth auth(test_secret(), {});
  REQUIRE(auth.receive(EngineClient().message()).done);
  const auto cipher = auth.take_cipher();
  Bytes plain;
  const Bytes garbage = bytes_of("these are no encrypted bytes");
  CHECK(!cipher->open(garbage, plain));
  CHECK(!cipher->open(garbage, plain));
  CHECK(plain.empty());
}

TEST_CASE("a wrong secret is refused in the words of the JVM service", "[auth]") {
  SECTION("SASL: the connection stays, but the exchange is over") {
    ServerAuth auth(test_secret("the right one"), {});
    SaslClient client("the wrong one", "auth");
    const AuthResponse answer = pass_sasl(auth, client);
    CHECK(answer.refusal ==
          "java.lang.RuntimeException: javax.security.sasl.SaslException: DIGEST-MD5: digest "
          "response format violation. Mismatched response.");
    CHECK(!answer.close);
    CHECK(!auth.done());
    const AuthResponse again = auth.receive(SaslClient::first());
    REQUIRE(again.refusal);
    CHECK_THAT(*again.refusal, ContainsSubstring("Server at illegal state"));
  }
  SECTION("AuthEngine: closed") {
    ServerAuth auth(test_secret("the right one"), {});
    const AuthResponse answer = auth.receive(EngineClient("the wrong one").message());
    CHECK(answer.refusal == "java.lang.IllegalArgumentException: Authentication failed.");
    CHECK(answer.close);
    CHECK(!auth.done());
  }
}

TEST_CASE("a client without authentication is told so, and in the end closed", "[auth]") {
  ServerAuth auth(test_secret(), {});
  const Bytes register_executor = {std::byte{2}, std::byte{0}, std::byte{0}, std::byte{0}};
  const AuthResponse answer = auth.receive(register_executor);
  CHECK(answer.refusal ==
        "java.lang.IllegalStateException: Expected SaslMessage, received something else (maybe "
        "your client does not have SASL enabled?)");
  CHECK(!answer.close);
  bool closed = false;
  for (int i = 0; i < 20 && !closed; ++i) closed = auth.receive(register_executor).close;
  CHECK(closed);
  CHECK(!auth.done());
}

TEST_CASE("the policy decides which handshakes are answered", "[auth]") {
  SECTION("without SASL, what is no AuthMessage is closed") {
    ServerAuth auth(test_secret(), {.sasl = false});
    const AuthResponse answer = auth.receive(SaslClient::first());
    CHECK(answer.refusal == "java.lang.IllegalArgumentException: Unknown challenge message.");
    CHECK(answer.close);
  }
  SECTION("without AuthEngine, a client that falls back to SASL gets in") {
    ServerAuth auth(test_secret(), {.engine = false});
    const AuthResponse refused = auth.receive(EngineClient().message());
    REQUIRE(refused.refusal);
    CHECK(!refused.close);
    SaslClient client(kTestSecret, "auth");
    CHECK(pass_sasl(auth, client).done);
  }
  SECTION("an AuthMessage after SASL has begun is none") {
    ServerAuth auth(test_secret(), {});
    REQUIRE(!auth.receive(SaslClient::first()).refusal);
    CHECK(auth.receive(EngineClient().message()).refusal);
  }
}

TEST_CASE("another application's blocks are refused in the words of the JVM service", "[auth]") {
  CHECK(not_authorized("app-1", "app-2") ==
        "java.lang.SecurityException: Client for app-1 not authorized for application app-2.");
}

}  // namespace
}  // namespace shufflefs::net::ess::testing
