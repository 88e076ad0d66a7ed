// RemotePeer against a PeerServer, and against strangers, over real sockets.
#include "net/remote_peer.h"

#include <fmt/format.h>

#include "net/message_fields.h"
#include "tests/net/support.h"

namespace shufflefs::net::testing {
namespace {

NetOptions short_options() {
  NetOptions options;
  options.hello_timeout = 200ms;
  options.request_timeout = 200ms;
  options.payload_timeout = 200ms;
  options.heartbeat_timeout = 200ms;
  options.backoff_first = 10ms;
  return options;
}

Result<std::vector<merge::ShuffleKey>> ask(Reactor& reactor, const Asker& asker) {
  return reactor.run(asker.peer->list_shuffles());
}

TEST_CASE("every method reaches the node and its answer comes back", "[remote_peer]") {
  Reactor reactor;
  const Served served(reactor, "node1", 5, "127.0.0.11");
  const Asker asker(reactor, "node1", served.address());
  RemotePeer& peer = *asker.peer;

  const auto pushed = reactor.run(peer.push(sample_push()));
  REQUIRE(pushed);
  CHECK(pushed->merged == 2);
  CHECK(pushed->duplicates == 1);
  REQUIRE(served.node.pushed);
  CHECK(text_of(served.node.pushed->payload) == "abcdefg");
  CHECK(served.node.pushed->sender == node_name("asker"));

  CHECK(reactor.run(peer.announce(sample_announce())));
  REQUIRE(served.node.announced.size() == 1);
  CHECK(encode(served.node.announced[0]) == encode(sample_announce()));

  const auto info = reactor.run(peer.partition_info(shuffle_key(), merge::PartitionId{3}));
  REQUIRE(info);
  CHECK(encode(*info) == encode(sample_partition_info()));
  const auto merged = reactor.run(peer.merged_info(shuffle_key(), merge::PartitionId{3}));
  REQUIRE(merged);
  CHECK(encode(*merged) == encode(sample_partition_info()));
  const auto shuffle = reactor.run(peer.shuffle_info(shuffle_key()));
  REQUIRE(shuffle);
  CHECK(encode(*shuffle) == encode(sample_shuffle_info()));
  CHECK(reactor.run(peer.list_shuffles())->size() == 2);

  const merge::MapId map{8};
  const merge::PartitionId partition{3};
  CHECK(text_of(*reactor.run(peer.read_merged(shuffle_key(), partition, 10, 4))) == "mmmm");
  CHECK(reactor.run(peer.read_block(shuffle_key(), map, 77, partition, 0, merge::kMaxReadBytes))
            ->size() == merge::kMaxReadBytes);
  CHECK(reactor.run(peer.drop(app("app-1"), merge::ShuffleId{7}, 9))->life_before == 8);
  CHECK(reactor.run(peer.drop(app("app-1"), std::nullopt, 10)));
  CHECK(reactor.run(peer.report("node")).value() == "{}");

  const std::vector<std::string> expected = {"push app-1/7 map 9223372036854775807",
                                             "announce",
                                             "partition_info app-1/7 3",
                                             "merged_info app-1/7 3",
                                             "shuffle_info app-1/7",
                                             "list_shuffles",
                                             "read_merged app-1/7 3 10+4",
                                             "read_block app-1/7 map 8 commit 77 3 0+4194304",
                                             "drop app-1 7 9",
                                             "drop app-1 all 10",
                                             "report node"};
  CHECK(served.node.calls == expected);
  // One connection for questions and one for pushes served all of that.
  CHECK(reactor.metrics.value("shufflefs_peer_connections_opened_total") == 2);
  CHECK(reactor.metrics.value("shufflefs_peer_asked_total", "push") == 1);
  CHECK(reactor.metrics.value("shufflefs_peer_answered_total", "drop") == 2);
  CHECK(reactor.metrics.value("shufflefs_peer_pushed_bytes_total", "node1") > 0);
  CHECK(reactor.metrics.value("shufflefs_peer_fetched_bytes_total", "node1") >= 4194304);
}

TEST_CASE("the node's errors keep code, errno and message, and the peer stays up",
          "[remote_peer]") {
  Reactor reactor;
  Served served(reactor, "node1", 5, "127.0.0.11");
  const Asker asker(reactor, "node1", served.address());
  served.node.error = Error{Code::kBlockLost, EIO, "map 5 is nowhere"};
  const auto lost = reactor.run(
      asker.peer->read_block(shuffle_key(), merge::MapId{5}, 1, merge::PartitionId{1}, 0, 10));
  REQUIRE(!lost);
  CHECK(lost.error().code == Code::kBlockLost);
  CHECK(lost.error().sys_errno == EIO);
  CHECK(lost.error().message == "map 5 is nowhere");
  CHECK(reactor.run(asker.peer->push(sample_push())).error().code == Code::kBlockLost);
  CHECK(reactor.run(asker.peer->drop(app("a"), {}, 0)).error().code == Code::kBlockLost);
  CHECK(asker.peer->health().up);
  served.node.error.reset();
  CHECK(ask(reactor, asker));
}

TEST_CASE("a node that speaks in the name of another is refused", "[remote_peer]") {
  Reactor reactor;
  const Served served(reactor, "node1", 5, "127.0.0.11");
  const Asker asker(reactor, "node1", served.address());
  merge::PushRequest push = sample_push();
  push.sender = node_name("node2");
  const auto pushed = reactor.run(asker.peer->push(std::move(push)));
  REQUIRE(!pushed);
  CHECK(pushed.error().code == Code::kPermission);
  CHECK(pushed.error().message == "asker sent this in the name of node2");
  merge::AnnounceRequest announce = sample_announce();
  announce.origin = node_name("node1");
  CHECK(reactor.run(asker.peer->announce(std::move(announce))).error().code == Code::kPermission);
  CHECK(served.node.calls.empty());
  CHECK(asker.peer->health().up);
}

TEST_CASE("an announcement larger than a frame arrives in parts", "[remote_peer]") {
  Reactor reactor;
  const Served served(reactor, "node1", 5, "127.0.0.11");
  const Asker asker(reactor, "node1", served.address());
  merge::AnnounceRequest request;
  request.origin = node_name("asker");
  for (uint64_t i = 0; i < 3000; ++i) {
    request.committed.push_back(
        {shuffle_key(), merge::MapId{i}, 1, 0, 8000, {{0, 8000, 0, std::vector<uint8_t>(1000)}}});
  }
  const Status told = reactor.run(asker.peer->announce(std::move(request)));
  CHECK(told);
  CHECK(served.node.announced.size() == 4);
  std::size_t maps = 0;
  for (const auto& part : served.node.announced) maps += part.committed.size();
  CHECK(maps == 3000);
}

TEST_CASE(
    "a refused connection marks the peer down, calls fail fast, and a heartbeat finds it again",
    "[remote_peer]") {
  Reactor reactor;
  HostPort address;
  {
    const auto acceptor = listen_on(reactor, "127.0.0.12");
    address = address_of(acceptor);
  }
  NetOptions options = short_options();
  options.backoff_first = 1h;
  const Asker asker(reactor, "node2", address, options);
  CHECK(!asker.peer->health().up);
  CHECK(asker.peer->health().reason == "not contacted yet");

  const auto refused = ask(reactor, asker);
  REQUIRE(!refused);
  CHECK(refused.error().code == Code::kPeerUnreachable);
  CHECK(refused.error().message ==
        fmt::format("node2 ({}): connecting: Connection refused", to_string(address)));
  CHECK(asker.peer->health().reason == "connecting: Connection refused");
  const auto fast = ask(reactor, asker);
  REQUIRE(!fast);
  CHECK(fast.error().message ==
        fmt::format("node2 ({}) is down: connecting: Connection refused", to_string(address)));
  CHECK(reactor.metrics.value("shufflefs_peer_connect_failures_total") == 1);
  CHECK(!reactor.run(asker.peer->heartbeat()));  // tries in spite of the back-off
  CHECK(reactor.metrics.value("shufflefs_peer_connect_failures_total") == 2);

  const Served served(reactor, "node2", 5, "127.0.0.12", {}, address.port);
  CHECK(reactor.run(asker.peer->heartbeat()));
  CHECK(asker.peer->health().up);
  CHECK(asker.peer->health().round_trip_ms > 0);
  CHECK(ask(reactor, asker));
}

TEST_CASE("a peer that accepts and never answers the hello times out", "[remote_peer]") {
  Reactor reactor;
  const auto acceptor = listen_on(reactor, "127.0.0.13");
  const Asker asker(reactor, "node3", address_of(acceptor), short_options());
  const auto started = reactor.runtime.now();
  const auto silent = ask(reactor, asker);
  REQUIRE(!silent);
  CHECK(silent.error().code == Code::kTimeout);
  CHECK(reactor.runtime.now() - started < 2s);
  CHECK(!asker.peer->health().up);
}

// Greets like a node, and leaves the rest to the test.
void greet(RawSocket& socket, std::string_view name) {
  const auto [type, header] = socket.receive_frame();
  REQUIRE(type == request_number(MessageType::kHello));
  REQUIRE(decode_hello(header));
  Bytes answer = encode_frame_head(response_number(MessageType::kHello),
                                   encode(HelloResponse{0, {node_name(name), 1}, {}}), {});
  socket.send(answer);
}

// A call in progress, while the test plays the other side.
template <class T>
struct InProgress {
  InProgress(Reactor& reactor_of_test, Task<T> task) : reactor(reactor_of_test) {
    asio::co_spawn(reactor.runtime.executor(), std::move(task),
                   [result = result](const std::exception_ptr&, T value) {
                     result->emplace(std::move(value));
                   });
  }
  T get() {
    reactor.until([this] { return result->has_value(); });
    return std::move(**result);
  }
  Reactor& reactor;
  std::shared_ptr<std::optional<T>> result = std::make_shared<std::optional<T>>();
};

TEST_CASE("a peer that greets and never answers times out", "[remote_peer]") {
  Reactor reactor;
  auto acceptor = listen_on(reactor, "127.0.0.13");
  const Asker asker(reactor, "node3", address_of(acceptor), short_options());
  InProgress call(reactor, asker.peer->list_shuffles());
  RawSocket socket(reactor);
  socket.accept(acceptor);
  greet(socket, "node3");
  const auto silent = call.get();
  REQUIRE(!silent);
  CHECK(silent.error().code == Code::kTimeout);
  CHECK_THAT(silent.error().message,
             ContainsSubstring("waiting for a message: the deadline passed"));
  CHECK(reactor.metrics.value("shufflefs_peer_timeouts_total") == 1);
}

// What a call gives when the peer answers the hello with `bytes`.
Error answer_to_hello(const Bytes& bytes) {
  Reactor reactor;
  auto acceptor = listen_on(reactor, "127.0.0.13");
  const Asker asker(reactor, "node3", address_of(acceptor), short_options());
  InProgress call(reactor, asker.peer->list_shuffles());
  RawSocket socket(reactor);
  socket.accept(acceptor);
  socket.send(bytes);
  auto result = call.get();
  REQUIRE(!result);
  CHECK(!asker.peer->health().up);
  return std::move(result).error();
}

TEST_CASE("peers that are no peers are told apart", "[remote_peer]") {
  const auto http = bytes_of("HTTP/1.1 400 Bad Request\r\n\r\n");
  const Error garbage = answer_to_hello(Bytes(http.begin(), http.end()));
  CHECK(garbage.code == Code::kProtocol);
  CHECK_THAT(garbage.message, ContainsSubstring("not a shufflefs frame (starts with 48 54 54 50)"));

  MessageWriter future;
  future.tuple(2);
  future.number("", 9);
  future.nil();
  const Error version =
      answer_to_hello(encode_frame_head(response_number(MessageType::kHello), future.take(), {}));
  CHECK(version.code == Code::kVersion);
  CHECK_THAT(version.message, ContainsSubstring("peer speaks protocol 9, this node speaks 4"));

  const Error wrong =
      answer_to_hello(encode_frame_head(response_number(MessageType::kHello),
                                        encode(HelloResponse{0, {node_name("node4"), 1}, {}}), {}));
  CHECK(wrong.code == Code::kWrongPeer);
  CHECK_THAT(wrong.message, ContainsSubstring("is node4, not node3"));

  const Error other = answer_to_hello(
      encode_frame_head(response_number(MessageType::kPing), encode(Nothing{}), {}));
  CHECK(other.code == Code::kProtocol);
}

TEST_CASE("an answer that is too long, damaged, or not ours is refused", "[remote_peer]") {
  Reactor reactor;
  auto acceptor = listen_on(reactor, "127.0.0.13");
  auto read_answered_with = [&](const Bytes& bytes) {
    const Asker asker(reactor, "node3", address_of(acceptor), short_options());
    InProgress call(reactor, asker.peer->read_merged(shuffle_key(), merge::PartitionId{1}, 0, 3));
    RawSocket socket(reactor);
    socket.accept(acceptor);
    greet(socket, "node3");
    (void)socket.receive_frame();
    socket.send(bytes);
    auto result = call.get();
    REQUIRE(!result);
    return std::move(result).error();
  };
  auto answer = [](MessageType request, std::string_view payload) {
    Bytes frame = encode_frame_head(response_number(request), encode(Nothing{}), bytes_of(payload));
    for (const std::byte byte : bytes_of(payload)) frame.push_back(byte);
    return frame;
  };
  CHECK_THAT(read_answered_with(answer(MessageType::kReadMerged, "abcd")).message,
             ContainsSubstring("the payload length 4 is above the limit of 3"));
  CHECK_THAT(read_answered_with(answer(MessageType::kReadMerged, "ab")).message,
             ContainsSubstring("asked for 3 bytes, got 2"));
  CHECK_THAT(read_answered_with(answer(MessageType::kReadBlock, "abc")).message,
             ContainsSubstring("message type 31 is not the answer to a read_merged request"));
  Bytes damaged = answer(MessageType::kReadMerged, "abc");
  damaged.back() ^= std::byte{1};
  CHECK(read_answered_with(damaged).code == Code::kCorruptData);
}

TEST_CASE("a pooled connection that the peer has closed is replaced silently", "[remote_peer]") {
  Reactor reactor;
  auto acceptor = listen_on(reactor, "127.0.0.13");
  const Asker asker(reactor, "node3", address_of(acceptor), short_options());
  const Bytes answer = encode_frame_head(response_number(MessageType::kPush),
                                         encode(merge::PushReply{.merged = 2}), {});
  auto serve_one = [&](RawSocket& socket) {
    socket.accept(acceptor);
    greet(socket, "node3");
    CHECK(socket.receive_frame().first == request_number(MessageType::kPush));
    socket.send(answer);
  };
  InProgress first(reactor, asker.peer->push(sample_push()));
  RawSocket early(reactor);
  serve_one(early);
  REQUIRE(first.get());

  // The request is read, and the connection closed instead of an answer: the push is sent again,
  // with its payload.
  InProgress second(reactor, asker.peer->push(sample_push()));
  (void)early.receive_frame();
  early.close();
  RawSocket late(reactor);
  serve_one(late);
  const auto reply = second.get();
  REQUIRE(reply);
  CHECK(reply->merged == 2);
  CHECK(reactor.metrics.value("shufflefs_peer_request_retries_total") == 1);
  CHECK(asker.peer->health().up);

  // On a fresh connection the same is a failure.
  late.close();
  InProgress third(reactor, asker.peer->push(sample_push()));
  RawSocket fresh(reactor);
  fresh.accept(acceptor);
  greet(fresh, "node3");
  (void)fresh.receive_frame();
  fresh.close();
  const auto failed = third.get();
  REQUIRE(!failed);
  CHECK(failed.error().code == Code::kPeerUnreachable);
  CHECK(!asker.peer->health().up);
}

TEST_CASE("requests above the number of connections wait in line", "[remote_peer]") {
  Reactor reactor;
  const Served served(reactor, "node1", 5, "127.0.0.11");
  const Asker asker(reactor, "node1", served.address());
  std::vector<std::unique_ptr<InProgress<Result<merge::ShuffleInfo>>>> calls;
  constexpr std::size_t kCalls = 50;
  calls.reserve(kCalls);
  for (std::size_t i = 0; i < kCalls; ++i) {
    calls.push_back(std::make_unique<InProgress<Result<merge::ShuffleInfo>>>(
        reactor, asker.peer->shuffle_info(shuffle_key())));
  }
  for (auto& call : calls) CHECK(call->get());
  CHECK(served.server.connections() == 4);
}

TEST_CASE("closing a peer ends the calls in progress and in line", "[remote_peer]") {
  Reactor reactor;
  auto acceptor = listen_on(reactor, "127.0.0.13");
  NetOptions options;
  options.push_connections = 1;
  const Asker asker(reactor, "node3", address_of(acceptor), options);
  InProgress first(reactor, asker.peer->push(sample_push()));
  InProgress second(reactor, asker.peer->push(sample_push()));
  RawSocket socket(reactor);
  socket.accept(acceptor);
  greet(socket, "node3");
  (void)socket.receive_frame();
  asker.peer->close();
  CHECK(first.get().error().code == Code::kCancelled);
  CHECK(second.get().error().code == Code::kCancelled);
  CHECK(ask(reactor, asker).error().code == Code::kCancelled);
}

TEST_CASE("reads of nothing or too much do not leave the node", "[remote_peer]") {
  Reactor reactor;
  const Asker asker(reactor, "node1", {"127.0.0.11", 1});
  for (const uint32_t length : {0U, merge::kMaxReadBytes + 1}) {
    const auto read =
        reactor.run(asker.peer->read_merged(shuffle_key(), merge::PartitionId{1}, 0, length));
    CHECK(read.error().code == Code::kInvalidArgument);
  }
}

}  // namespace
}  // namespace shufflefs::net::testing
