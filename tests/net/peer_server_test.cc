// PeerServer against clients that do not behave.
#include "net/peer_server.h"

#include <sys/resource.h>

#include "base/crc32c.h"
#include "base/endian.h"
#include "net/handshake.h"
#include "net/message_fields.h"
#include "tests/net/support.h"

namespace shufflefs::net::testing {
namespace {

Bytes hello_frame(std::string_view expected = "") {
  return frame_of(MessageType::kHello,
                  encode(Hello{0, {node_name("client"), 3}, std::string(expected), {}}));
}

void say_hello(RawSocket& socket) {
  socket.send(hello_frame());
  CHECK(socket.receive_frame().first == response_number(MessageType::kHello));
}

// The error that the server answers; afterwards the connection must be closed.
Error refusal(RawSocket& socket) {
  const auto [type, header] = socket.receive_frame();
  REQUIRE(type == request_number(MessageType::kError));
  auto decoded = decode<Refusal>("error", header);
  REQUIRE(decoded);
  CHECK(socket.receive_all().empty());
  return decoded->error;
}

Error refusal_of(std::span<const std::byte> bytes, bool greet_first) {
  Reactor reactor;
  const Served served(reactor, "node1", 5, "127.0.0.14");
  RawSocket socket(reactor);
  socket.connect(served.address());
  if (greet_first) say_hello(socket);
  socket.send(bytes);
  Error error = refusal(socket);
  CHECK(reactor.metrics.value("shufflefs_peer_protocol_errors_total") ==
        (error.code == Code::kWrongPeer ? 0 : 1));
  // Others are still served.
  const Asker asker(reactor, "node1", served.address());
  CHECK(reactor.run(asker.peer->list_shuffles()));
  return error;
}

TEST_CASE("strangers get a clear answer and are closed", "[peer_server]") {
  const Error http = refusal_of(bytes_of("GET / HTTP/1.0\r\n\r\n"), false);
  CHECK(http.code == Code::kProtocol);
  CHECK_THAT(http.message, ContainsSubstring("not a shufflefs frame (starts with 47 45 54 20)"));
  CHECK(refusal_of(bytes_of(std::string(100'000, '\xff')), false).code == Code::kProtocol);
}

TEST_CASE("the hello decides before anything else is read", "[peer_server]") {
  const Error early = refusal_of(frame_of(MessageType::kPing, encode(MemberDigest())), false);
  CHECK_THAT(early.message, ContainsSubstring("message type 4 before the handshake is over"));

  MessageWriter future;
  future.tuple(1);
  future.number("", 9);
  const Error version = refusal_of(frame_of(MessageType::kHello, future.take()), false);
  CHECK(version.code == Code::kVersion);
  CHECK(version.message == "peer speaks protocol 9, this node speaks 4: upgrade the older one");

  const Error wrong = refusal_of(hello_frame("node2"), false);
  CHECK(wrong.code == Code::kWrongPeer);
  CHECK(wrong.message ==
        "the node at this address is node1, not node2: check the addresses in --members");

  const Error large = refusal_of(frame_of(MessageType::kHello, Bytes(5000)), false);
  CHECK_THAT(large.message, ContainsSubstring("the header length 5000 is above the limit of 4096"));
  const Error payload = refusal_of(frame_of(MessageType::kHello, {}, bytes_of("x")), false);
  CHECK_THAT(payload.message, ContainsSubstring("the payload length 1 is above the limit of 0"));
}

TEST_CASE("bad requests get a clear answer and the connection is closed", "[peer_server]") {
  Bytes huge = encode_frame_head(request_number(MessageType::kPush), {}, {});
  store_le<uint64_t>(&huge[16], 0x7FFFFFFFFFFFFFFF);
  store_le<uint32_t>(&huge[28], crc32c(std::span(huge).first(28)));
  CHECK_THAT(refusal_of(huge, true).message,
             ContainsSubstring("the payload length 9223372036854775807 is above the limit"));

  CHECK_THAT(refusal_of(encode_frame_head(77, {}, {}), true).message,
             ContainsSubstring("message type 77 is not a request"));
  CHECK_THAT(refusal_of(hello_frame(), true).message,
             ContainsSubstring("message type 2 is not a request"));
  CHECK_THAT(refusal_of(frame_of(MessageType::kDrop, encode(Nothing{})), true).message,
             ContainsSubstring("bad drop message: fields: 0 fields instead of 3"));

  MessageWriter writer;
  writer.tuple(2);
  writer.text("", "../../etc", 100);
  writer.number("", 0);
  CHECK_THAT(refusal_of(frame_of(MessageType::kShuffleInfo, writer.take()), true).message,
             ContainsSubstring("../../etc"));

  Bytes damaged = frame_of(MessageType::kPush, encode(sample_push()), bytes_of("abcdefg"));
  damaged.back() ^= std::byte{1};
  CHECK(refusal_of(damaged, true).code == Code::kCorruptData);
}

TEST_CASE("half a frame and silence ends in a closed connection", "[peer_server]") {
  Reactor reactor;
  NetOptions options;
  options.frame_timeout = 100ms;
  const Served served(reactor, "node1", 5, "127.0.0.14", options);
  RawSocket socket(reactor);
  socket.connect(served.address());
  say_hello(socket);
  const Bytes frame = frame_of(MessageType::kPush, encode(sample_push()), bytes_of("abcdefg"));
  socket.send(std::span(frame).first(frame.size() - 3));
  (void)socket.receive_all();
  CHECK(served.node.calls.empty());
  reactor.until([&] { return served.server.connections() == 0; });
  CHECK(reactor.metrics.value("shufflefs_peer_timeouts_total") == 1);
}

TEST_CASE("a client that never says hello is closed", "[peer_server]") {
  Reactor reactor;
  NetOptions options;
  options.hello_timeout = 100ms;
  const Served served(reactor, "node1", 5, "127.0.0.14", options);
  RawSocket socket(reactor);
  socket.connect(served.address());
  (void)socket.receive_all();
  reactor.until([&] { return served.server.connections() == 0; });
}

TEST_CASE("an idle connection is closed after a while, quietly", "[peer_server]") {
  Reactor reactor;
  NetOptions options;
  options.server_idle = 100ms;
  const Served served(reactor, "node1", 5, "127.0.0.14", options);
  RawSocket socket(reactor);
  socket.connect(served.address());
  say_hello(socket);
  CHECK(socket.receive_all().empty());
  CHECK(reactor.metrics.value("shufflefs_peer_protocol_errors_total") == 0);
}

TEST_CASE("above the limit of connections new ones are closed", "[peer_server]") {
  Reactor reactor;
  NetOptions options;
  options.max_server_connections = 1;
  const Served served(reactor, "node1", 5, "127.0.0.14", options);
  RawSocket first(reactor);
  first.connect(served.address());
  say_hello(first);
  RawSocket second(reactor);
  second.connect(served.address());
  CHECK(second.receive_all().empty());
  CHECK(reactor.metrics.value("shufflefs_peer_connections_refused_total") == 1);
  first.send(frame_of(MessageType::kPing, encode(MemberDigest())));
  CHECK(first.receive_frame().first == response_number(MessageType::kPing));
}

TEST_CASE("running out of descriptors is survived", "[peer_server]") {
  Reactor reactor;
  NetOptions options;
  options.accept_pause = 10ms;
  const Served served(reactor, "node1", 5, "127.0.0.14", options);
  RawSocket socket(reactor);
  socket.connect(
      served.address());  // the client's descriptor is there already; the server's cannot be had
  rlimit before{};
  REQUIRE(getrlimit(RLIMIT_NOFILE, &before) == 0);
  rlimit none = before;
  none.rlim_cur = 0;
  REQUIRE(setrlimit(RLIMIT_NOFILE, &none) == 0);
  int rounds = 0;
  reactor.until([&] { return ++rounds > 3; });
  REQUIRE(setrlimit(RLIMIT_NOFILE, &before) == 0);
  CHECK(served.server.connections() == 0);
  say_hello(socket);
}

merge::PushRequest large_push(std::size_t bytes) {
  merge::PushRequest request = sample_push();
  request.parts = {{merge::MapId{1}, {1, {}}, {{merge::PartitionId{0}, 0, bytes}}}};
  request.payload = Buffer(bytes);
  std::ranges::fill(request.payload.span(), std::byte{'x'});
  return request;
}

TEST_CASE("a push waits while the budget is full, and goes on when there is room",
          "[peer_server]") {
  Reactor reactor(1 << 20);
  const Served served(reactor, "node1", 5, "127.0.0.14");
  const Asker asker(reactor, "node1", served.address());
  std::optional<ByteBudget::Lease> all = *reactor.run(reactor.budget.acquire(1 << 20, 1s));
  bool answered = false;
  asio::co_spawn(reactor.runtime.executor(), asker.peer->push(large_push(512 << 10)),
                 [&](const std::exception_ptr&, const Result<merge::PushReply>& reply) {
                   CHECK(reply);
                   answered = true;
                 });
  // The server has the prefix now, or will have it shortly, and must leave the payload in the
  // socket.
  reactor.until([&] { return reactor.metrics.value("shufflefs_peer_asked_total", "push") == 1; });
  for (int i = 0; i < 20; ++i) reactor.runtime.context().run_one_for(5ms);
  CHECK(!answered);
  CHECK(served.node.calls.empty());
  all.reset();
  reactor.until([&] { return answered; });
  CHECK(served.node.calls.size() == 1);
  CHECK(reactor.metrics.value("shufflefs_peer_answered_total", "push") == 1);
}

TEST_CASE("a push that finds no memory in time is told when to come, and the connection goes on",
          "[peer_server]") {
  Reactor reactor(1 << 20);
  NetOptions options;
  options.budget_patience = 50ms;
  const Served served(reactor, "node1", 5, "127.0.0.14", options);
  const Asker asker(reactor, "node1", served.address(), options);
  std::optional<ByteBudget::Lease> all = *reactor.run(reactor.budget.acquire(1 << 20, 1s));
  const auto busy = reactor.run(asker.peer->push(large_push(512 << 10)));
  REQUIRE(busy);
  CHECK(busy->busy_ms == 250);
  CHECK(busy->merged == 0);
  CHECK(served.node.calls.empty());
  CHECK(asker.peer->health().up);
  all.reset();
  CHECK(reactor.run(asker.peer->push(large_push(512 << 10))));
  CHECK(reactor.run(asker.peer->push(large_push(2 << 20))).error().code == Code::kTooLarge);
  CHECK(reactor.metrics.value("shufflefs_peer_connections_opened_total") == 1);
}

TEST_CASE("stopping ends every connection in bounded time", "[peer_server]") {
  Reactor reactor;
  Served served(reactor, "node1", 5, "127.0.0.14");
  std::vector<std::unique_ptr<RawSocket>> sockets;
  for (int i = 0; i < 20; ++i) {
    sockets.push_back(std::make_unique<RawSocket>(reactor));
    sockets.back()->connect(served.address());
    if (i % 2 == 0) say_hello(*sockets.back());
  }
  reactor.run(served.server.stop());
  CHECK(served.server.connections() == 0);
  for (const auto& socket : sockets) CHECK(socket->receive_all().empty());
}

TEST_CASE("an address that cannot be listened on is reported with a remedy", "[peer_server]") {
  Reactor reactor;
  const Served served(reactor, "node1", 5, "127.0.0.14");
  FakeNode node;
  PeerServer second(reactor.context("node1", 5), node);
  const Status taken = second.listen(served.address());
  REQUIRE(!taken);
  CHECK(taken.error().code == Code::kConfig);
  CHECK_THAT(taken.error().message, ContainsSubstring("Address already in use"));
  CHECK_THAT(second.listen({"nowhere", 1}).error().message, ContainsSubstring("numeric address"));
}

}  // namespace
}  // namespace shufflefs::net::testing
