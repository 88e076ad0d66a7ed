// Nodes that say what a test tells them to, for tests of whoever asks: no engine, no disks.
#pragma once

#include <cstring>
#include <utility>

#include "support/node_doubles.h"

namespace shufflefs::merge::testing {

class ScriptedNode final : public shufflefs::testing::ForwardingNode {
 public:
  Task<Result<PartitionInfo>> partition_info(ShuffleKey, PartitionId) override {
    ++questions;
    CO_TRY(before("partition_info"));
    co_return info;
  }
  Task<Result<PartitionInfo>> merged_info(ShuffleKey shuffle, PartitionId partition) override {
    return partition_info(std::move(shuffle), partition);
  }
  Task<Result<Buffer>> read_merged(ShuffleKey, PartitionId, uint64_t offset,
                                   uint32_t length) override {
    CO_TRY(before("read_merged"));
    if (read_error) co_return *read_error;
    co_return part_of(merged_view, offset, length);
  }
  Task<Result<Buffer>> read_block(ShuffleKey, MapId map, uint64_t commit, PartitionId,
                                  uint64_t offset, uint32_t length) override {
    CO_TRY(before("read_block"));
    if (read_error) co_return *read_error;
    const auto it = own_blocks.find({map, commit});
    if (it == own_blocks.end())
      co_return make_error(Code::kBlockLost, "it does not have this commit");
    co_return part_of(it->second, offset, length);
  }
  Task<Result<DropReply>> drop(AppId, std::optional<ShuffleId>, uint64_t life) override {
    CO_TRY(before("drop"));
    dropped.push_back(life);
    const uint64_t before = std::exchange(known_life, std::max(known_life, life));
    co_return DropReply{before};
  }

  bool down = false;
  uint64_t known_life = 0;  // of every name
  std::optional<Error> read_error;
  PartitionInfo info;
  std::string merged_view;
  std::map<std::pair<MapId, uint64_t>, std::string> own_blocks;  // by map id and commit
  int questions = 0;                                             // of partitions
  std::vector<uint64_t> dropped;

 protected:
  Status before(std::string_view /*call*/) override {
    if (down) return make_error(Code::kPeerUnreachable, "connection refused");
    return ok();
  }

 private:
  static Result<Buffer> part_of(const std::string& bytes, uint64_t offset, uint32_t length) {
    if (offset + length > bytes.size())
      return make_error(Code::kIo, "the file ends before these bytes");
    Buffer buffer(length);
    std::memcpy(buffer.data(), bytes.data() + offset, length);
    return buffer;
  }
};

// node1, node2, ...; seen by node1.
class ScriptedCluster final : public shufflefs::testing::FixedCluster {
 public:
  explicit ScriptedCluster(std::size_t count) : FixedCluster(name(0)) {
    for (std::size_t i = 0; i < count; ++i)
      add(name(i), nodes_.emplace_back(std::make_shared<ScriptedNode>()));
  }
  static NodeName name(std::size_t i) { return shufflefs::testing::node_name(i); }
  ScriptedNode& at(std::size_t i) { return *nodes_.at(i); }

 private:
  std::vector<std::shared_ptr<ScriptedNode>> nodes_;
};

}  // namespace shufflefs::merge::testing
