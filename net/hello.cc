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

void write_card(MessageWriter& writer, const HostPort& address, uint64_t clock) {
  writer.text(address.host, kMaxHostBytes);
  writer.number(address.port);
  writer.number(clock);
}

void read_card(MessageReader& reader, HostPort& address, uint64_t& clock) {
  address.host = reader.text("host", kMaxHostBytes);
  address.port = static_cast<uint16_t>(reader.number("port", 0, UINT16_MAX));
  clock = reader.number("clock", 0, kMostClock);
}

Error wrong_peer(std::string_view found, std::string_view expected, std::string_view found_by) {
  return make_error(
      Code::kWrongPeer,
      fmt::format("{} is {}, not {}: check the addresses in --members", found_by, found, expected));
}

}  // namespace

Bytes encode(const Hello& hello) {
  MessageWriter writer;
  writer.tuple(9);
  writer.number(kProtocolVersion);
  writer.number(hello.features);
  writer.node(hello.sender.name);
  writer.number(hello.sender.incarnation);
  writer.text(hello.expected, kMaxNameBytes);
  writer.binary(hello.nonce);
  write_card(writer, hello.address, hello.clock);
  return writer.take();
}

Result<Hello> decode_hello(std::span<const std::byte> header) {
  TRY(check_version(header));
  MessageReader reader("hello", header);
  Hello hello;
  reader.tuple("fields", 9);
  (void)reader.number("protocol version", 0, UINT32_MAX);
  hello.features = reader.number("features", 0, UINT64_MAX);
  hello.sender.name = reader.node("node");
  hello.sender.incarnation = reader.number("incarnation", 0, UINT64_MAX);
  hello.expected = reader.text("expected name", kMaxNameBytes);
  read_exact(reader, "nonce", hello.nonce);
  read_card(reader, hello.address, hello.clock);
  return reader.finish(std::move(hello));
}

Bytes encode(const HelloAnswer& answer) {
  MessageWriter writer;
  writer.tuple(9);
  writer.number(kProtocolVersion);
  writer.number(answer.features);
  writer.node(answer.sender.name);
  writer.number(answer.sender.incarnation);
  writer.binary(answer.nonce);
  write_card(writer, answer.address, answer.clock);
  writer.text(answer.caller_host, kMaxHostBytes);
  return writer.take();
}

Result<HelloAnswer> decode_hello_answer(std::span<const std::byte> header) {
  TRY(check_version(header));
  MessageReader reader("hello answer", header);
  HelloAnswer answer;
  reader.tuple("fields", 9);
  (void)reader.number("protocol version", 0, UINT32_MAX);
  answer.features = reader.number("features", 0, UINT64_MAX);
  answer.sender.name = reader.node("node");
  answer.sender.incarnation = reader.number("incarnation", 0, UINT64_MAX);
  read_exact(reader, "nonce", answer.nonce);
  read_card(reader, answer.address, answer.clock);
  answer.caller_host = reader.text("caller's host", kMaxHostBytes);
  return reader.finish(std::move(answer));
}

MemberRecord record_of(const Hello& hello) {
  return {hello.sender.name, hello.address, hello.sender.incarnation, hello.clock, false};
}

MemberRecord record_of(const HelloAnswer& answer) {
  return {answer.sender.name, answer.address, answer.sender.incarnation, answer.clock, false};
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
