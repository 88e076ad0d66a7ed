#include "tests/net/fake_node.h"

#include <fmt/format.h>

#include <algorithm>

namespace shufflefs::net::testing {

Buffer buffer_of(std::string_view text) {
  Buffer buffer(text.size());
  std::ranges::copy(bytes_of(text), buffer.data());
  return buffer;
}

std::string text_of(const Buffer& buffer) {
  return {reinterpret_cast<const char*>(buffer.data()), buffer.size()};
}

merge::PushRequest sample_push() {
  merge::PushRequest request;
  request.shuffle = shuffle_key();
  request.sender = node_name("asker");
  request.life = 1'700'000'000'000;
  request.parts = {{merge::MapId{merge::kMaxMapId},
                    {INT64_MAX, merge::NodeTag{UINT64_MAX}},
                    {{merge::PartitionId{0}, 0xFFFFFFFF, 3}}},
                   {merge::MapId{0},
                    {1, merge::tag_of(node_name("node2"))},
                    {{merge::PartitionId{merge::kMaxPartitions - 1}, 0, 4}}}};
  request.payload = buffer_of("abcdefg");
  request.owner = {1000, 0xFFFFFFFE};
  return request;
}

merge::AnnounceRequest sample_announce() {
  merge::AnnounceRequest request;
  request.origin = node_name("asker");
  request.committed.push_back({shuffle_key(),
                               merge::MapId{5},
                               1'700'000'000'001,
                               3,
                               200,
                               {{0, 9, 0, {0xFF, 0x01}}, {100, 40, 2, {0x80, 0, 1}}, {8, 8, 0, {}}},
                               {7, 8}});
  request.committed.push_back({shuffle_key("b", 0), merge::MapId{0}, 1, 0, 0, {}});
  request.ended.push_back(
      {shuffle_key("c", 1), 4, {}, {{merge::MapId{9}, 1'700'000'000'000}, {merge::MapId{2}, 5}}});
  request.ended.push_back({shuffle_key("c", 2), 0, {{1, 7}, {9, INT64_MAX}}, {}});
  request.dropped = {{app("d"), merge::ShuffleId{3}, 9}, {app("e"), std::nullopt, INT64_MAX}};
  return request;
}

merge::PartitionInfo sample_partition_info() {
  merge::PartitionInfo info;
  info.life = 12;
  info.known = true;
  info.own = {{merge::MapId{1}, 5, 0, true}, {merge::MapId{2}, 6, 1ULL << 40U, false}};
  const merge::NodeTag origin = merge::tag_of(node_name("node2"));
  info.merged = {{merge::MapId{3}, {7, origin}, 0, 10, 0xDEADBEEF},
                 {merge::MapId{4}, {INT64_MAX, merge::NodeTag{UINT64_MAX}}, 10, 5, 1}};
  info.heard = {{merge::MapId{5}, node_name("node2"), 8, true},
                {merge::MapId{6}, node_name("node3"), 9, false},
                {merge::MapId{7}, node_name("node3"), 10, std::nullopt}};
  info.ended = {{origin, {{3, 4}}, {{merge::MapId{3}, 5}, {merge::MapId{3}, 6}}},
                {merge::NodeTag{1}, {}, {}}};
  info.incomplete = "/data2 is away";
  info.members = UINT64_MAX;
  info.partition_count = 37;
  info.owner = merge::FileOwner{1000, 1001};
  return info;
}

merge::ShuffleInfo sample_shuffle_info() {
  merge::ShuffleInfo info;
  info.maps = 60;
  info.maps_lost = 3;
  info.maps_settled = 50;
  info.maps_given_up = 6;
  info.maps_unpushed = 4;
  info.partition_count = 37;
  info.bytes = 1ULL << 40U;
  info.blocks_left_home = 2;
  info.bytes_left_home = 128ULL << 20U;
  info.given_up = {{"owner node3: connection refused", 1, 2, 3}};
  info.merged_partitions = 12;
  info.merged_blocks = 700;
  info.merged_bytes = 1ULL << 33U;
  info.duplicate_blocks = 1;
  info.refused_commits = {"maps/5: index is cut off", ""};
  return info;
}

Status FakeNode::note(std::string call) {
  calls.push_back(std::move(call));
  if (error) return *error;
  return ok();
}

Task<Result<merge::PushReply>> FakeNode::push(merge::PushRequest request) {
  const Status noted = note(fmt::format("push {} map {}", to_string(request.shuffle),
                                        merge::number(request.parts.front().map)));
  uint32_t merged = 0;
  for (const merge::PushPart& part : request.parts)
    merged += static_cast<uint32_t>(part.blocks.size());
  pushed = std::move(request);
  CO_TRY(noted);
  co_return merge::PushReply{.merged = merged, .duplicates = 1};
}

Task<Status> FakeNode::announce(merge::AnnounceRequest request) {
  announced.push_back(std::move(request));
  co_return note("announce");
}

Task<Result<merge::PartitionInfo>> FakeNode::partition_info(merge::ShuffleKey shuffle,
                                                            merge::PartitionId partition) {
  CO_TRY(note(fmt::format("partition_info {} {}", to_string(shuffle), merge::number(partition))));
  co_return sample_partition_info();
}

Task<Result<merge::PartitionInfo>> FakeNode::merged_info(merge::ShuffleKey shuffle,
                                                         merge::PartitionId partition) {
  CO_TRY(note(fmt::format("merged_info {} {}", to_string(shuffle), merge::number(partition))));
  co_return sample_partition_info();
}

Task<Result<merge::ShuffleInfo>> FakeNode::shuffle_info(merge::ShuffleKey shuffle) {
  CO_TRY(note("shuffle_info " + to_string(shuffle)));
  co_return sample_shuffle_info();
}

Task<Result<std::vector<merge::ShuffleKey>>> FakeNode::list_shuffles() {
  CO_TRY(note("list_shuffles"));
  co_return std::vector{shuffle_key("x", 1), shuffle_key("y", 2)};
}

Task<Result<Buffer>> FakeNode::read_merged(merge::ShuffleKey shuffle, merge::PartitionId partition,
                                           uint64_t offset, uint32_t length) {
  CO_TRY(note(fmt::format("read_merged {} {} {}+{}", to_string(shuffle), merge::number(partition),
                          offset, length)));
  co_return buffer_of(std::string(length, 'm'));
}

Task<Result<Buffer>> FakeNode::read_block(merge::ShuffleKey shuffle, merge::MapId map,
                                          uint64_t commit, merge::PartitionId partition,
                                          uint64_t offset, uint32_t length) {
  CO_TRY(note(fmt::format("read_block {} map {} commit {} {} {}+{}", to_string(shuffle),
                          merge::number(map), commit, merge::number(partition), offset, length)));
  co_return buffer_of(std::string(length, 'b'));
}

Task<Result<merge::DropReply>> FakeNode::drop(merge::AppId app,
                                              std::optional<merge::ShuffleId> shuffle,
                                              uint64_t life) {
  CO_TRY(note(fmt::format("drop {} {} {}", app.str(),
                          shuffle ? std::to_string(merge::number(*shuffle)) : "all", life)));
  co_return merge::DropReply{life - 1};
}

Task<Result<std::string>> FakeNode::report(std::string about) {
  CO_TRY(note("report " + about));
  co_return "{}";
}

}  // namespace shufflefs::net::testing
