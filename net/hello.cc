#include "net/hello.h"

#include <fmt/format.h>

#include <algorithm>

#include "net/message_reader.h"
#include "net/message_writer.h"

namespace shufflefs::net {
namespace {

constexpr std::size_t kMaxNameBytes = 100;

// The version is the first field in every version of the protocol, and nothing after it is read if
// it is not ours.
Status check_version(std::span<const std::byte> header) {
  MessageReader reader("hello", header);
  reader.open_tuple("fields", 1);
  const uint64_t version = reader.number("protocol version", 0, UINT32_MAX);
  if (reader.failed()) return reader.finish(true).error();
  if (version == kProtocolVersion) return ok();
  return make_error(
      Code::kVersion,
      fmt::format("peer speaks protocol {}, this node speaks {}: upgrade the older one", version,
                  kProtocolVersion));
}

template <std::size_t Size>
void read_exact(MessageReader& reader, std::string_view what, std::array<std::byte, Size>& into) {
  const auto bytes = reader.binary(what, Size);
  if (reader.failed()) return;
  if (bytes.size() == Size)
    std::ranges::copy(bytes, into.begin());
  else
    reader.refuse(what, fmt::format("{} bytes instead of {}", bytes.size(), Size));
}

Error wrong_peer(std::string_view found, std::string_view expected, std::string_view found_by) {
  return make_error(
      Code::kWrongPeer,
      fmt::format("{} is {}, not {}: check the addresses in --members", found_by, found, expected));
}

}  // namespace

Bytes encode(const Hello& hello) {
  MessageWriter writer;
  writer.tuple(6);
  writer.number(kProtocolVersion);
  writer.number(hello.features);
  writer.node(hello.sender.name);
  writer.number(hello.sender.incarnation);
  writer.text(hello.expected, kMaxNameBytes);
  writer.binary(hello.nonce);
  return writer.take();
}

Result<Hello> decode_hello(std::span<const std::byte> header) {
  TRY(check_version(header));
  MessageReader reader("hello", header);
  Hello hello;
  reader.tuple("fields", 6);
  (void)reader.number("protocol version", 0, UINT32_MAX);
  hello.features = reader.number("features", 0, UINT64_MAX);
  hello.sender.name = reader.node("node");
  hello.sender.incarnation = reader.number("incarnation", 0, UINT64_MAX);
  hello.expected = reader.text("expected name", kMaxNameBytes);
  read_exact(reader, "nonce", hello.nonce);
  return reader.finish(std::move(hello));
}

Bytes encode(const HelloAnswer& answer) {
  MessageWriter writer;
  writer.tuple(5);
  writer.number(kProtocolVersion);
  writer.number(answer.features);
  writer.node(answer.sender.name);
  writer.number(answer.sender.incarnation);
  writer.binary(answer.nonce);
  return writer.take();
}

Result<HelloAnswer> decode_hello_answer(std::span<const std::byte> header) {
  TRY(check_version(header));
  MessageReader reader("hello answer", header);
  HelloAnswer answer;
  reader.tuple("fields", 5);
  (void)reader.number("protocol version", 0, UINT32_MAX);
  answer.features = reader.number("features", 0, UINT64_MAX);
  answer.sender.name = reader.node("node");
  answer.sender.incarnation = reader.number("incarnation", 0, UINT64_MAX);
  read_exact(reader, "nonce", answer.nonce);
  return reader.finish(std::move(answer));
}

Bytes encode_proof(std::span<const std::byte> proof) {
  MessageWriter writer;
  writer.tuple(1);
  writer.binary(proof);
  return writer.take();
}

Result<Proof> decode_proof(std::span<const std::byte> header) {
  MessageReader reader("prove", header);
  Proof proof{};
  reader.tuple("fields", 1);
  read_exact(reader, "proof", proof);
  return reader.finish(proof);
}

Status check_hello(const Hello& hello, const NodeIdentity& self) {
  if (hello.expected.empty() || hello.expected == self.name.str()) return ok();
  return wrong_peer(self.name.str(), hello.expected, "the node at this address");
}

Status check_hello_answer(const HelloAnswer& answer, std::string_view expected) {
  if (expected.empty() || expected == answer.sender.name.str()) return ok();
  return wrong_peer(answer.sender.name.str(), expected, "the node at that address");
}

}  // namespace shufflefs::net
