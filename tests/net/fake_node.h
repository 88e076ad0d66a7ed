// A scriptable NodeApi, and messages to send it. Needs no test framework, so that the fuzzer has it
// too.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "merge/node_api.h"

namespace shufflefs::net::testing {

inline merge::AppId app(std::string_view text) { return *merge::AppId::parse(text); }
inline merge::NodeName node_name(std::string_view text) { return *merge::NodeName::parse(text); }
inline merge::ShuffleKey shuffle_key(std::string_view app_text = "app-1", uint32_t shuffle = 7) {
  return {app(app_text), merge::ShuffleId{shuffle}};
}
Buffer buffer_of(std::string_view text);
std::string text_of(const Buffer& buffer);
inline std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

merge::PushRequest sample_push();
merge::AnnounceRequest sample_announce();
merge::PartitionInfo sample_partition_info();
merge::ShuffleInfo sample_shuffle_info();

// Remembers what it was asked, and answers the samples, or `error` if there is one.
class FakeNode final : public merge::NodeApi {
 public:
  Task<Result<merge::PushReply>> push(merge::PushRequest request) override;
  Task<Status> announce(merge::AnnounceRequest request) override;
  Task<Result<merge::PartitionInfo>> partition_info(merge::ShuffleKey shuffle,
                                                    merge::PartitionId partition) override;
  Task<Result<merge::PartitionInfo>> merged_info(merge::ShuffleKey shuffle,
                                                 merge::PartitionId partition) override;
  Task<Result<merge::ShuffleInfo>> shuffle_info(merge::ShuffleKey shuffle) override;
  Task<Result<std::vector<merge::ShuffleKey>>> list_shuffles() override;
  Task<Result<Buffer>> read_merged(merge::ShuffleKey shuffle, merge::PartitionId partition,
                                   uint64_t offset, uint32_t length) override;
  Task<Result<Buffer>> read_block(merge::ShuffleKey shuffle, merge::MapId map, uint64_t commit,
                                  merge::PartitionId partition, uint64_t offset,
                                  uint32_t length) override;
  Task<Result<merge::DropReply>> drop(merge::AppId app, std::optional<merge::ShuffleId> shuffle,
                                      uint64_t life) override;
  Task<Result<std::string>> report(std::string about) override;

  std::vector<std::string> calls;            // "push app-1/7 map 5 ..."
  std::optional<merge::PushRequest> pushed;  // the last one
  std::vector<merge::AnnounceRequest> announced;
  std::optional<Error> error;

 private:
  Status note(std::string call);
};

}  // namespace shufflefs::net::testing
