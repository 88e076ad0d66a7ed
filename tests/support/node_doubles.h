// The doubles of the domain's two ports for tests: a NodeApi that passes its calls on to another
// node, and a Cluster with a fixed list of members.
#pragma once

#include <fmt/format.h>

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "merge/cluster.h"

namespace shufflefs::testing {

inline merge::NodeName node_name(std::size_t i) {
  return *merge::NodeName::parse(fmt::format("node{}", i + 1));
}

// Override what a test watches or scripts. Without a node behind it every other call fails.
class ForwardingNode : public merge::NodeApi {
 public:
  explicit ForwardingNode(std::shared_ptr<merge::NodeApi> to = nullptr) : to_(std::move(to)) {}

  Task<Result<merge::PushReply>> push(merge::PushRequest request) override {
    return pass("push", &NodeApi::push, std::move(request));
  }
  Task<Status> announce(merge::AnnounceRequest request) override {
    return pass("announce", &NodeApi::announce, std::move(request));
  }
  Task<Result<merge::PartitionInfo>> partition_info(merge::ShuffleKey shuffle,
                                                    merge::PartitionId partition) override {
    return pass("partition_info", &NodeApi::partition_info, std::move(shuffle), partition);
  }
  Task<Result<merge::PartitionInfo>> merged_info(merge::ShuffleKey shuffle,
                                                 merge::PartitionId partition) override {
    return pass("merged_info", &NodeApi::merged_info, std::move(shuffle), partition);
  }
  Task<Result<merge::ShuffleInfo>> shuffle_info(merge::ShuffleKey shuffle) override {
    return pass("shuffle_info", &NodeApi::shuffle_info, std::move(shuffle));
  }
  Task<Result<std::vector<merge::ShuffleKey>>> list_shuffles() override {
    return pass("list_shuffles", &NodeApi::list_shuffles);
  }
  Task<Result<Buffer>> read_merged(merge::ShuffleKey shuffle, merge::PartitionId partition,
                                   uint64_t offset, uint32_t length) override {
    return pass("read_merged", &NodeApi::read_merged, std::move(shuffle), partition, offset,
                length);
  }
  Task<Result<Buffer>> read_block(merge::ShuffleKey shuffle, merge::MapId map, uint64_t commit,
                                  merge::PartitionId partition, uint64_t offset,
                                  uint32_t length) override {
    return pass("read_block", &NodeApi::read_block, std::move(shuffle), map, commit, partition,
                offset, length);
  }
  Task<Result<merge::DropReply>> drop(merge::AppId app, std::optional<merge::ShuffleId> shuffle,
                                      uint64_t life) override {
    return pass("drop", &NodeApi::drop, std::move(app), shuffle, life);
  }

 protected:
  // Called with the name of each call before it is passed on; an error is its answer.
  virtual Status before(std::string_view /*call*/) { return ok(); }

 private:
  template <class R, class... Parameters>
  Task<R> pass(std::string_view call, Task<R> (NodeApi::*method)(Parameters...),
               Parameters... arguments) {
    CO_TRY(before(call));
    if (!to_) co_return make_error(Code::kInternal, "not in this test");
    co_return co_await ((*to_).*method)(std::move(arguments)...);
  }

  const std::shared_ptr<merge::NodeApi> to_;
};

// As one node sees it. Those in `down` are members that do not answer.
class FixedCluster : public merge::Cluster {
 public:
  explicit FixedCluster(merge::NodeName self, const std::set<merge::NodeName>* down = nullptr)
      : self_(std::move(self)), down_(down) {}
  void add(const merge::NodeName& name, std::shared_ptr<merge::NodeApi> node) {
    nodes_[name] = std::move(node);
  }
  void remove(const merge::NodeName& name) { nodes_.erase(name); }
  void restarted(const merge::NodeName& name) { listener_(name); }

  [[nodiscard]] merge::NodeName self() const override { return self_; }
  [[nodiscard]] std::vector<merge::NodeName> names() const override {
    std::vector<merge::NodeName> names;
    for (const auto& [name, node] : nodes_) names.push_back(name);
    return names;
  }
  [[nodiscard]] uint64_t view_hash() const override { return merge::hash_of_view(names()); }
  [[nodiscard]] std::shared_ptr<merge::NodeApi> node(const merge::NodeName& name) override {
    const auto it = nodes_.find(name);
    return it != nodes_.end() ? it->second : nullptr;
  }
  [[nodiscard]] bool is_up(const merge::NodeName& name) const override {
    return !down_ || !down_->contains(name);
  }
  [[nodiscard]] std::vector<merge::PeerHealth> health() const override { return {}; }
  void on_new_incarnation(std::function<void(merge::NodeName)> listener) override {
    listener_ = std::move(listener);
  }

 private:
  const merge::NodeName self_;
  const std::set<merge::NodeName>* const down_;
  std::map<merge::NodeName, std::shared_ptr<merge::NodeApi>> nodes_;
  std::function<void(merge::NodeName)> listener_;
};

}  // namespace shufflefs::testing
