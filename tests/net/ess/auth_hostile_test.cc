// Whatever comes instead of a handshake or of sealed bytes: an answer or an error, never a crash,
// never authenticated, never more memory than what has arrived accounts for.
#include <fmt/format.h>

#include <random>

#include "tests/net/allocations.h"
#include "tests/net/ess/auth_client.h"

namespace shufflefs::net::ess::testing {
namespace {

using net::testing::allocated_bytes;

constexpr int kRounds = 100'000;

void mutate(Bytes& bytes, std::mt19937_64& random) {
  constexpr std::array<unsigned, 6> kTelling = {0x00, 0x7f, 0x80, 0xff, 0xea, 0xfb};
  const uint64_t changes = 1 + random() % 4;
  for (uint64_t i = 0; i < changes && !bytes.empty(); ++i) {
    const std::size_t at = random() % bytes.size();
    const auto here = bytes.begin() + static_cast<std::ptrdiff_t>(at);
    switch (random() % 5) {
      case 0: bytes[at] = static_cast<std::byte>(random()); break;
      case 1: bytes[at] = static_cast<std::byte>(kTelling.at(random() % kTelling.size())); break;
      case 2: bytes.erase(here); break;
      case 3: bytes.insert(here, static_cast<std::byte>(random())); break;
      default: bytes.resize(at); break;
    }
  }
}

// What OpenSSL makes at its first use is not the message's doing.
void use_openssl_once() {
  ServerAuth engine(test_secret(), {});
  REQUIRE(engine.receive(EngineClient().message()).done);
  ServerAuth sasl(test_secret(), {});
  SaslClient client(kTestSecret);
  REQUIRE(sasl.receive(client.second(sasl.receive(SaslClient::first()).reply)).done);
}

// A refusal repeats parts of the message at most a few times. The fixed part is what a whole
// handshake costs where OpenSSL's own memory is counted too (under the sanitizers).
AuthResponse receive_within_bounds(ServerAuth& auth, const Bytes& body) {
  const std::size_t before = allocated_bytes();
  AuthResponse answer = auth.receive(body);
  const std::size_t used = allocated_bytes() - before;
  if (used > 32 * body.size() + 65536) FAIL(fmt::format("{} bytes for {}", used, body.size()));
  return answer;
}

TEST_CASE("a mutated AuthMessage authenticates nobody", "[auth][hostile]") {
  use_openssl_once();
  std::mt19937_64 random(20261121);
  const EngineClient client;
  const Bytes good = client.message();
  for (int round = 0; round < kRounds; ++round) {
    Bytes body = good;
    mutate(body, random);
    // Bytes behind the message are ignored, as by Spark: then it is still the client's.
    const bool same =
        body.size() >= good.size() && std::equal(good.begin(), good.end(), body.begin());
    ServerAuth auth(test_secret(), {});
    const AuthResponse answer = receive_within_bounds(auth, body);
    if (answer.done && !same) FAIL(lower_hex(body));
    if (answer.done != auth.done()) FAIL("done() differs");
  }
}

TEST_CASE("a mutated first message of SASL leads to a challenge or a refusal", "[auth][hostile]") {
  use_openssl_once();
  std::mt19937_64 random(4711);
  const Bytes good = SaslClient::first();
  for (int round = 0; round < kRounds; ++round) {
    Bytes body = good;
    mutate(body, random);
    ServerAuth auth(test_secret(), {});
    const AuthResponse answer = receive_within_bounds(auth, body);
    if (answer.done || (!answer.refusal && answer.reply.empty())) FAIL(lower_hex(body));
  }
}

TEST_CASE("a mutated response of SASL authenticates nobody without the secret", "[auth][hostile]") {
  use_openssl_once();
  std::mt19937_64 random(815);
  for (int round = 0; round < kRounds; ++round) {
    ServerAuth auth(test_secret(), {});
    const AuthResponse challenge = auth.receive(SaslClient::first());
    // From the wrong secret: no mutation may make that right.
    SaslClient client("guess", round % 2 == 0 ? "auth" : "auth-conf");
    Bytes body = client.second(challenge.reply);
    mutate(body, random);
    if (receive_within_bounds(auth, body).done) FAIL(lower_hex(body));
  }
}

TEST_CASE("a mutated response with the secret is accepted or refused, but never crashes",
          "[auth][hostile]") {
  use_openssl_once();
  std::mt19937_64 random(99);
  int accepted = 0;
  for (int round = 0; round < kRounds; ++round) {
    ServerAuth auth(test_secret(), {});
    SaslClient client(kTestSecret);
    Bytes body = client.second(auth.receive(SaslClient::first()).reply);
    mutate(body, random);
    if (receive_within_bounds(auth, body).done) ++accepted;
  }
  // Changes of what is not looked at (nc, maxbuf, the application).
  CHECK(accepted > 0);
  CHECK(accepted < kRounds / 2);
}

TEST_CASE("messages cut at any byte are refused", "[auth][hostile]") {
  const Bytes engine = EngineClient().message();
  for (std::size_t size = 0; size < engine.size(); ++size) {
    ServerAuth auth(test_secret(), {});
    CHECK(auth.receive(View(engine).first(size)).refusal);
  }
  ServerAuth first(test_secret(), {});
  SaslClient client(kTestSecret);
  const Bytes response = client.second(first.receive(SaslClient::first()).reply);
  for (std::size_t size = 0; size < response.size(); ++size) {
    ServerAuth auth(test_secret(), {});
    (void)auth.receive(SaslClient::first());
    CHECK(auth.receive(View(response).first(size)).refusal);
  }
}

// A sealed stream in random pieces, changed somewhere. The plain bytes may begin right, as what was
// authenticated before the change counts.
void open_mutated(Cipher& cipher, const Bytes& good, std::mt19937_64& random) {
  Bytes sealed = good;
  mutate(sealed, random);
  Bytes plain;
  const std::size_t before = allocated_bytes();
  for (std::size_t at = 0; at < sealed.size();) {
    const std::size_t size = std::min<std::size_t>(1 + random() % 300, sealed.size() - at);
    if (!cipher.open(View(sealed).subspan(at, size), plain)) break;
    at += size;
  }
  const std::size_t used = allocated_bytes() - before;
  if (used > 64 * good.size() + 65536) FAIL(fmt::format("{} bytes for {}", used, good.size()));
  if (plain.size() > sealed.size()) FAIL("more comes out than went in");
}

TEST_CASE("mutated sealed bytes neither crash nor grow", "[auth][hostile]") {
  std::mt19937_64 random(7);
  const SecretBytes hash = *md5({view_of("any")});
  const auto round_of = [&](auto make_client, auto make_server, int rounds) {
    Bytes good;
    const auto client = make_client();
    REQUIRE(client->seal(frame_of(100), good));
    REQUIRE(client->seal(frame_of(50), good));
    for (int round = 0; round < rounds; ++round) open_mutated(*make_server(), good, random);
  };
  const auto gcm = [&] { return make_gcm_cipher(SecretBytes(hash.view())); };
  round_of(gcm, gcm, kRounds);
}

TEST_CASE("a sealed piece that claims much costs what has arrived", "[auth][hostile]") {
  const SecretBytes hash = *md5({view_of("any")});
  Bytes plain;
  const auto patient = make_gcm_cipher(SecretBytes(hash.view()));
  const std::size_t before = allocated_bytes();
  // A segment that is within the limit and not here yet.
  CHECK(patient->open(bytes_of_hex("0000000000100000" + ("18" + std::string(46, '0'))), plain));
  CHECK(patient->open(bytes_of_hex("ffffffffffffffff0000"), plain));
  CHECK(allocated_bytes() - before < 4096);
  for (const char* length : {"4000000000000000", "7fffffffffffffff"}) {
    const auto gcm = make_gcm_cipher(SecretBytes(hash.view()));
    CHECK(!gcm->open(bytes_of_hex(length + ("18" + std::string(46, '0'))), plain));
  }
}

}  // namespace
}  // namespace shufflefs::net::ess::testing
