// The answers that carry more than a number.
#include "net/message_reader.h"
#include "net/message_writer.h"
#include "net/messages.h"

namespace shufflefs::net {
namespace {

// Reads a list by reading its elements: `least` is the fewest bytes that one takes.
template <class T, class ReadOne>
std::vector<T> read_list(MessageReader& reader, std::string_view what, std::size_t least,
                         ReadOne read_one) {
  const std::size_t count = reader.list(what, least);
  std::vector<T> list;
  list.reserve(count);
  for (std::size_t i = 0; i < count && !reader.failed(); ++i) list.push_back(read_one(reader));
  return list;
}

uint64_t read_size(MessageReader& reader, std::string_view what) {
  return reader.number(what, 0, kMaxLength);
}

merge::BlockAtOrigin read_block_at_origin(MessageReader& reader) {
  merge::BlockAtOrigin block;
  reader.tuple("block at origin", 2);
  block.map = reader.map();
  block.length = read_size(reader, "length");
  return block;
}

merge::MergedBlock read_merged_block(MessageReader& reader) {
  merge::MergedBlock block;
  reader.tuple("merged block", 4);
  block.map = reader.map();
  block.offset = read_size(reader, "offset");
  block.length = reader.number("length", 0, kMaxLength - block.offset);
  block.crc = static_cast<uint32_t>(reader.number("crc", 0, UINT32_MAX));
  return block;
}

merge::HeardBlock read_heard_block(MessageReader& reader) {
  merge::HeardBlock block;
  reader.tuple("heard block", 3);
  block.map = reader.map();
  block.origin = reader.node("origin");
  block.non_empty = reader.boolean("non-empty");
  return block;
}

merge::GivenUp read_given_up(MessageReader& reader) {
  merge::GivenUp given_up;
  reader.tuple("given up", 4);
  given_up.reason = reader.text("reason", kMaxTextBytes);
  given_up.chunks = read_size(reader, "chunks");
  given_up.blocks = read_size(reader, "blocks");
  given_up.bytes = read_size(reader, "bytes");
  return given_up;
}

merge::ShuffleKey read_shuffle_record(MessageReader& reader) {
  reader.tuple("shuffle", 2);
  return reader.shuffle_key();
}

}  // namespace

Bytes encode(const merge::PartitionInfo& info) {
  MessageWriter writer;
  writer.tuple(5);
  writer.list(info.at_origin.size());
  for (const merge::BlockAtOrigin& block : info.at_origin) {
    writer.tuple(2);
    writer.map(block.map);
    writer.number(block.length);
  }
  writer.list(info.merged.size());
  for (const merge::MergedBlock& block : info.merged) {
    writer.tuple(4);
    writer.map(block.map);
    writer.number(block.offset);
    writer.number(block.length);
    writer.number(block.crc);
  }
  writer.list(info.heard.size());
  for (const merge::HeardBlock& block : info.heard) {
    writer.tuple(3);
    writer.map(block.map);
    writer.node(block.origin);
    writer.boolean(block.non_empty);
  }
  writer.number(info.partition_count);
  writer.owner_or_nil(info.owner);
  return writer.take();
}

Result<merge::PartitionInfo> decode_partition_info(std::span<const std::byte> header) {
  MessageReader reader("partition_info answer", header);
  merge::PartitionInfo info;
  reader.tuple("fields", 5);
  info.at_origin =
      read_list<merge::BlockAtOrigin>(reader, "blocks at origin", 3, read_block_at_origin);
  info.merged = read_list<merge::MergedBlock>(reader, "merged blocks", 5, read_merged_block);
  info.heard = read_list<merge::HeardBlock>(reader, "heard blocks", 5, read_heard_block);
  info.partition_count =
      static_cast<uint32_t>(reader.number("partition count", 0, merge::kMaxPartitions));
  info.owner = reader.owner_or_nil();
  return reader.finish(std::move(info));
}

Bytes encode(const merge::ShuffleInfo& info) {
  MessageWriter writer;
  writer.tuple(15);
  writer.number(info.maps);
  writer.number(info.maps_settled);
  writer.number(info.maps_given_up);
  writer.number(info.maps_unpushed);
  writer.number(info.partition_count);
  writer.number(info.bytes);
  writer.number(info.blocks_left_home);
  writer.number(info.bytes_left_home);
  writer.list(info.given_up.size());
  for (const merge::GivenUp& given_up : info.given_up) {
    writer.tuple(4);
    writer.text(given_up.reason, kMaxTextBytes);
    writer.number(given_up.chunks);
    writer.number(given_up.blocks);
    writer.number(given_up.bytes);
  }
  writer.number(info.merged_partitions);
  writer.number(info.merged_blocks);
  writer.number(info.merged_bytes);
  writer.number(info.duplicate_blocks);
  writer.list(info.refused_commits.size());
  for (const std::string& message : info.refused_commits) writer.text(message, kMaxTextBytes);
  writer.owner_or_nil(info.owner);
  return writer.take();
}

Result<merge::ShuffleInfo> decode_shuffle_info(std::span<const std::byte> header) {
  MessageReader reader("shuffle_info answer", header);
  merge::ShuffleInfo info;
  reader.tuple("fields", 15);
  info.maps = read_size(reader, "maps");
  info.maps_settled = read_size(reader, "maps settled");
  info.maps_given_up = read_size(reader, "maps given up");
  info.maps_unpushed = read_size(reader, "maps unpushed");
  info.partition_count =
      static_cast<uint32_t>(reader.number("partition count", 0, merge::kMaxPartitions));
  info.bytes = read_size(reader, "bytes");
  info.blocks_left_home = read_size(reader, "blocks left home");
  info.bytes_left_home = read_size(reader, "bytes left home");
  info.given_up = read_list<merge::GivenUp>(reader, "given up", 5, read_given_up);
  info.merged_partitions = read_size(reader, "merged partitions");
  info.merged_blocks = read_size(reader, "merged blocks");
  info.merged_bytes = read_size(reader, "merged bytes");
  info.duplicate_blocks = read_size(reader, "duplicate blocks");
  info.refused_commits = read_list<std::string>(
      reader, "refused commits", 1,
      [](MessageReader& from) { return std::string(from.text("refused commit", kMaxTextBytes)); });
  info.owner = reader.owner_or_nil();
  return reader.finish(std::move(info));
}

Bytes encode(const std::vector<merge::ShuffleKey>& shuffles) {
  MessageWriter writer;
  writer.tuple(1);
  writer.list(shuffles.size());
  for (const merge::ShuffleKey& shuffle : shuffles) {
    writer.tuple(2);
    writer.shuffle_key(shuffle);
  }
  return writer.take();
}

Result<std::vector<merge::ShuffleKey>> decode_shuffles(std::span<const std::byte> header) {
  MessageReader reader("list_shuffles answer", header);
  reader.tuple("fields", 1);
  auto shuffles = read_list<merge::ShuffleKey>(reader, "shuffles", 4, read_shuffle_record);
  return reader.finish(std::move(shuffles));
}

Bytes encode(const merge::ShuffleListing& listing) {
  MessageWriter writer;
  writer.tuple(4);
  writer.shuffle_key(listing.shuffle);
  writer.list(listing.maps.size());
  for (const merge::MapId map : listing.maps) writer.map(map);
  writer.list(listing.merged.size());
  for (const merge::PartitionId partition : listing.merged) writer.partition(partition);
  return writer.take();
}

Bytes encode_report(std::string_view text) {
  MessageWriter writer;
  writer.tuple(1);
  writer.text(text, merge::kMaxReportBytes);
  return writer.take();
}

Result<std::string> decode_report(std::span<const std::byte> header) {
  MessageReader reader("report answer", header);
  reader.tuple("fields", 1);
  std::string text(reader.text("text", merge::kMaxReportBytes));
  return reader.finish(std::move(text));
}

Result<merge::ShuffleListing> decode_shuffle_listing(std::span<const std::byte> header) {
  MessageReader reader("list_shuffle answer", header);
  merge::ShuffleListing listing;
  reader.tuple("fields", 4);
  listing.shuffle = reader.shuffle_key();
  listing.maps =
      read_list<merge::MapId>(reader, "maps", 1, [](MessageReader& from) { return from.map(); });
  listing.merged = read_list<merge::PartitionId>(
      reader, "merged partitions", 1,
      [](MessageReader& from) { return from.partition("partition"); });
  return reader.finish(std::move(listing));
}

}  // namespace shufflefs::net
