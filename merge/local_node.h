// This node's answers to NodeApi: from its own map outputs and its own merged partitions. Disk work
// is offloaded.
//
// Threads: reactor only.
#pragma once

#include <functional>
#include <map>
#include <memory>

#include "base/byte_budget.h"
#include "base/metrics.h"
#include "merge/block_lengths.h"
#include "merge/drop_turns.h"
#include "merge/epochs.h"
#include "merge/heard_maps.h"
#include "merge/local_maps.h"
#include "merge/merge_store.h"
#include "merge/node_api.h"
#include "merge/push_ledger.h"

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
    LocalMaps& maps;
    MergeStore& store;
    HeardMaps& heard;
    Epochs& epochs;
    PushLedger& ledger;
    BlockLengths& lengths;
    uint64_t max_block_bytes;
    std::function<std::vector<std::string>(const ShuffleKey&)> refused_commits;
    // Forgets and discards the map outputs of the shuffle that this node holds. On a disk thread.
    std::function<Status(const ShuffleKey&)> drop_maps;
    // Whether `maps` is all that the disks hold. Any thread.
    std::function<bool()> maps_complete;
    AppOwners* owners = nullptr;  // none: anybody's
    // May be absent.
    std::function<bool()> is_draining = {};
  };
  using Reporter = std::function<Task<Result<std::string>>(std::string about)>;
  explicit LocalNode(Parts parts);

  Task<Result<PushReply>> push(PushRequest request) override;
  Task<Status> announce(AnnounceRequest request) override;
  Task<Result<PartitionInfo>> partition_info(ShuffleKey shuffle, PartitionId partition) override;
  Task<Result<PartitionInfo>> merged_info(ShuffleKey shuffle, PartitionId partition) override;
  Task<Result<ShuffleInfo>> shuffle_info(ShuffleKey shuffle) override;
  Task<Result<std::vector<ShuffleKey>>> list_shuffles() override;
  Task<Result<ShuffleListing>> list_shuffle(ShuffleKey shuffle) override;
  Task<Result<Buffer>> read_merged(ShuffleKey shuffle, PartitionId partition, uint64_t offset,
                                   uint32_t length) override;
  Task<Result<Buffer>> read_block(ShuffleKey shuffle, MapId map, PartitionId partition,
                                  uint64_t offset, uint32_t length) override;
  Task<Result<uint64_t>> map_file_size(ShuffleKey shuffle, MapId map, MapFile file) override;
  Task<Result<Buffer>> read_map_file(ShuffleKey shuffle, MapId map, MapFile file, uint64_t offset,
                                     uint32_t length) override;
  Task<Status> drop(AppId app, std::optional<ShuffleId> shuffle, uint64_t epoch) override;
  Task<Result<std::string>> report(std::string about) override;

  // Who answers report(); before the first question. An empty one takes it back.
  void set_reporter(Reporter reporter) { reporter_ = std::move(reporter); }

  // The shuffle's partitions, from what this node wrote itself or was told of; 0 if that is
  // nothing. Reactor.
  [[nodiscard]] uint32_t partition_count(const ShuffleKey& shuffle) const;

 private:
  [[nodiscard]] Status check_parts(const PushRequest& request) const;
  // On a disk thread.
  [[nodiscard]] Result<PushReply> merge(const PushRequest& request);
  [[nodiscard]] Result<PushReply> look_for(const PushRequest& request);
  [[nodiscard]] std::vector<MergedBlock> merged_view(const ShuffleKey& shuffle,
                                                     PartitionId partition);
  [[nodiscard]] uint64_t credit_for(const NodeName& origin);
  Task<Result<Buffer>> buffer(uint32_t length);
  Result<MapOutput> find(const ShuffleKey& shuffle, MapId map) const;
  Task<Status> drop_one(ShuffleKey shuffle);
  Task<Status> check_epoch(ShuffleKey shuffle, uint64_t epoch);
  std::vector<ShuffleKey> known_shuffles() const;
  [[nodiscard]] std::optional<FileOwner> owner_of(const AppId& app) const;
  // Once nothing of the application is known here any more.
  void forget_owner(const AppId& app) const;

  Parts parts_;
  Reporter reporter_;
  Counter& merged_blocks_;
  Counter& merged_bytes_;
  Counter& duplicates_;
  Counter& refused_;
  DropTurns turns_;
  std::map<NodeName, TimePoint> senders_;  // who pushes, and when it did last
};

}  // namespace shufflefs::merge
