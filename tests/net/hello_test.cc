#include "net/handshake.h"
#include "net/message_fields.h"
#include "tests/net/support.h"

namespace shufflefs::net::testing {
namespace {

TEST_CASE("a hello comes back as it was", "[hello]") {
  const auto got = decode_hello(
      encode(Hello{5, {node_name("node1"), 0xFFFFFFFFFFFFFFFF}, "node2", Nonce{std::byte{1}}}));
  REQUIRE(got);
  CHECK(got->address.port == 0);
  CHECK(got->features == 5);
  CHECK(got->sender.name == node_name("node1"));
  CHECK(got->sender.incarnation == 0xFFFFFFFFFFFFFFFF);
  CHECK(got->expected == "node2");
  CHECK(got->nonce == Nonce{std::byte{1}});
  const auto answer = decode_hello_response(encode(HelloResponse{0, {node_name("node2"), 7}, {}}));
  REQUIRE(answer);
  CHECK(answer->sender.name == node_name("node2"));
  CHECK(answer->sender.incarnation == 7);
}

TEST_CASE("hello and answer carry where the sender is reached", "[hello]") {
  const HostPort address{"10.0.0.5", 7338};
  const auto hello = decode_hello(encode(Hello{0, {node_name("n"), 1}, "", {}, address, 8}));
  REQUIRE(hello);
  CHECK(record_of(*hello) == MemberRecord{node_name("n"), address, 1, 8, false});
  const auto answer = decode_hello_response(
      encode(HelloResponse{0, {node_name("n"), 1}, {}, address, 9, "10.0.0.6"}));
  REQUIRE(answer);
  CHECK(record_of(*answer) == MemberRecord{node_name("n"), address, 1, 9, false});
  CHECK(answer->caller_host == "10.0.0.6");
}

TEST_CASE("another version is refused by its number, whatever follows it", "[hello]") {
  MessageWriter writer;
  writer.tuple(9);
  writer.number("", 9);
  writer.nil();
  const Bytes future = writer.take();
  for (const Error& error : {decode_hello(future).error(), decode_hello_response(future).error()}) {
    CHECK(error.code == Code::kVersion);
    CHECK(error.message == "peer speaks protocol 9, this node speaks 4: upgrade the older one");
  }
}

TEST_CASE("a proof comes back as it was, and has one size", "[hello]") {
  const Proof proof{Bytes(32, std::byte{7})};
  CHECK(decode<Proof>("prove", encode(proof))->code == proof.code);
  for (const std::size_t size : {0U, 31U, 33U}) {
    CHECK(decode<Proof>("prove", encode(Proof{Bytes(size)})).error().code == Code::kProtocol);
  }
}

TEST_CASE("both sides notice a wrong address", "[hello]") {
  const NodeIdentity self{node_name("node2"), 1};
  CHECK(check_hello({0, {}, "node2", {}}, self));
  CHECK(check_hello({0, {}, "", {}}, self));
  const Status wrong = check_hello({0, {}, "node3", {}}, self);
  CHECK(wrong.error().code == Code::kWrongPeer);
  CHECK(wrong.error().message ==
        "the node at this address is node2, not node3: check the addresses in --members");
  CHECK(check_hello_response({0, self, {}}, ""));
  CHECK(check_hello_response({0, self, {}}, "node3").error().code == Code::kWrongPeer);
}

}  // namespace
}  // namespace shufflefs::net::testing
