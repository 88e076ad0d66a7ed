// Who is let in: secrets and certificates, right, wrong, missing, old and replayed.
#include "net/peer_auth.h"

#include <sys/stat.h>

#include <fstream>

#include "main/temporary_directory.h"
#include "net/handshake.h"
#include "tests/net/certificates.h"
#include "tests/net/support.h"

namespace shufflefs::net::testing {
namespace {

constexpr const char* kSecret = "correct horse battery staple";
constexpr const char* kOther = "another secret, as long as that";

struct Files {
  TemporaryDirectory directory;
  std::string secret(const std::string& name, const std::string& text, mode_t mode = 0600) const {
    const std::string path = directory.path(name);
    std::ofstream(path) << text;
    REQUIRE(::chmod(path.c_str(), mode) == 0);
    return path;
  }
};

// One side's secret and certificates, loaded.
struct Side {
  Side(Reactor& reactor, PeerAuthFiles files) : auth(reactor.runtime, std::move(files)) {
    const Status loaded = auth.load();
    INFO((loaded ? std::string() : loaded.error().message));
    REQUIRE(loaded);
  }
  PeerAuth auth;
};

struct AuthServer {
  AuthServer(Reactor& reactor_in, const PeerAuth* auth, NetOptions options = {})
      : reactor(reactor_in), server(context(auth, options), node) {
    REQUIRE(server.listen({"127.0.0.141", 0}));
    server.start();
  }
  ~AuthServer() { reactor.run(server.stop()); }
  AuthServer(const AuthServer&) = delete;
  AuthServer& operator=(const AuthServer&) = delete;
  Context context(const PeerAuth* auth, const NetOptions& options) {
    Context made = reactor.context("node1", 5, options);
    made.auth = auth;
    return made;
  }
  [[nodiscard]] HostPort address() const { return {"127.0.0.141", server.port()}; }

