// This node's answers to NodeApi: from the table, its own map outputs and its own merged
// partitions. What changes something is done by PushReceiver and ShuffleLives.
//
// Threads: reactor only; disk work is offloaded.
#pragma once

#include <functional>

#include "base/bounded_offload.h"
#include "base/memory_budget.h"
#include "merge/cluster.h"
#include "merge/executors.h"
#include "merge/push_receiver.h"
#include "merge/shuffle_lives.h"

namespace shufflefs::merge {

class LocalNode final : public NodeApi {
 public:
  // What a node needs of the rest of the domain.
  struct Parts {
    Runtime& runtime;
    FileIo& io;
    ByteBudget& serve;  // for what is read to answer
    ShuffleTable& table;
    MergeStore& store;
    Committer& committer;
    BlockLengths& lengths;
    AppOwners& owners;
    ShuffleLives& lives;
    PushReceiver& receiver;
    const Executors& executors;  // reading gives their application a sign of life
  };
  using Reporter = std::function<Task<Result<std::string>>(std::string about)>;
  explicit LocalNode(const Parts& parts);

  Task<Result<PushReply>> push(PushRequest request) override {
    return parts_.receiver.push(std::move(request));
  }
  Task<Status> announce(AnnounceRequest request) override {
    return parts_.lives.announced(std::move(request));
  }
  Task<Result<PartitionInfo>> partition_info(ShuffleKey shuffle, PartitionId partition) override;
  Task<Result<PartitionInfo>> merged_info(ShuffleKey shuffle, PartitionId partition) override;
  Task<Result<ShuffleInfo>> shuffle_info(ShuffleKey shuffle) override;
  Task<Result<std::vector<ShuffleKey>>> list_shuffles() override;
  Task<Result<Buffer>> read_merged(ShuffleKey shuffle, PartitionId partition, uint64_t offset,
                                   uint32_t length) override;
  Task<Result<Buffer>> read_block(ShuffleKey shuffle, MapId map, uint64_t commit,
                                  PartitionId partition, uint64_t offset, uint32_t length) override;
  Task<Result<DropReply>> drop(AppId app, std::optional<ShuffleId> shuffle,
                               uint64_t life) override {
    return parts_.lives.drop(std::move(app), shuffle, life);
  }
  Task<Result<std::string>> report(std::string about) override;

  // Who answers report(); before the first question. An empty one takes it back.
  void set_reporter(Reporter reporter) { reporter_ = std::move(reporter); }
  // Who the members are, for answers; once they are known.
  void join(const Cluster& cluster) { cluster_ = &cluster; }
  // Waits for what a disk is late with.
  [[nodiscard]] Task<void> close() { return looks_.close(); }

 private:
  [[nodiscard]] std::vector<MergedBlock> merged_view(const ShuffleKey& shuffle,
                                                     PartitionId partition);
  Task<Result<Buffer>> buffer(uint32_t length);

  Parts parts_;
  BoundedOffload looks_;
  Reporter reporter_;
  const Cluster* cluster_ = nullptr;
};

}  // namespace shufflefs::merge
