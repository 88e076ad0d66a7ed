#include "merge/local_node.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/log.h"

namespace shufflefs::merge {
namespace {

constexpr auto kReadTimeout = std::chrono::seconds(5);

}  // namespace

LocalNode::LocalNode(const Parts& parts)
    : parts_(parts),
      looks_(parts_.runtime, "a look at merged partitions", std::chrono::seconds(2)) {}

Task<Result<PartitionInfo>> LocalNode::partition_info(ShuffleKey shuffle, PartitionId partition) {
  parts_.executors.give_sign(shuffle.app);
  PartitionInfo info;
  // Before the list: what is found meanwhile may be missing in it.
  info.incomplete = parts_.committer.incomplete();
  info.pending = parts_.committer.is_looking(shuffle.shuffle);
  std::vector<MapOutputRef> own;
  parts_.table.describe(shuffle, partition, info, own);
  info.owner = parts_.owners.find(shuffle.app);
  if (cluster_ != nullptr) {
    info.members = cluster_->view_hash();
    for (NodeName& node : parts_.table.unheard(cluster_->names()))
      info.unheard.push_back(std::move(node));
  }
  (void)co_await offload(parts_.runtime, [&]() -> Status {  // always ok
    const auto lengths = parts_.lengths.lengths(own, partition);
    for (std::size_t i = 0; i < own.size(); ++i) {
      OwnBlock& block = info.own[i];
      if (lengths[i]) {
        block.length = *lengths[i];
        continue;
      }
      // What cannot be read must not pass for an empty block.
      block.lost = true;
      parts_.table.lost(*own[i], lengths[i].error().message);
    }
    info.merged = merged_view(shuffle, partition);
    return ok();
  });
  info.known = info.known || !info.merged.empty();
  co_return info;
}

// What cannot be read of the merged copy is as good as not merged: the origins have it.
std::vector<MergedBlock> LocalNode::merged_view(const ShuffleKey& shuffle, PartitionId partition) {
  const auto merged = parts_.store.find(shuffle, partition);
  auto view = merged ? (*merged)->view() : Result<std::vector<MergedBlock>>(merged.error());
  if (view) return *std::move(view);
  if (view.error().code != Code::kNotFound)
    log_limited(LogLevel::kWarning, "merge.unreadable",
                {{"shuffle", to_string(shuffle)},
                 {"partition", number(partition)},
                 {"reason", view.error().message}});
  return {};
}

Task<Result<PartitionInfo>> LocalNode::merged_info(ShuffleKey shuffle, PartitionId partition) {
  parts_.executors.give_sign(shuffle.app);
  PartitionInfo info;
  info.life = parts_.table.life_of(shuffle);
  info.partition_count = parts_.table.partition_count(shuffle);
  info.ended = parts_.table.ended_of(shuffle);
  info.owner = parts_.owners.find(shuffle.app);
  info.members = cluster_ != nullptr ? cluster_->view_hash() : 0;
  (void)co_await offload(parts_.runtime, [&]() -> Status {  // always ok
    info.merged = merged_view(shuffle, partition);
    return ok();
  });
  info.heard = parts_.table.later_than(shuffle, info.merged);
  info.known = info.partition_count > 0 || !info.merged.empty();
  co_return info;
}

Task<Result<ShuffleInfo>> LocalNode::shuffle_info(ShuffleKey shuffle) {
  ShuffleInfo info;
  parts_.table.describe(shuffle, info);
  info.owner = parts_.owners.find(shuffle.app);
  CO_TRY_ASSIGN(const MergedTotals totals, co_await looks_.run([&store = parts_.store, shuffle] {
    return store.totals(shuffle);
  }));
  info.merged_partitions = totals.partitions;
  info.merged_blocks = totals.blocks;
  info.merged_bytes = totals.bytes;
  info.duplicate_blocks = totals.duplicates;
  info.partition_count = std::max(info.partition_count, totals.partition_count);
  co_return info;
}

Task<Result<std::vector<ShuffleKey>>> LocalNode::list_shuffles() { co_return parts_.lives.known(); }

Task<Result<Buffer>> LocalNode::buffer(uint32_t length) {
  if (length > kMaxReadBytes)
    co_return make_error(Code::kTooLarge,
                         fmt::format("{} bytes are too many for one read", length));
  CO_TRY_ASSIGN(ByteBudget::Lease lease, co_await parts_.serve.acquire(length, kReadTimeout));
  co_return Buffer(length, std::move(lease));
}

Task<Result<Buffer>> LocalNode::read_merged(ShuffleKey shuffle, PartitionId partition,
                                            uint64_t offset, uint32_t length) {
  parts_.executors.give_sign(shuffle.app);
  CO_TRY_ASSIGN(Buffer bytes, co_await buffer(length));
  CO_TRY(co_await offload(parts_.runtime, [&]() -> Status {
    TRY_ASSIGN(const auto merged, parts_.store.find(shuffle, partition));
    return merged->read(offset, bytes.span());
  }));
  co_return bytes;
}

Task<Result<Buffer>> LocalNode::read_block(ShuffleKey shuffle, MapId map, uint64_t commit,
                                           PartitionId partition, uint64_t offset,
                                           uint32_t length) {
  parts_.executors.give_sign(shuffle.app);
  const MapOutputRef output = parts_.table.find(shuffle, map);
  if (!output || output->commit != commit) {
    co_return make_error(
        Code::kBlockLost,
        fmt::format("this node has no commit {} of map {} of shuffle {} (any more)", commit,
                    number(map), to_string(shuffle)));
  }
  CO_TRY_ASSIGN(Buffer bytes, co_await buffer(length));
  const Status read = co_await offload(parts_.runtime, [&] {
    return merge::read_block(parts_.io, *output, partition, offset, bytes.span());
  });
  if (read) co_return bytes;
  if (read.error().code == Code::kInvalidArgument) co_return read.error();
  // It may have ended while it was read; then its files are gone by right.
  parts_.table.lost(*output, read.error().message);
  Error error = read.error();
  if (error.code == Code::kNotFound) error.code = Code::kBlockLost;
  co_return error;
}

Task<Result<std::string>> NodeApi::report(std::string about) {
  co_return make_error(Code::kInvalidArgument,
                       fmt::format("this node has no report about '{}'", about));
}

Task<Result<std::string>> LocalNode::report(std::string about) {
  if (!reporter_) co_return co_await NodeApi::report(std::move(about));
  co_return co_await reporter_(std::move(about));
}

}  // namespace shufflefs::merge
