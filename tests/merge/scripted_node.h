// Nodes that say what a test tells them to, for tests of whoever asks: no engine, no disks.
#pragma once

#include <fmt/format.h>

#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "merge/cluster.h"

namespace shufflefs::merge::testing {

class ScriptedNode final : public NodeApi {
 public:
  Task<Result<PushReply>> push(PushRequest) override { co_return unscripted(); }
  Task<Status> announce(AnnounceRequest) override { co_return unscripted(); }
  Task<Result<PartitionInfo>> partition_info(ShuffleKey, PartitionId) override {
    ++questions;
    if (down) co_return unreachable();
    co_return info;
  }
  Task<Result<PartitionInfo>> merged_info(ShuffleKey, PartitionId) override {
    ++questions;
    if (down) co_return unreachable();
    co_return info;
  }
  Task<Result<ShuffleInfo>> shuffle_info(ShuffleKey) override { co_return unscripted(); }
  Task<Result<std::vector<ShuffleKey>>> list_shuffles() override { co_return unscripted(); }
  Task<Result<Buffer>> read_merged(ShuffleKey, PartitionId, uint64_t offset,
                                   uint32_t length) override {
    if (down) co_return unreachable();
    if (read_error) co_return *read_error;
    co_return part_of(merged_view, offset, length);
  }
  Task<Result<Buffer>> read_block(ShuffleKey, MapId map, uint64_t commit, PartitionId,
                                  uint64_t offset, uint32_t length) override {
    if (down) co_return unreachable();
    if (read_error) co_return *read_error;
    const auto it = own_blocks.find({map, commit});
    if (it == own_blocks.end())
      co_return make_error(Code::kBlockLost, "it does not have this commit");
    co_return part_of(it->second, offset, length);
  }
  Task<Status> drop(AppId, std::optional<ShuffleId>, uint64_t life) override {
    if (down) co_return unreachable();
    dropped.push_back(life);
    co_return ok();
  }

  bool down = false;
  std::optional<Error> read_error;
  PartitionInfo info;
  std::string merged_view;
  std::map<std::pair<MapId, uint64_t>, std::string> own_blocks;  // by map id and commit
  int questions = 0;                                             // of partitions
  std::vector<uint64_t> dropped;

 private:
  static Error unreachable() { return make_error(Code::kPeerUnreachable, "connection refused"); }
  static Error unscripted() { return make_error(Code::kInternal, "not in this test"); }
  static Result<Buffer> part_of(const std::string& bytes, uint64_t offset, uint32_t length) {
    if (offset + length > bytes.size())
      return make_error(Code::kIo, "the file ends before these bytes");
    Buffer buffer(length);
    std::memcpy(buffer.data(), bytes.data() + offset, length);
    return buffer;
  }
};

// node1, node2, ...; seen by node1.
class ScriptedCluster final : public Cluster {
 public:
  explicit ScriptedCluster(std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) nodes_[name(i)] = std::make_shared<ScriptedNode>();
  }
  static NodeName name(std::size_t i) { return *NodeName::parse(fmt::format("node{}", i + 1)); }
  ScriptedNode& at(std::size_t i) { return *nodes_.at(name(i)); }

  [[nodiscard]] NodeName self() const override { return name(0); }
  [[nodiscard]] std::vector<NodeName> names() const override {
    std::vector<NodeName> all;
    for (const auto& [name, node] : nodes_) all.push_back(name);
    return all;
  }
  [[nodiscard]] uint64_t view_hash() const override { return hash_of_view(names()); }
  [[nodiscard]] std::shared_ptr<NodeApi> node(const NodeName& name) override {
    const auto it = nodes_.find(name);
    return it != nodes_.end() ? it->second : nullptr;
  }
  [[nodiscard]] bool is_up(const NodeName& name) const override { return nodes_.contains(name); }
  [[nodiscard]] std::vector<PeerHealth> health() const override { return {}; }
  void on_new_incarnation(std::function<void(NodeName)>) override {}

 private:
  std::map<NodeName, std::shared_ptr<ScriptedNode>> nodes_;
};

}  // namespace shufflefs::merge::testing
