// Push and announce: what the writing side of the domain tells other nodes.
#include <fmt/format.h>

#include "net/message_reader.h"
#include "net/message_writer.h"
#include "net/messages.h"

namespace shufflefs::net {

Bytes encode(const merge::PushRequest& request) {
  MessageWriter writer;
  writer.tuple(7);
  writer.shuffle_key(request.shuffle);
  writer.node(request.origin);
  writer.number(request.epoch);
  writer.number(request.offer ? 1 : 0);
  writer.owner(request.owner);
  writer.list(request.parts.size());
  for (const merge::PushPart& part : request.parts) {
    writer.tuple(3);
    writer.map(part.map);
    writer.number(part.commit);
    writer.list(part.blocks.size());
    for (const merge::PushBlock& block : part.blocks) {
      writer.tuple(3);
      writer.partition(block.partition);
      writer.number(block.crc);
      writer.number(block.length);
    }
  }
  return writer.take();
}

namespace {

// `left` is what no block has taken yet of the payload, so that the sum cannot overflow.
merge::PushPart read_part(MessageReader& reader, uint64_t& left) {
  constexpr std::size_t kLeastBlockBytes = 4;
  merge::PushPart part;
  reader.tuple("part", 3);
  part.map = reader.map();
  part.commit = reader.number("commit", 0, UINT64_MAX);
  const std::size_t count = reader.list("blocks", kLeastBlockBytes);
  if (count == 0) reader.refuse("blocks", "there are none");
  part.blocks.reserve(count);
  for (std::size_t i = 0; i < count && !reader.failed(); ++i) {
    merge::PushBlock block;
    reader.tuple("block", 3);
    block.partition = reader.partition("partition");
    block.crc = static_cast<uint32_t>(reader.number("crc", 0, UINT32_MAX));
    block.length = reader.number("block length", 1, left);
    left -= block.length;
    part.blocks.push_back(block);
  }
  return part;
}

}  // namespace

Result<merge::PushRequest> decode_push(std::span<const std::byte> header, Buffer payload) {
  constexpr std::size_t kLeastPartBytes = 8;
  MessageReader reader("push", header);
  merge::PushRequest request;
  reader.tuple("fields", 7);
  request.shuffle = reader.shuffle_key();
  request.origin = reader.node("origin");
  request.epoch = reader.epoch();
  request.offer = reader.number("offer", 0, 1) == 1;
  request.owner = reader.owner();
  if (request.offer && payload.size() > 0) reader.refuse("offer", "it has a payload");
  const std::size_t count = reader.list("parts", kLeastPartBytes);
  if (count == 0) reader.refuse("parts", "there are none");
  request.parts.reserve(count);
  uint64_t left = request.offer ? kMaxLength : payload.size();
  for (std::size_t i = 0; i < count && !reader.failed(); ++i)
    request.parts.push_back(read_part(reader, left));
  if (!request.offer && left != 0)
    reader.refuse("blocks", fmt::format("{} bytes of the payload belong to no block", left));
  request.payload = std::move(payload);
  return reader.finish(std::move(request));
}

Bytes encode(const merge::PushReply& reply) {
  MessageWriter writer;
  writer.tuple(5);
  writer.number(reply.merged);
  writer.number(reply.duplicates);
  writer.number(reply.missing);
  writer.number(reply.credit_bytes);
  writer.number(reply.busy_ms);
  return writer.take();
}

Result<merge::PushReply> decode_push_reply(std::span<const std::byte> header) {
  MessageReader reader("push reply", header);
  merge::PushReply reply;
  reader.tuple("fields", 5);
  reply.merged = static_cast<uint32_t>(reader.number("merged", 0, UINT32_MAX));
  reply.duplicates = static_cast<uint32_t>(reader.number("duplicates", 0, UINT32_MAX));
  reply.missing = static_cast<uint32_t>(reader.number("missing", 0, UINT32_MAX));
  reply.credit_bytes = reader.number("credit", 0, kMaxLength);
  reply.busy_ms = static_cast<uint32_t>(reader.number("busy", 0, UINT32_MAX));
  return reader.finish(reply);
}

namespace {

void write(MessageWriter& writer, const merge::AnnouncedMap& announced) {
  writer.tuple(7);
  writer.shuffle_key(announced.shuffle);
  writer.map(announced.map);
  writer.number(announced.epoch);
  writer.owner(announced.owner);
  writer.number(announced.partition_count);
  writer.list(announced.ranges.size());
  for (const merge::PartitionBits& bits : announced.ranges) {
    writer.tuple(3);
    writer.number(bits.first);
    writer.number(bits.count);
    writer.binary(std::as_bytes(std::span(bits.non_empty)));
  }
}

merge::PartitionBits read_bits(MessageReader& reader, uint32_t partition_count) {
  merge::PartitionBits bits;
  reader.tuple("range", 3);
  bits.first = static_cast<uint32_t>(reader.number("first partition", 0, partition_count));
  bits.count = static_cast<uint32_t>(
      reader.number("partitions of a range", 1, partition_count - bits.first));
  const std::size_t size = (std::size_t{bits.count} + 7) / 8;
  const auto bytes = reader.binary("partition bits", size);
  if (reader.failed()) return bits;
  if (bytes.size() != size) {
    reader.refuse("partition bits", fmt::format("{} bytes instead of {}", bytes.size(), size));
    return bits;
  }
  const unsigned used = bits.count % 8;
  if (used != 0 && (std::to_integer<unsigned>(bytes.back()) >> used) != 0) {
    reader.refuse("partition bits", "bits behind the last partition are set");
    return bits;
  }
  const auto* from = reinterpret_cast<const uint8_t*>(bytes.data());
  bits.non_empty.assign(from, from + bytes.size());
  return bits;
}

merge::AnnouncedMap read_announced_map(MessageReader& reader) {
  constexpr std::size_t kLeastRangeBytes = 5;
  merge::AnnouncedMap announced;
  reader.tuple("map output", 7);
  announced.shuffle = reader.shuffle_key();
  announced.map = reader.map();
  announced.epoch = reader.epoch();
  announced.owner = reader.owner();
  announced.partition_count =
      static_cast<uint32_t>(reader.number("partition count", 0, merge::kMaxPartitions));
  const std::size_t ranges = reader.list("ranges", kLeastRangeBytes);
  announced.ranges.reserve(ranges);
  for (std::size_t i = 0; i < ranges && !reader.failed(); ++i) {
    announced.ranges.push_back(read_bits(reader, announced.partition_count));
  }
  return announced;
}

// Upper bounds of the encoded sizes: a msgpack number takes at most 9 bytes, an array or text at
// most 5 more.
std::size_t encoded_bytes(const merge::AnnouncedMap& announced) {
  std::size_t bytes = 70 + announced.shuffle.app.str().size();
  for (const merge::PartitionBits& bits : announced.ranges) bytes += 16 + bits.non_empty.size();
  return bytes;
}

std::size_t encoded_bytes(const merge::RemovedMap& removed) {
  return 34 + removed.shuffle.app.str().size();
}

}  // namespace

Bytes encode(const merge::AnnounceRequest& request) {
  MessageWriter writer;
  writer.tuple(3);
  writer.node(request.origin);
  writer.list(request.committed.size());
  for (const merge::AnnouncedMap& announced : request.committed) write(writer, announced);
  writer.list(request.removed.size());
  for (const merge::RemovedMap& removed : request.removed) {
    writer.tuple(4);
    writer.shuffle_key(removed.shuffle);
    writer.map(removed.map);
    writer.number(removed.commit);
  }
  return writer.take();
}

Result<merge::AnnounceRequest> decode_announce(std::span<const std::byte> header) {
  constexpr std::size_t kLeastMapBytes = 8;  // the names have at least one character
  constexpr std::size_t kLeastRemovedBytes = 5;
  MessageReader reader("announce", header);
  merge::AnnounceRequest request;
  reader.tuple("fields", 3);
  request.origin = reader.node("origin");
  const std::size_t committed = reader.list("committed", kLeastMapBytes);
  request.committed.reserve(committed);
  for (std::size_t i = 0; i < committed && !reader.failed(); ++i) {
    request.committed.push_back(read_announced_map(reader));
  }
  const std::size_t removed = reader.list("removed", kLeastRemovedBytes);
  request.removed.reserve(removed);
  for (std::size_t i = 0; i < removed && !reader.failed(); ++i) {
    merge::RemovedMap gone;
    reader.tuple("removed map output", 4);
    gone.shuffle = reader.shuffle_key();
    gone.map = reader.map();
    gone.commit = reader.number("commit", 0, UINT64_MAX);
    request.removed.push_back(std::move(gone));
  }
  return reader.finish(std::move(request));
}

std::vector<merge::AnnounceRequest> split(merge::AnnounceRequest request, std::size_t max_bytes) {
  std::vector<merge::AnnounceRequest> parts;
  std::size_t bytes = 0;
  auto part_for = [&](std::size_t more) -> merge::AnnounceRequest& {
    if (parts.empty() || bytes + more > max_bytes) {
      parts.push_back({request.origin, {}, {}});
      bytes = 0;
    }
    bytes += more;
    return parts.back();
  };
  for (merge::AnnouncedMap& announced : request.committed) {
    merge::AnnounceRequest& part = part_for(encoded_bytes(announced));
    part.committed.push_back(std::move(announced));
  }
  for (auto& removed : request.removed) {
    merge::AnnounceRequest& part = part_for(encoded_bytes(removed));
    part.removed.push_back(std::move(removed));
  }
  return parts;
}

}  // namespace shufflefs::net
