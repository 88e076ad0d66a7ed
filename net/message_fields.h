// The fields of every message and record, each declared once: order and limits are on the wire.
// Include it where messages are encoded or decoded.
//
// A field that is added changes the protocol: kProtocolVersion, and `shufflefs generate-docs`.
#pragma once

#include "base/endian.h"
#include "net/message_archive.h"
#include "net/messages.h"

namespace shufflefs::net {

// ---- parts of several messages ----

template <class A>
void fields(A&, Nothing&) {}

template <class A>
void shuffle_field(A& a, merge::ShuffleId& shuffle) {
  a.number("shuffle", shuffle, 0, merge::kMaxShuffleId);
}
template <class A>
void map_field(A& a, merge::MapId& map) {
  a.number("map", map, 0, merge::kMaxMapId);
}
template <class A>
void partition_field(A& a, merge::PartitionId& partition) {
  a.number("partition", partition, 0, merge::kMaxPartitions - 1);
}

template <class A>
void fields(A& a, merge::ShuffleKey& key) {
  a.name("app", key.app);
  shuffle_field(a, key.shuffle);
}

template <class A>
void fields(A& a, merge::CommitId& id) {
  a.clock("commit", id.commit);
  a.number("origin", id.origin);
}

template <class A>
void fields(A& a, merge::FileOwner& owner) {
  constexpr uint64_t kMaxId = UINT32_MAX - 1;  // -1 means nobody
  a.number("user id", owner.uid, 0, kMaxId);
  a.number("group id", owner.gid, 0, kMaxId);
}
template <class A>
void owner_or_nil(A& a, std::optional<merge::FileOwner>& owner) {
  a.optional("owner", owner, [](auto& each, merge::FileOwner& of) { each.record("owner", of); });
}

template <class A>
void fields(A& a, HostPort& address) {
  a.text("host", address.host, kMaxHostBytes);
  a.number("port", address.port);
}

// ---- handshake ----

// The version is the first field in every version of the protocol.
template <class A>
void fields_of_both_hellos(A& a, auto& hello) {
  uint32_t version = kProtocolVersion;
  a.number("protocol version", version);
  a.number("features", hello.features);
  a.name("node", hello.sender.name);
  a.number("incarnation", hello.sender.incarnation);
}

template <class A>
void fields(A& a, Hello& hello) {
  constexpr std::size_t kMaxNameBytes = 100;
  fields_of_both_hellos(a, hello);
  a.text("expected name", hello.expected, kMaxNameBytes);
  a.bytes("nonce", std::span<std::byte>(hello.nonce));
  fields(a, hello.address);
  a.number("clock", hello.clock, 0, kMostClock);
}

template <class A>
void fields(A& a, HelloResponse& hello) {
  fields_of_both_hellos(a, hello);
  a.bytes("nonce", std::span<std::byte>(hello.nonce));
  fields(a, hello.address);
  a.number("clock", hello.clock, 0, kMostClock);
  a.text("caller's host", hello.caller_host, kMaxHostBytes);
}

template <class A>
void fields(A& a, Proof& proof) {
  a.bytes("proof", std::span<std::byte>(proof.code));
}

// ---- members ----

template <class A>
void fields(A& a, MemberDigest& digest) {
  a.number("digest of records", digest.records);
  a.number("hash of names", digest.view);
}

template <class A>
void fields(A& a, Pong& pong) {
  a.number("incarnation", pong.incarnation);
  fields(a, pong.digest);
}

template <class A>
void fields(A& a, MemberRecord& record) {
  a.name("member", record.name);
  fields(a, record.address);
  a.number("incarnation", record.incarnation);
  a.number("clock", record.clock, 0, kMostClock);
  a.boolean("left", record.left);
}

template <class A>
void fields(A& a, MemberExchange& exchange) {
  a.bytes("digests", std::as_writable_bytes(std::span(exchange.digests)));  // little-endian
  a.records("records", exchange.records, 2 * kMostMembers);
}

// ---- push ----

template <class A>
void fields(A& a, merge::PushBlock& block) {
  partition_field(a, block.partition);
  a.number("crc", block.crc);
  a.number("block length", block.length, 1, kMaxLength);
}

template <class A>
void fields(A& a, merge::PushPart& part) {
  map_field(a, part.map);
  fields(a, part.id);
  a.records("blocks", part.blocks);
  a.check([&part](auto& reader) {
    if (part.blocks.empty()) reader.refuse("blocks", "there are none");
  });
}

// The lengths of all blocks add up to the payload; an offer has none.
void check_blocks(MessageReader& reader, const merge::PushRequest& request);

// REQUIRES: the payload is there before the header is read.
template <class A>
void fields(A& a, merge::PushRequest& request) {
  fields(a, request.shuffle);
  a.name("sender", request.sender);
  a.clock("life", request.life);
  a.number("offer", request.offer);
  a.record("owner", request.owner);
  a.records("parts", request.parts);
  a.check([&request](auto& reader) { check_blocks(reader, request); });
}

template <class A>
void fields(A& a, merge::PushReply& reply) {
  a.number("merged", reply.merged);
  a.number("duplicates", reply.duplicates);
  a.number("missing", reply.missing);
  a.size("credit", reply.credit_bytes);
  a.number("busy", reply.busy_ms);
}

// ---- announce ----

// Bits behind the last partition are 0.
void check_bits(MessageReader& reader, const merge::PartitionBits& bits);

template <class A>
void fields(A& a, merge::AnnouncedMap& announced) {
  fields(a, announced.shuffle);
  map_field(a, announced.map);
  a.clock("commit", announced.commit);
  a.clock("life", announced.life);
  a.record("owner", announced.owner);
  a.number("partition count", announced.partition_count, 0, merge::kMaxPartitions);
  a.records_of("ranges", announced.ranges, [&announced](auto& each, merge::PartitionBits& bits) {
    each.number("first partition", bits.first, 0, announced.partition_count);
    each.number("partitions of a range", bits.count, 1, announced.partition_count - bits.first);
    const uint64_t size = (uint64_t{bits.count} + 7) / 8;
    each.number("skipped bytes", bits.skipped_bytes, 0, size);
    each.bytes("partition bits", bits.non_empty, size - bits.skipped_bytes);
    each.check([&bits](auto& reader) { check_bits(reader, bits); });
  });
}

template <class A>
void fields(A& a, merge::EndedMaps::Ended& ended) {
  map_field(a, ended.map);
  a.clock("commit", ended.commit);
}

template <class A>
void fields(A& a, merge::CommitRange& range) {
  a.clock("first", range.first);
  a.clock("last", range.last);
}

template <class A>
void fields(A& a, merge::EndedMaps& ended) {
  fields(a, ended.shuffle);
  a.clock("life", ended.life);
  a.records("ended ranges", ended.ranges);
  a.records("ended commits", ended.maps);
}

template <class A>
void app_or_shuffle(A& a, merge::AppId& app, std::optional<merge::ShuffleId>& shuffle) {
  a.name("app", app);
  a.optional("shuffle", shuffle, [](auto& each, merge::ShuffleId& of) { shuffle_field(each, of); });
}

template <class A>
void fields(A& a, merge::DroppedName& dropped) {
  app_or_shuffle(a, dropped.app, dropped.shuffle);
  a.clock("life", dropped.life);
}

template <class A>
void fields(A& a, merge::AnnounceRequest& request) {
  a.name("origin", request.origin);
  a.records("committed", request.committed);
  a.records("ended", request.ended);
  a.records("dropped", request.dropped);
  a.boolean("whole", request.whole);
}

// ---- requests of ids and numbers ----

template <class A>
void fields(A& a, PartitionRequest& request) {
  fields(a, request.shuffle);
  partition_field(a, request.partition);
}

template <class A>
void fields(A& a, ShuffleRequest& request) {
  fields(a, request.shuffle);
}

template <class A>
void range_fields(A& a, uint64_t& offset, uint32_t& length) {
  a.number("offset", offset, 0, kMaxLength - merge::kMaxReadBytes);
  a.number("length", length, 1, merge::kMaxReadBytes);
}

template <class A>
void fields(A& a, ReadMergedRequest& request) {
  fields(a, request.shuffle);
  partition_field(a, request.partition);
  range_fields(a, request.offset, request.length);
}

template <class A>
void fields(A& a, ReadBlockRequest& request) {
  fields(a, request.shuffle);
  map_field(a, request.map);
  a.clock("commit", request.commit);
  partition_field(a, request.partition);
  range_fields(a, request.offset, request.length);
}

template <class A>
void fields(A& a, DropRequest& request) {
  app_or_shuffle(a, request.app, request.shuffle);
  a.clock("life", request.life);
}

template <class A>
void fields(A& a, ReportRequest& request) {
  a.text("about", request.about, merge::kMaxReportNameBytes);
}

// ---- responses ----

template <class A>
void fields(A& a, merge::DropReply& reply) {
  a.clock("life_before", reply.life_before);
}

// The report.
template <class A>
void fields(A& a, std::string& text) {
  a.text("text", text, merge::kMaxReportBytes);
}

template <class A>
void fields(A& a, Refusal& refusal) {
  constexpr uint64_t kMaxErrno = 4095;  // the kernel's own bound
  a.number("code", refusal.error.code, 1, INT32_MAX);
  a.number("errno", refusal.error.sys_errno, 0, kMaxErrno);
  a.text("message", refusal.error.message, kMaxTextBytes);
}

template <class A>
void fields(A& a, merge::OwnBlock& block) {
  map_field(a, block.map);
  a.clock("commit", block.commit);
  a.size("length", block.length);
  a.boolean("lost", block.lost);
}

template <class A>
void fields(A& a, merge::MergedBlock& block) {
  map_field(a, block.map);
  fields(a, block.id);
  a.size("offset", block.offset);
  a.number("length", block.length, 0, kMaxLength - block.offset);
  a.number("crc", block.crc);
}

template <class A>
void fields(A& a, merge::HeardBlock& block) {
  map_field(a, block.map);
  a.name("origin", block.origin);
  a.clock("commit", block.commit);
  a.optional("non-empty", block.non_empty,
             [](auto& each, bool& of) { each.boolean("non-empty", of); });
}

template <class A>
void fields(A& a, merge::EndedAt& ended) {
  a.number("origin", ended.origin);
  a.records("ended ranges", ended.ranges);
  a.records("ended commits", ended.maps);
}

template <class A>
void fields(A& a, merge::PartitionInfo& info) {
  a.clock("life", info.life);
  a.boolean("known", info.known);
  a.records("own blocks", info.own);
  a.records("merged blocks", info.merged);
  a.records("heard blocks", info.heard);
  a.records("ended", info.ended);
  a.number("partition count", info.partition_count, 0, merge::kMaxPartitions);
  owner_or_nil(a, info.owner);
  a.text("incomplete", info.incomplete, kMaxTextBytes);
  a.boolean("pending", info.pending);
  a.list("unheard", info.unheard,
         [](auto& each, merge::NodeName& name) { each.name("unheard", name); });
  a.number("members", info.members);
}

template <class A>
void fields(A& a, merge::GivenUp& given_up) {
  a.text("reason", given_up.reason, kMaxTextBytes);
  a.size("chunks", given_up.chunks);
  a.size("blocks", given_up.blocks);
  a.size("bytes", given_up.bytes);
}

template <class A>
void fields(A& a, merge::ShuffleInfo& info) {
  a.size("maps", info.maps);
  a.size("maps lost", info.maps_lost);
  a.size("maps settled", info.maps_settled);
  a.size("maps given up", info.maps_given_up);
  a.size("maps unpushed", info.maps_unpushed);
  a.number("partition count", info.partition_count, 0, merge::kMaxPartitions);
  a.size("bytes", info.bytes);
  a.size("blocks left home", info.blocks_left_home);
  a.size("bytes left home", info.bytes_left_home);
  a.records("given up", info.given_up);
  a.size("merged partitions", info.merged_partitions);
  a.size("merged blocks", info.merged_blocks);
  a.size("merged bytes", info.merged_bytes);
  a.size("duplicate blocks", info.duplicate_blocks);
  a.list("refused commits", info.refused_commits, [](auto& each, std::string& message) {
    each.text("refused commit", message, kMaxTextBytes);
  });
  owner_or_nil(a, info.owner);
}

template <class A>
void fields(A& a, std::vector<merge::ShuffleKey>& shuffles) {
  a.records("shuffles", shuffles);
}

}  // namespace shufflefs::net