  Reactor& reactor;
  FakeNode node;
  PeerServer server;
};

// What comes of a question between the two; nothing for an answer.
std::optional<Error> ask(Reactor& reactor, const PeerAuth* caller, const PeerAuth* callee) {
  AuthServer served(reactor, callee);
  Context context = reactor.context("asker", 99);
  context.auth = caller;
  const auto peer =
      std::make_shared<RemotePeer>(context, "node1", served.address(), [](const NodeIdentity&) {});
  const auto answer = reactor.run(peer->list_shuffles());
  peer->close();
  // Nothing was parsed of whoever was refused.
  CHECK(served.node.calls.size() == (answer ? 1 : 0));
  if (answer) return std::nullopt;
  return answer.error();
}

TEST_CASE("the same secret lets in, another or none does not", "[peer_auth]") {
  Reactor reactor;
  const Files files;
  const Side one(reactor, {files.secret("a", kSecret), {}});
  const Side same(reactor, {files.secret("b", std::string(kSecret) + "\n"), {}});
  const Side other(reactor, {files.secret("c", kOther), {}});
  CHECK_FALSE(ask(reactor, &one.auth, &same.auth));
  CHECK_FALSE(ask(reactor, nullptr, nullptr));
  for (const auto& [caller, callee, reason] :
       {std::tuple{&other.auth, &one.auth, "another one"},
        std::tuple{static_cast<const PeerAuth*>(nullptr), &one.auth, "knows its secret"},
        std::tuple{&one.auth, static_cast<const PeerAuth*>(nullptr), "has no secret"}}) {
    const uint64_t refused = reactor.metrics.value("shufflefs_peer_handshakes_refused_total");
    const auto error = ask(reactor, caller, callee);
    REQUIRE(error);
    CHECK(error->code == Code::kPermission);
    if (std::string_view(reason) != "knows its secret")
      CHECK_THAT(error->message, ContainsSubstring(reason));
    CHECK_THAT(error->message, ContainsSubstring("--secret-file"));
    CHECK(reactor.metrics.value("shufflefs_peer_handshakes_refused_total") == refused + 1);
  }
}

TEST_CASE("a secret is replaced by way of two", "[peer_auth]") {
  Reactor reactor;
  const Files files;
  const std::string old_file = files.secret("old", kSecret);
  const Side old_only(reactor, {old_file, {}});
  const Side old_then_new(reactor, {files.secret("2", std::string(kSecret) + "\n" + kOther), {}});
  const Side new_then_old(reactor, {files.secret("3", std::string(kOther) + "\n" + kSecret), {}});
  const Side new_only(reactor, {files.secret("4", kOther), {}});
  const std::array steps = {&old_only, &old_then_new, &new_then_old, &new_only};
  // Any two neighbouring steps work together, in both directions; the ends do not.
  for (std::size_t i = 0; i + 1 < steps.size(); ++i) {
    CHECK_FALSE(ask(reactor, &steps.at(i)->auth, &steps.at(i + 1)->auth));
    CHECK_FALSE(ask(reactor, &steps.at(i + 1)->auth, &steps.at(i)->auth));
  }
  CHECK(ask(reactor, &old_only.auth, &new_only.auth)->code == Code::kPermission);
}

TEST_CASE("a changed file counts from the next reading on, a broken one does not", "[peer_auth]") {
  Reactor reactor;
  const Files files;
  const std::string file = files.secret("s", kSecret);
  const Side other(reactor, {files.secret("o", kOther), {}});
  const Side old(reactor, {files.secret("old", kSecret), {}});
  PeerAuth auth(reactor.runtime, {file, {}});
  REQUIRE(auth.load());
  CHECK_FALSE(*auth.reload_if_changed());
  CHECK(ask(reactor, &other.auth, &auth));
  std::filesystem::remove(file);
  std::ignore = files.secret("s", "short");
  CHECK_THAT(auth.reload_if_changed().error().message, ContainsSubstring("can be guessed"));
  CHECK(auth.secrets());
  std::filesystem::remove(file);
  std::ignore = files.secret("s", kOther);
  CHECK_FALSE(ask(reactor, &old.auth, &auth));
  CHECK(*auth.reload_if_changed());
  CHECK_FALSE(ask(reactor, &other.auth, &auth));
  CHECK(ask(reactor, &old.auth, &auth)->code == Code::kPermission);
}

TEST_CASE("secret files that are refused", "[peer_auth]") {
  const Files files;
  const auto message = [&](const std::string& text, mode_t mode) {
    const auto read = PeerSecrets::read(files.secret("x", text, mode));
    std::filesystem::remove(files.directory.path("x"));
    return read ? std::string("taken") : read.error().message;
  };
  CHECK_THAT(message(kSecret, 0640), ContainsSubstring("chmod it to 0600"));
  CHECK_THAT(message("", 0600), ContainsSubstring("openssl rand"));
  CHECK_THAT(message("123456789012345", 0600), ContainsSubstring("can be guessed"));
  const std::string three = std::string(kSecret) + "\n" + kOther + "\n" + kSecret + "x";
  CHECK_THAT(message(three, 0600), ContainsSubstring("it has 3 secrets"));
}

// What a proof is bound to: role, both hellos, the channel.
TEST_CASE("a proof holds for one handshake, one role and one channel", "[peer_auth]") {
  const Files files;
  const auto secrets = *PeerSecrets::read(files.secret("s", kSecret));
  const Bytes transcript = transcript_of(bytes_of("hello"), bytes_of("answer"), bytes_of("tls"));
  const Bytes proof = *secrets->prove(Role::kCaller, transcript);
  CHECK(*secrets->check(Role::kCaller, transcript, proof) == 0);
  CHECK_FALSE(secrets->check(Role::kCallee, transcript, proof));
  for (const Bytes& other :
       {transcript_of(bytes_of("hello"), bytes_of("answer"), {}),
        transcript_of(bytes_of("hell"), bytes_of("oanswer"), bytes_of("tls")),
        transcript_of(bytes_of("hello"), bytes_of("answes"), bytes_of("tls"))}) {
    CHECK_FALSE(secrets->check(Role::kCaller, other, proof));
  }
  CHECK_FALSE(secrets->check(Role::kCaller, transcript, std::span(proof).first(31)));
  CHECK_FALSE(secrets->check(Role::kCaller, transcript, {}));
}

TEST_CASE("a recorded handshake is worth nothing", "[peer_auth]") {
  Reactor reactor;
  const Files files;
  const Side side(reactor, {files.secret("s", kSecret), {}});
  const auto secrets = side.auth.secrets();
  AuthServer served(reactor, &side.auth);
  const Bytes hello =
      encode(Hello{kProvesSecret, {node_name("client"), 3}, "node1", Nonce{std::byte{9}}});
  Bytes recorded;
  for (const bool replay : {false, true}) {
    RawSocket socket(reactor);
    socket.connect(served.address());
    socket.send(frame_of(MessageType::kHello, hello));
    const auto [type, answer] = socket.receive_frame();
    REQUIRE(type == response_number(MessageType::kHello));
    if (!replay) {
      const Bytes proof = *secrets->prove(Role::kCaller, transcript_of(hello, answer, {}));
      recorded = frame_of(MessageType::kProve, encode(Proof{proof}));
    }
    socket.send(recorded);
    const auto [verdict, header] = socket.receive_frame();
    CHECK(verdict ==
          (replay ? request_number(MessageType::kError) : response_number(MessageType::kProve)));
    if (replay) {
      CHECK(decode<Refusal>("error", header)->error.code == Code::kPermission);
      CHECK(socket.receive_all().empty());
    }
  }
}

TEST_CASE("nothing else is answered before the proof", "[peer_auth]") {
  Reactor reactor;
  const Files files;
  const Side side(reactor, {files.secret("s", kSecret), {}});
  AuthServer served(reactor, &side.auth);
  RawSocket socket(reactor);
  socket.connect(served.address());
  socket.send(frame_of(MessageType::kHello,
                       encode(Hello{kProvesSecret, {node_name("client"), 3}, "", {}})));
  CHECK(socket.receive_frame().first == response_number(MessageType::kHello));
  socket.send(frame_of(MessageType::kListShuffles, encode(Nothing{})));
  const auto [type, header] = socket.receive_frame();
  CHECK(type == request_number(MessageType::kError));
  CHECK(decode<Refusal>("error", header)->error.code == Code::kProtocol);
  CHECK(served.node.calls.empty());
}

TEST_CASE("a secret lies in memory that no core file holds", "[peer_auth]") {
  const SecretText secret(kSecret);
  const auto address = reinterpret_cast<uintptr_t>(secret.text().data());
  std::ifstream maps("/proc/self/smaps");
  bool inside = false;
  bool found = false;
  for (std::string line; std::getline(maps, line);) {
    uintptr_t begin = 0;
    uintptr_t end = 0;
    if (std::sscanf(line.c_str(), "%lx-%lx ", &begin, &end) == 2)  // NOLINT
      inside = begin <= address && address < end;
    if (!inside || !line.starts_with("VmFlags:")) continue;
    found = true;
    CHECK_THAT(line, ContainsSubstring(" dd"));  // do not dump
  }
  CHECK(found);
}

// ---- TLS -------------------------------------------------------------------------------------------------

TEST_CASE("certificates of one authority with the right names let in", "[peer_auth]") {
  Reactor reactor;
  const Files files;
  const Authority authority(files.directory.make("ca"));
  const std::string secret = files.secret("s", kSecret);
  const Side callee(reactor, {"", authority.certify("node1", "node1")});
  const Side caller(reactor, {"", authority.certify("asker", "asker")});
  CHECK_FALSE(ask(reactor, &caller.auth, &callee.auth));
  // With a secret as well.
  const Side callee2(reactor, {secret, authority.certify("node1", "node1b")});
  const Side caller2(reactor, {secret, authority.certify("asker", "askerb")});
  CHECK_FALSE(ask(reactor, &caller2.auth, &callee2.auth));
  CHECK(ask(reactor, &caller.auth, &callee2.auth));
}

TEST_CASE("certificates that are expired, of another name or authority, or missing",
          "[peer_auth]") {
  Reactor reactor;
  const Files files;
  const Authority authority(files.directory.make("ca"));
  const Authority stranger(files.directory.make("ca2"));
  const Side good_callee(reactor, {"", authority.certify("node1", "node1")});
  const Side good_caller(reactor, {"", authority.certify("asker", "asker")});
  const auto refused = [&](const TlsFiles& bad, bool of_caller, const std::string& reason) {
    const Side side(reactor, {"", bad});
    const auto error = of_caller ? ask(reactor, &side.auth, &good_callee.auth)
                                 : ask(reactor, &good_caller.auth, &side.auth);
    INFO(reason);
    REQUIRE(error);
    INFO(error->message);
    CHECK(error->code == Code::kPermission);
    if (!reason.empty()) CHECK_THAT(error->message, ContainsSubstring(reason));
  };
  refused(authority.certify("node1", "old", -60), false, "expired");
  refused(authority.certify("asker", "old2", -60), true, "expired");
  refused(authority.certify("node2", "wrong"), false, "is for node2, not for node1");
  refused(authority.certify("node2", "wrong2"), true, "is for node2, not for asker");
  refused(authority.certify("", "none"), true, "no name");
  refused(authority.certify("*", "wild"), true, "not for asker");
  refused(stranger.certify("node1", "s1"), false, "");
  refused(stranger.certify("asker", "s2"), true, "");
  // In the clear against TLS, both ways.
  CHECK(ask(reactor, nullptr, &good_callee.auth));
  CHECK(ask(reactor, &good_caller.auth, nullptr));
}

TEST_CASE("a replaced certificate counts for the next connection", "[peer_auth]") {
  Reactor reactor;
  const Files files;
  const Authority authority(files.directory.make("ca"));
  const Side caller(reactor, {"", authority.certify("asker", "asker")});
  PeerAuth auth(reactor.runtime, {"", authority.certify("node1", "node1", -60)});
  REQUIRE(auth.load());
  CHECK(ask(reactor, &caller.auth, &auth));
  std::filesystem::remove(files.directory.path("ca/node1.pem"));
  std::ignore = authority.certify("node1", "node1");
  CHECK(*auth.reload_if_changed());
  CHECK_FALSE(ask(reactor, &caller.auth, &auth));
}

TEST_CASE("TLS files with mistakes are refused by name", "[peer_auth]") {
  const Files files;
  const Authority authority(files.directory.make("ca"));
  TlsFiles tls = authority.certify("node1", "node1");
  REQUIRE(make_tls_context(tls));
  const TlsFiles other = authority.certify("node1", "other");
  CHECK_THAT(make_tls_context({tls.certificate, other.key, tls.ca}).error().message,
             ContainsSubstring("not the key of the certificate") || ContainsSubstring("mismatch"));
  CHECK_THAT(make_tls_context({tls.key, tls.key, tls.ca}).error().message,
             ContainsSubstring("--tls-cert"));
  CHECK_THAT(make_tls_context({tls.certificate, tls.key, "/nonexistent"}).error().message,
             ContainsSubstring("--tls-ca"));
  REQUIRE(::chmod(tls.key.c_str(), 0644) == 0);
  CHECK_THAT(make_tls_context(tls).error().message, ContainsSubstring("chmod"));
}

// A push of some MiB arrives whole through TLS records, and garbage instead of a handshake ends the
// connection.
TEST_CASE("bulk and garbage over TLS", "[peer_auth]") {
  Reactor reactor;
  const Files files;
  const Authority authority(files.directory.make("ca"));
  const Side callee(reactor, {"", authority.certify("node1", "node1")});
  const Side caller(reactor, {"", authority.certify("asker", "asker")});
  AuthServer served(reactor, &callee.auth);
  Context context = reactor.context("asker", 99);
  context.auth = &caller.auth;
  const auto peer =
      std::make_shared<RemotePeer>(context, "node1", served.address(), [](const NodeIdentity&) {});
  merge::PushRequest request = sample_push();
  request.parts = {{merge::MapId{1}, {1, {}}, {{merge::PartitionId{0}, 0, 3U << 20U}}}};
  request.payload = Buffer(3U << 20U);
  for (std::size_t i = 0; i < request.payload.size(); ++i)
    request.payload.data()[i] = static_cast<std::byte>(i * 31 >> 8U);
  const Bytes sent(request.payload.span().begin(), request.payload.span().end());
  REQUIRE(reactor.run(peer->push(std::move(request))));
  REQUIRE(served.node.pushed);
  CHECK(std::ranges::equal(served.node.pushed->payload.span(), sent));
  peer->close();

  RawSocket socket(reactor);
  socket.connect(served.address());
  socket.send(bytes_of("GET / HTTP/1.0\r\n\r\n"));
  (void)socket.receive_all();
  reactor.until([&] { return served.server.connections() == 0; });
}

// ---- strangers in numbers ------------------------------------------------------------------------------------

TEST_CASE("the oldest unfinished handshake gives way", "[peer_auth]") {
  Reactor reactor;
  NetOptions options;
  options.max_handshakes_per_address = 3;
  const Files files;
  const Side side(reactor, {files.secret("s", kSecret), {}});
  AuthServer served(reactor, &side.auth, options);
  std::vector<std::unique_ptr<RawSocket>> silent;
  for (uint64_t i = 0; i < 20; ++i) {
    silent.push_back(std::make_unique<RawSocket>(reactor));
    silent.back()->connect(served.address());
    reactor.until([&] {
      return reactor.metrics.value("shufflefs_peer_connections_accepted_total") == i + 1;
    });
  }
  reactor.until([&] { return served.server.connections() == 3; });
  CHECK(served.server.handshakes() == 3);
  CHECK(silent.front()->receive_all().empty());
  // A node from the same address is served all the same.
  Context context = reactor.context("asker", 99);
  context.auth = &side.auth;
  const auto peer =
      std::make_shared<RemotePeer>(context, "node1", served.address(), [](const NodeIdentity&) {});
  CHECK(reactor.run(peer->list_shuffles()));
  CHECK(reactor.metrics.value("shufflefs_peer_handshakes_crowded_out_total") >= 17);
  peer->close();
}

}  // namespace
}  // namespace shufflefs::net::testing
