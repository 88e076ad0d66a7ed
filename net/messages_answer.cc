// The answers that carry more than a number.
#include "net/message_fields.h"

namespace shufflefs::net {

// Found by argument-dependent lookup from net/message_fields.h, which does not
// look into unnamed namespaces.

template <class A>
static void fields(A& a, typename A::template Of<merge::OwnBlock> block) {
  a.tuple("own block", 4);
  a.map(block.map);
  a.clock_number("commit", block.commit);
  a.size("length", block.length);
  a.boolean("lost", block.lost);
}

template <class A>
static void fields(A& a, typename A::template Of<merge::MergedBlock> block) {
  a.tuple("merged block", 6);
  a.map(block.map);
  a.commit_id(block.id);
  a.size("offset", block.offset);
  a.number("length", block.length, 0, kMaxLength - block.offset);
  a.number("crc", block.crc);
}

template <class A>
static void fields(A& a, typename A::template Of<merge::HeardBlock> block) {
  a.tuple("heard block", 4);
  a.map(block.map);
  a.node("origin", block.origin);
  a.clock_number("commit", block.commit);
  a.boolean_or_nil("non-empty", block.non_empty);
}

template <class A>
static void fields(A& a, typename A::template Of<merge::EndedAt> ended) {
  a.tuple("ended commits", 3);
  a.number("origin", ended.origin, 0, UINT64_MAX);
  a.list("ended ranges", kLeastEndedRangeBytes, ended.ranges);
  a.list("ended commits", kLeastEndedBytes, ended.maps);
}

template <class A>
static void fields(A& a, typename A::template Of<merge::PartitionInfo> info) {
  a.tuple("fields", 12);
  a.clock_number("life", info.life);
  a.boolean("known", info.known);
  a.list("own blocks", 5, info.own);
  a.list("merged blocks", 7, info.merged);
  a.list("heard blocks", 6, info.heard);
  a.list("ended", 4, info.ended);
  a.number("partition count", info.partition_count, 0, merge::kMaxPartitions);
  a.owner_or_nil(info.owner);
  a.text("incomplete", info.incomplete, kMaxTextBytes);
  a.boolean("pending", info.pending);
  a.list("unheard", 2, info.unheard, [](auto& each, auto& name) { each.node("unheard", name); });
  a.number("members", info.members);
}

template <class A>
static void fields(A& a, typename A::template Of<merge::GivenUp> given_up) {
  a.tuple("given up", 4);
  a.text("reason", given_up.reason, kMaxTextBytes);
  a.size("chunks", given_up.chunks);
  a.size("blocks", given_up.blocks);
  a.size("bytes", given_up.bytes);
}

template <class A>
static void fields(A& a, typename A::template Of<merge::ShuffleInfo> info) {
  a.tuple("fields", 16);
  a.size("maps", info.maps);
  a.size("maps lost", info.maps_lost);
  a.size("maps settled", info.maps_settled);
  a.size("maps given up", info.maps_given_up);
  a.size("maps unpushed", info.maps_unpushed);
  a.number("partition count", info.partition_count, 0, merge::kMaxPartitions);
  a.size("bytes", info.bytes);
  a.size("blocks left home", info.blocks_left_home);
  a.size("bytes left home", info.bytes_left_home);
  a.list("given up", 5, info.given_up);
  a.size("merged partitions", info.merged_partitions);
  a.size("merged blocks", info.merged_blocks);
  a.size("merged bytes", info.merged_bytes);
  a.size("duplicate blocks", info.duplicate_blocks);
  a.list("refused commits", 1, info.refused_commits,
         [](A& each, auto& message) { each.text("refused commit", message, kMaxTextBytes); });
  a.owner_or_nil(info.owner);
}

template <class A>
static void fields(A& a, typename A::template Of<std::vector<merge::ShuffleKey>> shuffles) {
  a.tuple("fields", 1);
  a.list("shuffles", 4, shuffles, [](A& each, auto& shuffle) {
    each.tuple("shuffle", 2);
    each.shuffle_key(shuffle);
  });
}

Bytes encode(const merge::PartitionInfo& info) { return write_fields(info); }
Bytes encode(const merge::ShuffleInfo& info) { return write_fields(info); }
Bytes encode(const std::vector<merge::ShuffleKey>& shuffles) {
  FieldWriter writer;
  fields<FieldWriter>(writer, shuffles);
  return writer.raw().take();
}

Result<merge::PartitionInfo> decode_partition_info(std::span<const std::byte> header) {
  return read_fields<merge::PartitionInfo>("partition_info answer", header);
}
Result<merge::ShuffleInfo> decode_shuffle_info(std::span<const std::byte> header) {
  return read_fields<merge::ShuffleInfo>("shuffle_info answer", header);
}
Result<std::vector<merge::ShuffleKey>> decode_shuffles(std::span<const std::byte> header) {
  return read_fields<std::vector<merge::ShuffleKey>>("list_shuffles answer", header);
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

}  // namespace shufflefs::net
