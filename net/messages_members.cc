// What nodes say of the members to each other.
#include "base/endian.h"
#include "net/message_reader.h"
#include "net/message_writer.h"
#include "net/messages.h"

namespace shufflefs::net {
namespace {

constexpr std::size_t kLeastRecordBytes = 8;
constexpr std::size_t kDigestBytes = 8 * MemberExchange::kBuckets;

void write_digest(MessageWriter& writer, const MemberDigest& digest) {
  writer.number(digest.records);
  writer.number(digest.view);
}

MemberDigest read_digest(MessageReader& reader) {
  MemberDigest digest;
  digest.records = reader.number("digest of records", 0, UINT64_MAX);
  digest.view = reader.number("hash of names", 0, UINT64_MAX);
  return digest;
}

void write_record(MessageWriter& writer, const MemberRecord& record) {
  writer.tuple(6);
  writer.node(record.name);
  writer.text(record.address.host, kMaxHostBytes);
  writer.number(record.address.port);
  writer.number(record.incarnation);
  writer.number(record.clock);
  writer.boolean(record.left);
}

MemberRecord read_record(MessageReader& reader) {
  MemberRecord record;
  reader.tuple("record", 6);
  record.name = reader.node("member");
  record.address.host = reader.text("host", kMaxHostBytes);
  record.address.port = static_cast<uint16_t>(reader.number("port", 0, UINT16_MAX));
  record.incarnation = reader.number("incarnation", 0, UINT64_MAX);
  record.clock = reader.number("clock", 0, kMostClock);
  record.left = reader.boolean("left");
  return record;
}

}  // namespace

Bytes encode(const MemberDigest& ping) {
  MessageWriter writer;
  writer.tuple(2);
  write_digest(writer, ping);
  return writer.take();
}

Result<MemberDigest> decode_ping(std::span<const std::byte> header) {
  MessageReader reader("ping", header);
  reader.tuple("fields", 2);
  const MemberDigest ping = read_digest(reader);
  return reader.finish(ping);
}

Bytes encode(const Pong& pong) {
  MessageWriter writer;
  writer.tuple(3);
  writer.number(pong.incarnation);
  write_digest(writer, pong.digest);
  return writer.take();
}

Result<Pong> decode_pong(std::span<const std::byte> header) {
  MessageReader reader("pong", header);
  Pong pong;
  reader.tuple("fields", 3);
  pong.incarnation = reader.number("incarnation", 0, UINT64_MAX);
  pong.digest = read_digest(reader);
  return reader.finish(pong);
}

Bytes encode(const MemberExchange& exchange) {
  std::array<std::byte, kDigestBytes> digests{};
  for (std::size_t i = 0; i < exchange.digests.size(); ++i)
    store_le(&digests.at(8 * i), exchange.digests.at(i));
  MessageWriter writer;
  writer.tuple(2);
  writer.binary(digests);
  writer.list(exchange.records.size());
  for (const MemberRecord& record : exchange.records) write_record(writer, record);
  return writer.take();
}

Result<MemberExchange> decode_members(std::span<const std::byte> header) {
  MessageReader reader("members", header);
  MemberExchange exchange;
  reader.tuple("fields", 2);
  const auto digests = reader.binary("digests", kDigestBytes);
  if (!reader.failed() && digests.size() != kDigestBytes)
    reader.refuse("digests", "there are too few");
  for (std::size_t i = 0; i < exchange.digests.size() && !reader.failed(); ++i)
    exchange.digests.at(i) = load_le<uint64_t>(&digests[8 * i]);
  const std::size_t count = reader.list("records", kLeastRecordBytes);
  if (count > 2 * kMostMembers) reader.refuse("records", "there are too many");
  if (!reader.failed()) exchange.records.reserve(count);
  for (std::size_t i = 0; i < count && !reader.failed(); ++i)
    exchange.records.push_back(read_record(reader));
  return reader.finish(std::move(exchange));
}

}  // namespace shufflefs::net
