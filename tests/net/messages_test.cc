#include "net/messages.h"

#include "base/crc32c.h"
#include "net/handshake.h"
#include "net/message_fields.h"
#include "tests/net/support.h"

namespace shufflefs::net::testing {
namespace {

Bytes push_header(uint64_t partition, uint64_t length, uint64_t map = 1,
                  std::string_view app_name = "app") {
  MessageWriter writer;
  writer.tuple(7);
  writer.text("", app_name, 1000);
  writer.number("", 1);
  writer.text("", "node1", 100);
  writer.number("", 0);
  writer.number("", 0);
  writer.tuple(2);
  writer.number("", 0);
  writer.number("", 0);
  writer.tuple(1);
  writer.tuple(4);
  writer.number("", map);
  writer.number("", 7);
  writer.number("", 8);
  writer.tuple(1);
  writer.tuple(3);
  writer.number("", partition);
  writer.number("", 0);
  writer.number("", length);
  return writer.take();
}

Result<merge::PushRequest> decode_push(std::span<const std::byte> header, Buffer payload) {
  merge::PushRequest request;
  request.payload = std::move(payload);
  return decode("push", header, std::move(request));
}

std::string refusal_of(const Bytes& header, std::string_view payload) {
  auto decoded = decode_push(header, buffer_of(payload));
  REQUIRE(!decoded);
  CHECK(decoded.error().code == Code::kProtocol);
  return decoded.error().message;
}

TEST_CASE("a push comes back as it was", "[messages]") {
  const merge::PushRequest sent = sample_push();
  const auto got = decode_push(encode(sent), buffer_of("abcdefg"));
  REQUIRE(got);
  CHECK(got->shuffle == sent.shuffle);
  CHECK(got->sender == sent.sender);
  CHECK(got->life == sent.life);
  CHECK(got->owner == sent.owner);
  CHECK_FALSE(got->offer);
  REQUIRE(got->parts.size() == 2);
  for (std::size_t i = 0; i < 2; ++i) {
    CHECK(got->parts[i].map == sent.parts[i].map);
    CHECK(got->parts[i].id == sent.parts[i].id);
    REQUIRE(got->parts[i].blocks.size() == 1);
    CHECK(got->parts[i].blocks[0].partition == sent.parts[i].blocks[0].partition);
    CHECK(got->parts[i].blocks[0].crc == sent.parts[i].blocks[0].crc);
    CHECK(got->parts[i].blocks[0].length == sent.parts[i].blocks[0].length);
  }
  CHECK(text_of(got->payload) == "abcdefg");
  const auto reply =
      decode<merge::PushReply>("push", encode(merge::PushReply{0xFFFFFFFF, 3, 4, 5, 6}));
  REQUIRE(reply);
  CHECK(reply->merged == 0xFFFFFFFF);
  CHECK(reply->duplicates == 3);
  CHECK(reply->missing == 4);
  CHECK(reply->credit_bytes == 5);
  CHECK(reply->busy_ms == 6);
  merge::PushRequest offer = sample_push();
  offer.offer = true;
  const auto offered = decode_push(encode(offer), Buffer{});
  REQUIRE(offered);
  CHECK(offered->offer);
  CHECK(offered->parts.size() == 2);
}

// Made by the codec of each message that was here before fields() was.
TEST_CASE("the bytes of protocol 4 stay what they were", "[messages]") {
  struct Kept {
    Bytes header;
    std::size_t size;
    uint32_t crc;
  };
  const HostPort address{"10.0.0.5", 7338};
  const NodeIdentity sender{node_name("n"), 1};
  const std::vector<Kept> kept = {
      {encode(sample_push()), 92, 0xC1242F49},
      {encode(sample_announce()), 131, 0xCDACE312},
      {encode(merge::PushReply{0xFFFFFFFF, 3, 4, 5, 6}), 10, 0xF469EBC7},
      {encode(sample_partition_info()), 156, 0xC5CF62F1},
      {encode(sample_shuffle_info()), 103, 0x0CB17E86},
      {encode(std::vector{shuffle_key("a", 1), shuffle_key("b", 2)}), 10, 0xB258D7DA},
      {encode(PartitionRequest{shuffle_key(), merge::PartitionId{36}}), 9, 0xC92ABD36},
      {encode(ShuffleRequest{shuffle_key()}), 8, 0x9CA1CCEA},
      {encode(ReadMergedRequest{shuffle_key(), merge::PartitionId{1}, 1ULL << 40U, 4096}), 21,
       0xD1588029},
      {encode(ReadBlockRequest{shuffle_key(), merge::MapId{9}, 6, merge::PartitionId{1}, 5, 77}),
       13, 0xD2254EA5},
      {encode(DropRequest{app("app"), {}, 3}), 7, 0x074602AC},
      {encode(DropRequest{app("app"), merge::ShuffleId{7}, 3}), 7, 0x79FFF714},
      {encode(ReportRequest{"sizes a/1 0 2 3"}), 17, 0xDC17C7B2},
      {encode(std::string("{}")), 4, 0xD3F0E05F},
      {encode(Nothing{}), 1, 0xC0D5AF46},
      {encode(Refusal{Error{Code::kIo, EIO, "disk"}}), 10, 0x314C83ED},
      {encode(Hello{kProvesSecret, sender, "m", Nonce{std::byte{9}}, address, 8}), 55, 0x96D060E0},
      {encode(HelloResponse{0, sender, {}, address, 9, "10.0.0.6"}), 62, 0x44D93B6C},
      {encode(Proof{Bytes(32, std::byte{7})}), 35, 0x01D1AA1E},
      {encode(MemberDigest{1, 2}), 3, 0x2617133E},
      {encode(Pong{1, {2, 3}}), 4, 0x00D5EB98},
      {encode(MemberExchange{{7}, {{node_name("n"), {"10.0.0.1", 7338}, 1, 2, true}}}), 2071,
       0xD1D18E64}};
  for (std::size_t i = 0; i < kept.size(); ++i) {
    INFO(i);
    CHECK(kept[i].header.size() == kept[i].size);
    CHECK(crc32c(kept[i].header) == kept[i].crc);
  }
}

TEST_CASE("a push whose blocks and payload disagree is refused", "[messages]") {
  CHECK(decode_push(push_header(0, 3), buffer_of("abc")));
  CHECK_THAT(refusal_of(push_header(0, 3), "ab"),
             ContainsSubstring("block length: 3 is not within 1 to 2"));
  CHECK_THAT(refusal_of(push_header(0, 3), "abcd"),
             ContainsSubstring("1 bytes of the payload belong to no block"));
  CHECK_THAT(refusal_of(push_header(0, 0), ""), ContainsSubstring("block length: 0 is not within"));
  CHECK_THAT(refusal_of(push_header(0, UINT64_MAX), "ab"),
             ContainsSubstring("18446744073709551615"));
}

TEST_CASE("ids out of range and names that are paths are refused", "[messages]") {
  CHECK_THAT(refusal_of(push_header(merge::kMaxPartitions, 1), "a"),
             ContainsSubstring("partition: 16777216 is not within"));
  CHECK_THAT(refusal_of(push_header(0, 1, merge::kMaxMapId + 1), "a"),
             ContainsSubstring("map: 9223372036854775808"));
  CHECK_THAT(refusal_of(push_header(0, 1, 1, "../etc"), "a"),
             ContainsSubstring("bad push message: app: "));
  CHECK_THAT(refusal_of(push_header(0, 1, 1, "a/b"), "a"), ContainsSubstring("app"));
  CHECK_THAT(refusal_of(push_header(0, 1, 1, std::string(300, 'a')), "a"),
             ContainsSubstring("its length 300 is above the limit of 200"));
}

TEST_CASE("a count that the message cannot hold is refused before anything is reserved",
          "[messages]") {
  MessageWriter writer;
  writer.tuple(7);
  writer.text("", "app-1", 100);
  writer.number("", 7);
  writer.text("", "node1", 100);
  writer.number("", 0);
  writer.number("", 0);
  writer.tuple(2);
  writer.number("", 0);
  writer.number("", 0);
  writer.tuple(0xFFFFFFFF);
  CHECK_THAT(refusal_of(writer.take(), "a"),
             ContainsSubstring("4294967295 elements cannot fit the 0 bytes that are left"));
}

TEST_CASE("a message with bytes behind its end, or of another shape, is refused", "[messages]") {
  Bytes longer = push_header(0, 1);
  longer.push_back(std::byte{0});
  CHECK_THAT(refusal_of(longer, "a"), ContainsSubstring("bytes follow the last field"));
  CHECK_THAT(refusal_of(encode(Nothing{}), "a"), ContainsSubstring("0 fields instead of 7"));
  CHECK_THAT(refusal_of({std::byte{0x81}}, "a"), ContainsSubstring("not an array"));
  CHECK_THAT(refusal_of({}, "a"), ContainsSubstring("the message ends before it"));
}

TEST_CASE("an announcement comes back as it was", "[messages]") {
  const merge::AnnounceRequest sent = sample_announce();
  const auto got = decode<merge::AnnounceRequest>("announce", encode(sent));
  REQUIRE(got);
  CHECK(got->origin == sent.origin);
  REQUIRE(got->committed.size() == 2);
  CHECK(got->committed[0].shuffle == sent.committed[0].shuffle);
  CHECK(got->committed[0].commit == 1'700'000'000'001);
  CHECK(got->committed[0].life == 3);
  CHECK(got->committed[0].owner == merge::FileOwner{7, 8});
  CHECK(got->committed[0].partition_count == 200);
  CHECK(got->committed[0].ranges == sent.committed[0].ranges);
  CHECK(got->committed[1].ranges.empty());
  REQUIRE(got->ended.size() == 2);
  CHECK(got->ended[0].shuffle == sent.ended[0].shuffle);
  CHECK(got->ended[0].life == 4);
  CHECK(got->ended[0].ranges.empty());
  CHECK(got->ended[0].maps == sent.ended[0].maps);
  CHECK(got->ended[1].ranges == sent.ended[1].ranges);
  CHECK(got->ended[1].maps.empty());
  CHECK(got->dropped == sent.dropped);
}

TEST_CASE("numbers of logical clocks are refused where a clock would overflow", "[messages]") {
  constexpr uint64_t kTooLarge = uint64_t{INT64_MAX} + 1;
  const auto refuses = [](auto change) {
    merge::AnnounceRequest request = sample_announce();
    change(request);
    return !decode<merge::AnnounceRequest>("announce", encode(request));
  };
  CHECK_FALSE(refuses([](auto&) {}));
  CHECK(refuses([](auto& request) { request.committed[0].commit = kTooLarge; }));
  CHECK(refuses([](auto& request) { request.committed[0].life = kTooLarge; }));
  CHECK(refuses([](auto& request) { request.ended[0].life = kTooLarge; }));
  CHECK(refuses([](auto& request) { request.ended[0].ranges = {{1, kTooLarge}}; }));
  CHECK(refuses([](auto& request) { request.ended[0].maps[1].commit = kTooLarge; }));
  CHECK(refuses([](auto& request) { request.dropped[1].life = kTooLarge; }));
  merge::PushRequest push = sample_push();
  push.parts[0].id.commit = kTooLarge;
  CHECK(!decode_push(encode(push), buffer_of("abcdefg")));
  push = sample_push();
  push.life = kTooLarge;
  CHECK(!decode_push(encode(push), buffer_of("abcdefg")));
  CHECK(!decode<DropRequest>("drop", encode(DropRequest{app("a"), std::nullopt, kTooLarge})));
  CHECK(!decode<ReadBlockRequest>("read_block",
                                  encode(ReadBlockRequest{shuffle_key(), merge::MapId{1}, kTooLarge,
                                                          merge::PartitionId{0}, 0, 1})));
  merge::PartitionInfo info = sample_partition_info();
  info.life = kTooLarge;
  CHECK(!decode<merge::PartitionInfo>("partition_info", encode(info)));
  info = sample_partition_info();
  info.merged[0].id.commit = kTooLarge;
  CHECK(!decode<merge::PartitionInfo>("partition_info", encode(info)));
}

TEST_CASE("partition bits must fit their range", "[messages]") {
  auto refusal = [](merge::PartitionBits bits, uint32_t partitions) {
    merge::AnnounceRequest request = sample_announce();
    request.committed[0].partition_count = partitions;
    request.committed[0].ranges = {std::move(bits)};
    auto decoded = decode<merge::AnnounceRequest>("announce", encode(request));
    REQUIRE(!decoded);
    return decoded.error().message;
  };
  CHECK_THAT(refusal({0, 9, 0, {1, 1, 1}}, 9),
             ContainsSubstring("its length 3 is above the limit of 2"));
  CHECK_THAT(refusal({0, 9, 1, {1, 1}}, 9),
             ContainsSubstring("its length 2 is above the limit of 1"));
  CHECK_THAT(refusal({0, 9, 3, {}}, 9), ContainsSubstring("skipped bytes: 3 is not within 0 to 2"));
  CHECK_THAT(refusal({0, 9, 0, {1, 2}}, 9),
             ContainsSubstring("bits behind the last partition are set"));
  CHECK_THAT(refusal({0, 9, 1, {2}}, 9),
             ContainsSubstring("bits behind the last partition are set"));
  CHECK_THAT(refusal({5, 5, 0, {1}}, 9), ContainsSubstring("5 is not within 1 to 4"));
  CHECK_THAT(refusal({0xFFFFFFFF, 1, 0, {1}}, 9), ContainsSubstring("first partition"));
  CHECK_THAT(refusal({0, 0, 0, {}}, 9), ContainsSubstring("partitions of a range"));
}

TEST_CASE("a large announcement is split, and nothing of it is lost", "[messages]") {
  merge::AnnounceRequest request;
  request.origin = node_name("node1");
  merge::EndedMaps many{shuffle_key(), 7, {{2, 3}}, {}};
  for (uint64_t i = 0; i < 1000; ++i) {
    request.committed.push_back({shuffle_key(),
                                 merge::MapId{i},
                                 INT64_MAX,
                                 INT64_MAX,
                                 800,
                                 {{0, 800, 0, std::vector<uint8_t>(100, 1)}}});
    many.maps.push_back({merge::MapId{merge::kMaxMapId}, INT64_MAX - i});
    request.dropped.push_back({app("an-application"), merge::ShuffleId{7}, INT64_MAX - i});
  }
  request.ended = {
      {shuffle_key(), 7, {{1, INT64_MAX}}, {}}, many, {shuffle_key("b"), 0, {{9, 9}}, {}}};
  const auto parts = split_announcement(request, 4096);
  CHECK(parts.size() > 40);
  uint64_t committed = 0;
  uint64_t dropped = 0;
  std::vector<merge::EndedMaps> ended;
  for (const auto& part : parts) {
    CHECK(encode(part).size() <= 4096 + 200);
    CHECK(part.origin == request.origin);
    for (const auto& name : part.dropped) {
      CHECK(name == request.dropped[dropped++]);
      CHECK(committed == 0);  // a drop is told before what belongs to the life that it begins
    }
    for (const auto& announced : part.committed) CHECK(merge::number(announced.map) == committed++);
    for (const auto& more : part.ended) {
      const bool goes_on = !ended.empty() && ended.back().shuffle == more.shuffle &&
                           ended.back().ranges == more.ranges;
      if (!goes_on) {
        ended.push_back(more);
        continue;
      }
      CHECK(ended.back().life == more.life);
      CHECK_FALSE(more.maps.empty());
      ended.back().maps.insert(ended.back().maps.end(), more.maps.begin(), more.maps.end());
    }
  }
  CHECK(committed == 1000);
  CHECK(dropped == 1000);
  REQUIRE(ended.size() == 3);
  CHECK(ended[0].ranges == std::vector<merge::CommitRange>{{1, INT64_MAX}});
  CHECK(ended[1].maps == many.maps);
  CHECK(ended[2].shuffle == shuffle_key("b"));
  // Who has nothing more to tell says so, in the last part alone.
  request.whole = true;
  const auto whole = split_announcement(request, 4096);
  for (const auto& part : whole) CHECK(part.whole == (&part == &whole.back()));
  request = {};
  for (const bool nothing_more : {false, true}) {
    request.whole = nothing_more;
    const auto empty = split_announcement(request, 4096);
    REQUIRE(empty.size() == 1);
    CHECK(empty[0].whole == nothing_more);
  }
}

TEST_CASE("questions come back as they were", "[messages]") {
  const auto partition = decode<PartitionRequest>(
      "partition_info", encode(PartitionRequest{shuffle_key(), merge::PartitionId{36}}));
  REQUIRE(partition);
  CHECK(partition->shuffle == shuffle_key());
  CHECK(partition->partition == merge::PartitionId{36});
  const auto shuffle =
      decode<ShuffleRequest>("shuffle_info", encode(ShuffleRequest{shuffle_key()}));
  REQUIRE(shuffle);
  CHECK(shuffle->shuffle == shuffle_key());
  const auto merged = decode<ReadMergedRequest>(
      "read_merged",
      encode(ReadMergedRequest{shuffle_key(), merge::PartitionId{1}, 1ULL << 40U, 4096}));
  REQUIRE(merged);
  CHECK(merged->offset == 1ULL << 40U);
  CHECK(merged->length == 4096);
  const auto block = decode<ReadBlockRequest>(
      "read_block", encode(ReadBlockRequest{shuffle_key(), merge::MapId{9}, 77,
                                            merge::PartitionId{1}, 5, merge::kMaxReadBytes}));
  REQUIRE(block);
  CHECK(block->commit == 77);
  CHECK(block->map == merge::MapId{9});
  CHECK(block->length == merge::kMaxReadBytes);
  const auto report = decode<ReportRequest>("report", encode(ReportRequest{"sizes a/1 0 2 3"}));
  REQUIRE(report);
  CHECK(report->about == "sizes a/1 0 2 3");
  CHECK(decode<std::string>("report", encode(std::string("{}"))).value() == "{}");
  for (const std::optional<merge::ShuffleId> which :
       {std::optional<merge::ShuffleId>(), std::optional(merge::ShuffleId{0})}) {
    const auto drop = decode<DropRequest>("drop", encode(DropRequest{app("app"), which, 12}));
    REQUIRE(drop);
    CHECK(drop->app == app("app"));
    CHECK(drop->shuffle == which);
    CHECK(drop->life == 12);
  }
}

TEST_CASE("reads of nothing or of too much are refused", "[messages]") {
  for (const uint32_t length : {0U, merge::kMaxReadBytes + 1}) {
    CHECK(!decode<ReadMergedRequest>(
        "read_merged", encode(ReadMergedRequest{shuffle_key(), merge::PartitionId{1}, 0, length})));
  }
  CHECK(!decode<ReadMergedRequest>(
      "read_merged",
      encode(ReadMergedRequest{shuffle_key(), merge::PartitionId{1}, UINT64_MAX, 1})));
}

TEST_CASE("answers come back as they were", "[messages]") {
  const merge::PartitionInfo sent = sample_partition_info();
  const auto info = decode<merge::PartitionInfo>("partition_info", encode(sent));
  REQUIRE(info);
  CHECK(encode(*info) == encode(sent));
  CHECK(info->life == 12);
  CHECK(info->known);
  CHECK(info->own == sent.own);
  CHECK(info->merged == sent.merged);
  CHECK(info->heard == sent.heard);
  CHECK(info->ended == sent.ended);
  CHECK(info->incomplete == sent.incomplete);
  CHECK(info->members == UINT64_MAX);
  CHECK(info->partition_count == 37);

  const auto shuffle = decode<merge::ShuffleInfo>("shuffle_info", encode(sample_shuffle_info()));
  REQUIRE(shuffle);
  CHECK(encode(*shuffle) == encode(sample_shuffle_info()));
  CHECK(shuffle->maps == 60);
  CHECK(shuffle->maps_lost == 3);
  CHECK(shuffle->duplicate_blocks == 1);
  CHECK(shuffle->given_up.at(0).reason == "owner node3: connection refused");
  CHECK(shuffle->refused_commits.size() == 2);

  const std::vector shuffles = {shuffle_key("a", 1), shuffle_key("b", merge::kMaxShuffleId)};
  CHECK(*decode<std::vector<merge::ShuffleKey>>("list_shuffles", encode(shuffles)) == shuffles);
  CHECK(decode<Nothing>("empty", encode(Nothing{})));
  CHECK(!decode<Nothing>("empty", encode(Proof{})));
}

TEST_CASE("an error keeps code, errno and message; unknown codes survive, long messages are cut",
          "[messages]") {
  const auto got = decode<Refusal>(
      "error", encode(Refusal{Error{Code::kIo, ENOSPC, "disk1: no space left on device"}}));
  REQUIRE(got);
  CHECK(got->error.code == Code::kIo);
  CHECK(got->error.sys_errno == ENOSPC);
  CHECK(got->error.message == "disk1: no space left on device");
  const auto newer = decode<Refusal>(
      "error", encode(Refusal{Error{static_cast<Code>(7777), 0, std::string(100'000, 'x')}}));
  REQUIRE(newer);
  CHECK(to_string(newer->error.code) == "unknown");
  CHECK(newer->error.message.size() == kMaxTextBytes);
  CHECK(!decode<Refusal>("error", encode(Refusal{Error{Code::kOk, 0, "no error at all"}})));
}

TEST_CASE("a text of any bytes arrives as one that everybody can show", "[messages]") {
  merge::ShuffleInfo info;
  info.refused_commits = {"a\xFF\n\x1B[2J", std::string(5000, '\xFF')};
  const Bytes header = encode(info);
  const auto back = decode<merge::ShuffleInfo>("shuffle_info", header);
  REQUIRE(back);
  CHECK(back->refused_commits.at(0) == R"(a\xff\x0a\x1b[2J)");
  CHECK(back->refused_commits.at(1).starts_with(R"(\xff\xff)"));
}

TEST_CASE("an odd text of a peer does not make its answer unreadable", "[messages]") {
  MessageWriter writer;
  writer.tuple(1);
  writer.text("", "?", 10);
  Bytes header = writer.take();
  header.back() = std::byte{0xFF};
  MessageReader reader("odd", header);
  reader.tuple("odd", 1);
  std::string text;
  reader.text("reason", text, 10);
  CHECK(text == "\xFF");
  CHECK(reader.finish(true));
}

TEST_CASE("a request type decides how much is read for it", "[messages]") {
  CHECK(request_limits(request_number(MessageType::kPush), 1000)->payload_bytes == 1000);
  CHECK(request_limits(request_number(MessageType::kDrop), 1000)->payload_bytes == 0);
  for (const int type : {0, 1, 2, 3, 5, 17, 62, 65535}) {
    CHECK(!request_limits(static_cast<uint16_t>(type), 1000));
  }
  CHECK(response_limits(response_number(MessageType::kReadBlock), MessageType::kReadBlock, 10)
            ->payload_bytes == 10);
  CHECK(response_limits(request_number(MessageType::kError), MessageType::kReadBlock, 10)
            ->payload_bytes == 0);
  CHECK(!response_limits(response_number(MessageType::kReadMerged), MessageType::kReadBlock, 10));
}

}  // namespace
}  // namespace shufflefs::net::testing
