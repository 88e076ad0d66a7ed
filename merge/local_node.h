// This node's answers to NodeApi: from the table, its own map outputs and its own merged
// partitions. Disk work is offloaded.
//
// Threads: reactor only.
#pragma once

#include <functional>
#include <map>
#include <memory>

#include "base/bounded_offload.h"
#include "base/byte_budget.h"
#include "base/metrics.h"
#include "merge/announcer.h"
#include "merge/block_lengths.h"
#include "merge/cluster.h"
#include "merge/committer.h"
#include "merge/merge_store.h"
#include "merge/node_api.h"
#include "merge/shuffle_table.h"

namespace shufflefs::merge {

class LocalNode final : public NodeApi {
 public:
  // What a node needs of the rest of the domain.
  struct Parts {
    Runtime& runtime;
    FileIo& io;
    ByteBudget& serve;    // for what is read to answer
    ByteBudget& receive;  // only looked at, for the credit of those who push
    Metrics& metrics;
    ShuffleTable& table;
    MergeStore& store;
    Committer& committer;
    BlockLengths& lengths;
    AppOwners& owners;
    uint64_t max_block_bytes;
  };
  using Reporter = std::function<Task<Result<std::string>>(std::string about)>;
  explicit LocalNode(const Parts& parts);

  Task<Result<PushReply>> push(PushRequest request) override;
  Task<Status> announce(AnnounceRequest request) override;
  Task<Result<PartitionInfo>> partition_info(ShuffleKey shuffle, PartitionId partition) override;
  Task<Result<PartitionInfo>> merged_info(ShuffleKey shuffle, PartitionId partition) override;
  Task<Result<ShuffleInfo>> shuffle_info(ShuffleKey shuffle) override;
  Task<Result<std::vector<ShuffleKey>>> list_shuffles() override;
  Task<Result<Buffer>> read_merged(ShuffleKey shuffle, PartitionId partition, uint64_t offset,
                                   uint32_t length) override;
  Task<Result<Buffer>> read_block(ShuffleKey shuffle, MapId map, uint64_t commit,
                                  PartitionId partition, uint64_t offset, uint32_t length) override;
  Task<Status> drop(AppId app, std::optional<ShuffleId> shuffle, uint64_t life) override;
  Task<Result<std::string>> report(std::string about) override;

  // Who answers report(); before the first question. An empty one takes it back.
  void set_reporter(Reporter reporter) { reporter_ = std::move(reporter); }
  // Who the members are, for answers, and who tells them of drops; once they are known.
  void join(const Cluster& cluster, Announcer& announcer) {
    cluster_ = &cluster;
    announcer_ = &announcer;
  }
  // The node is about to leave: it takes no pushes.
  void set_draining(bool draining) { is_draining_ = draining; }

  // Waits for what a disk is late with.
  [[nodiscard]] Task<void> close() { return looks_.close(); }

  // This node's map output has ended: takes it out of what is merged here.
  Task<void> forget(MapOutputRef output);

 private:
  [[nodiscard]] Status check_parts(const PushRequest& request) const;
  // On a disk thread.
  [[nodiscard]] Result<PushReply> merge(const PushRequest& request);
  [[nodiscard]] Result<PushReply> look_for(const PushRequest& request);
  [[nodiscard]] std::vector<MergedBlock> merged_view(const ShuffleKey& shuffle,
                                                     PartitionId partition);
  [[nodiscard]] uint64_t credit_for(const NodeName& sender);
  Task<Result<Buffer>> buffer(uint32_t length);
  // Who knows a later life of the name than we do has seen a drop that we have missed.
  Task<Status> catch_up(ShuffleKey shuffle, uint64_t life);
  Task<Status> carry_out(DroppedName name);
  // Once everything has ended that was ever heard of the shuffle.
  Task<void> end_if_over(ShuffleKey shuffle);
  std::vector<ShuffleKey> known_shuffles() const;
  // Once nothing of the application is known here any more.
  void forget_owner(const AppId& app) const;

  Parts parts_;
  BoundedOffload looks_;
  Reporter reporter_;
  const Cluster* cluster_ = nullptr;
  Announcer* announcer_ = nullptr;
  bool is_draining_ = false;
  Counter& merged_blocks_;
  Counter& merged_bytes_;
  Counter& duplicates_;
  Counter& refused_;
  std::map<NodeName, TimePoint> senders_;  // who pushes, and when it did last
};

}  // namespace shufflefs::merge
