// Push and announce: what the writing side of the domain tells other nodes.
#include <fmt/format.h>

#include "net/message_fields.h"

namespace shufflefs::net {

// Found by argument-dependent lookup from net/message_fields.h, which does not
// look into unnamed namespaces.

// All of a request but the blocks: how the parts are read depends on the payload.
template <class A>
static void fields_before_parts(A& a, typename A::template Of<merge::PushRequest> request) {
  a.tuple("fields", 7);
  a.shuffle_key(request.shuffle);
  a.node("sender", request.sender);
  a.clock_number("life", request.life);
  a.number("offer", request.offer, 0, 1);
  a.owner(request.owner);
}

template <class A>
static void fields_before_blocks(A& a, typename A::template Of<merge::PushPart> part) {
  a.tuple("part", 4);
  a.map(part.map);
  a.commit_id(part.id);
}

// `most`: what the block may take of the payload.
template <class A>
static void block_fields(A& a, typename A::template Of<merge::PushBlock> block, uint64_t most) {
  a.tuple("block", 3);
  a.partition("partition", block.partition);
  a.number("crc", block.crc);
  a.number("block length", block.length, 1, most);
}

template <class A>
static void fields(A& a, typename A::template Of<merge::PushReply> reply) {
  a.tuple("fields", 5);
  a.number("merged", reply.merged);
  a.number("duplicates", reply.duplicates);
  a.number("missing", reply.missing);
  a.size("credit", reply.credit_bytes);
  a.number("busy", reply.busy_ms);
}

template <class A>
static void fields(A& a, typename A::template Of<merge::EndedMaps> ended) {
  a.tuple("ended map outputs", 5);
  a.shuffle_key(ended.shuffle);
  a.clock_number("life", ended.life);
  a.list("ended ranges", kLeastEndedRangeBytes, ended.ranges);
  a.list("ended commits", kLeastEndedBytes, ended.maps);
}

template <class A>
static void fields(A& a, typename A::template Of<merge::DroppedName> dropped) {
  a.tuple("dropped name", 3);
  a.app(dropped.app);
  a.shuffle_or_nil(dropped.shuffle);
  a.clock_number("life", dropped.life);
}

namespace {

constexpr std::size_t kLeastPartBytes = 9;
constexpr std::size_t kLeastBlockBytes = 4;

void write_bits(FieldWriter& a, const merge::PartitionBits& bits) {
  a.tuple("range", 4);
  a.number("first partition", bits.first);
  a.number("partitions of a range", bits.count);
  a.number("skipped bytes", bits.skipped_bytes);
  a.raw().binary(std::as_bytes(std::span(bits.non_empty)));
}

void read_bits(FieldReader& a, merge::PartitionBits& bits, uint32_t partition_count) {
  MessageReader& reader = a.raw();
  a.tuple("range", 4);
  a.number("first partition", bits.first, 0, partition_count);
  a.number("partitions of a range", bits.count, 1, partition_count - bits.first);
  const uint64_t size = (uint64_t{bits.count} + 7) / 8;
  a.number("skipped bytes", bits.skipped_bytes, 0, size);
  const auto bytes = reader.binary("partition bits", size - bits.skipped_bytes);
  if (reader.failed()) return;
  const unsigned used = bits.count % 8;
  const bool has_last = !bytes.empty() && bits.skipped_bytes + bytes.size() == size;
  if (has_last && used != 0 && (std::to_integer<unsigned>(bytes.back()) >> used) != 0) {
    reader.refuse("partition bits", "bits behind the last partition are set");
    return;
  }
  const auto* from = reinterpret_cast<const uint8_t*>(bytes.data());
  bits.non_empty.assign(from, from + bytes.size());
}

}  // namespace

template <class A>
static void fields(A& a, typename A::template Of<merge::AnnouncedMap> announced) {
  constexpr std::size_t kLeastRangeBytes = 6;
  a.tuple("map output", 8);
  a.shuffle_key(announced.shuffle);
  a.map(announced.map);
  a.clock_number("commit", announced.commit);
  a.clock_number("life", announced.life);
  a.owner(announced.owner);
  a.number("partition count", announced.partition_count, 0, merge::kMaxPartitions);
  a.list("ranges", kLeastRangeBytes, announced.ranges, [&](A& each, auto& bits) {
    if constexpr (std::is_same_v<A, FieldReader>)
      read_bits(each, bits, announced.partition_count);
    else
      write_bits(each, bits);
  });
}

template <class A>
static void fields(A& a, typename A::template Of<merge::AnnounceRequest> request) {
  a.tuple("fields", 5);
  a.node("origin", request.origin);
  a.list("committed", 10, request.committed);  // the names have at least one character
  a.list("ended", 7, request.ended);
  a.list("dropped", 5, request.dropped);
  a.boolean("whole", request.whole);
}

Bytes encode(const merge::PushRequest& request) {
  FieldWriter writer;
  fields_before_parts(writer, request);
  writer.list(
      "parts", kLeastPartBytes, request.parts, [](FieldWriter& a, const merge::PushPart& part) {
        fields_before_blocks(a, part);
        a.list(
            "blocks", kLeastBlockBytes, part.blocks,
            [](FieldWriter& each, const merge::PushBlock& block) { block_fields(each, block, 0); });
      });
  return writer.raw().take();
}

Result<merge::PushRequest> decode_push(std::span<const std::byte> header, Buffer payload) {
  FieldReader fields_of("push", header);
  MessageReader& reader = fields_of.raw();
  merge::PushRequest request;
  fields_before_parts(fields_of, request);
  if (request.offer && payload.size() > 0) reader.refuse("offer", "it has a payload");
  // What no block has taken yet of the payload, so that the sum cannot overflow.
  uint64_t left = request.offer ? kMaxLength : payload.size();
  fields_of.list("parts", kLeastPartBytes, request.parts,
                 [&left](FieldReader& a, merge::PushPart& part) {
                   fields_before_blocks(a, part);
                   a.list("blocks", kLeastBlockBytes, part.blocks,
                          [&left](FieldReader& each, merge::PushBlock& block) {
                            block_fields(each, block, left);
                            left -= block.length;
                          });
                   if (part.blocks.empty()) a.raw().refuse("blocks", "there are none");
                 });
  if (request.parts.empty()) reader.refuse("parts", "there are none");
  if (!request.offer && left != 0)
    reader.refuse("blocks", fmt::format("{} bytes of the payload belong to no block", left));
  request.payload = std::move(payload);
  return reader.finish(std::move(request));
}

Bytes encode(const merge::PushReply& reply) { return write_fields(reply); }
Result<merge::PushReply> decode_push_reply(std::span<const std::byte> header) {
  return read_fields<merge::PushReply>("push reply", header);
}

Bytes encode(const merge::AnnounceRequest& request) { return write_fields(request); }
Result<merge::AnnounceRequest> decode_announce(std::span<const std::byte> header) {
  return read_fields<merge::AnnounceRequest>("announce", header);
}

namespace {

// Upper bounds of the encoded sizes: a msgpack number takes at most 9 bytes, an array or text at
// most 5 more.
constexpr std::size_t kEndedBytes = 19;

std::size_t encoded_bytes(const merge::AnnouncedMap& announced) {
  std::size_t bytes = 80 + announced.shuffle.app.str().size();
  for (const merge::PartitionBits& bits : announced.ranges) bytes += 25 + bits.non_empty.size();
  return bytes;
}
std::size_t encoded_bytes(const merge::DroppedName& dropped) {
  return 30 + dropped.app.str().size();
}
std::size_t encoded_bytes_without_maps(const merge::EndedMaps& ended) {
  return 45 + ended.shuffle.app.str().size() + ended.ranges.size() * kEndedBytes;
}

}  // namespace

std::vector<merge::AnnounceRequest> split(merge::AnnounceRequest request, std::size_t max_bytes) {
  std::vector<merge::AnnounceRequest> parts;
  std::size_t bytes = 0;
  auto part_for = [&](std::size_t more) -> merge::AnnounceRequest& {
    if (parts.empty() || bytes + more > max_bytes) {
      parts.push_back({request.origin, {}, {}, {}, false});
      bytes = 0;
    }
    bytes += more;
    return parts.back();
  };
  for (merge::DroppedName& dropped : request.dropped) {
    merge::AnnounceRequest& part = part_for(encoded_bytes(dropped));
    part.dropped.push_back(std::move(dropped));
  }
  for (merge::AnnouncedMap& announced : request.committed) {
    merge::AnnounceRequest& part = part_for(encoded_bytes(announced));
    part.committed.push_back(std::move(announced));
  }
  for (const merge::EndedMaps& ended : request.ended) {
    const auto begin = [&](std::size_t more) -> merge::AnnounceRequest& {
      merge::AnnounceRequest& part = part_for(encoded_bytes_without_maps(ended) + more);
      part.ended.push_back({ended.shuffle, ended.life, ended.ranges, {}});
      return part;
    };
    merge::AnnounceRequest* part = &begin(0);
    for (const merge::EndedMaps::Ended& one : ended.maps) {
      if (bytes + kEndedBytes > max_bytes && !part->ended.back().maps.empty())
        part = &begin(kEndedBytes);
      else
        bytes += kEndedBytes;
      part->ended.back().maps.push_back(one);
    }
  }
  part_for(0).whole = request.whole;
  return parts;
}

}  // namespace shufflefs::net
