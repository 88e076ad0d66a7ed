#include "merge/local_node.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/crc32c.h"
#include "base/log.h"
#include "base/parse.h"

namespace shufflefs::merge {
namespace {

constexpr auto kReadTimeout = std::chrono::seconds(5);

}  // namespace

LocalNode::LocalNode(const Parts& parts)
    : parts_(parts),
      looks_(parts_.runtime, "a look at merged partitions", std::chrono::seconds(2)),
      merged_blocks_(
          parts_.metrics.counter("shufflefs_merge_blocks_total", "Blocks merged on this node.")),
      merged_bytes_(
          parts_.metrics.counter("shufflefs_merge_bytes_total", "Bytes merged on this node.")),
      duplicates_(parts_.metrics.counter("shufflefs_merge_duplicate_blocks_total",
                                         "Blocks that were pushed again and dropped.")),
      refused_(parts_.metrics.counter("shufflefs_merge_refused_chunks_total",
                                      "Chunks that this node did not merge.")) {}

Status LocalNode::check_parts(const PushRequest& request) const {
  if (is_draining_)
    return make_error(Code::kNoSpace, "the node is being drained and takes no new pushes");
  for (const PushPart& part : request.parts) {
    TRY(parts_.table.check_push(request.shuffle, request.life, part.map, part.id));
    for (const PushBlock& block : part.blocks) {
      if (block.length > parts_.max_block_bytes) {
        return make_error(
            Code::kTooLarge,
            fmt::format("a block of {} bytes is above push.max-block-bytes of the owner ({})",
                        block.length, parts_.max_block_bytes));
      }
    }
  }
  return ok();
}

Result<PushReply> LocalNode::merge(const PushRequest& request) {
  std::vector<MergeStore::Block> blocks;
  uint64_t at = 0;
  for (const PushPart& part : request.parts) {
    for (const PushBlock& block : part.blocks) {
      if (block.length > request.payload.size() - at)
        return make_error(Code::kProtocol, "the blocks of a push are longer than its payload");
      const auto bytes = request.payload.span().subspan(at, block.length);
      at += block.length;
      if (crc32c(bytes) != block.crc) {
        return make_error(Code::kCorruptData,
                          fmt::format("the block of partition {} was damaged on the way",
                                      number(block.partition)));
      }
      blocks.push_back({block.partition, part.map, part.id, block.crc, bytes, request.owner});
    }
  }
  TRY_ASSIGN(const auto counts,
             parts_.store.append(request.shuffle, request.life, std::move(blocks), [&] {
               return parts_.table.life_of(request.shuffle) <= request.life;
             }));
  merged_bytes_.add(counts.merged_bytes);
  return PushReply{.merged = counts.merged, .duplicates = counts.duplicates};
}

Result<PushReply> LocalNode::look_for(const PushRequest& request) {
  PushReply reply;
  std::set<PartitionId> found;
  for (const PushPart& part : request.parts) {
    for (const PushBlock& block : part.blocks) {
      const bool is_here =
          parts_.store.contains(request.shuffle, block.partition, {part.map, part.id});
      ++(is_here ? reply.duplicates : reply.missing);
      if (is_here) found.insert(block.partition);
    }
  }
  // Who asks relies on it: a node that leaves, above all.
  for (const PartitionId partition : found) {
    TRY_ASSIGN(const auto merged, parts_.store.find(request.shuffle, partition));
    TRY(merged->flush());
  }
  return reply;
}

// What is free of the receive share, divided among those who push now.
uint64_t LocalNode::credit_for(const NodeName& sender) {
  constexpr auto kRecent = std::chrono::seconds(2);
  const TimePoint now = parts_.runtime.now();
  senders_[sender] = now;
  std::erase_if(senders_, [&](const auto& one) { return now - one.second > kRecent; });
  const ByteBudget& share = parts_.receive;
  const uint64_t free = share.total_bytes() - std::min(share.total_bytes(), share.used_bytes());
  return std::max<uint64_t>(1, free / senders_.size());
}

Task<Result<PushReply>> LocalNode::push(PushRequest request) {
  Status fit = co_await catch_up(request.shuffle, request.life);
  if (fit) fit = check_parts(request);
  if (fit) fit = parts_.owners.claim(request.shuffle.app, request.owner);
  Result<PushReply> reply = fit ? Result<PushReply>(PushReply{}) : Result<PushReply>(fit.error());
  if (fit) {
    for (const PushPart& part : request.parts)
      parts_.table.pushed(request.shuffle, request.sender, part.map, part.id);
    reply = co_await offload(parts_.runtime,
                             [&] { return request.offer ? look_for(request) : merge(request); });
  }
  if (!reply) {
    refused_.add();
    log_limited(LogLevel::kWarning, "merge.refused",
                {{"shuffle", to_string(request.shuffle)},
                 {"map", number(request.parts.front().map)},
                 {"origin", request.sender.str()},
                 {"errno", reply.error().sys_errno},
                 {"reason", reply.error().message}});
    co_return reply;
  }
  merged_blocks_.add(reply->merged);
  duplicates_.add(reply->duplicates);
  reply->credit_bytes = credit_for(request.sender);
  co_return reply;
}

Task<Status> LocalNode::announce(AnnounceRequest request) {
  if (cluster_ != nullptr && request.origin == cluster_->self())
    co_return make_error(Code::kRefused, "another node speaks of map outputs of this one");
  for (DroppedName& dropped : request.dropped) CO_TRY(co_await carry_out(std::move(dropped)));
  std::set<ShuffleKey> over;
  for (const AnnouncedMap& announced : request.committed) {
    CO_TRY(co_await catch_up(announced.shuffle, announced.life));
    if (!parts_.table.announced(request.origin, announced)) continue;
    parts_.owners.heard(announced.shuffle.app, announced.owner);
  }
  const NodeTag origin = tag_of(request.origin);
  for (const EndedMaps& ended : request.ended) {
    CO_TRY(co_await catch_up(ended.shuffle, ended.life));
    if (!parts_.table.ended(request.origin, ended)) continue;
    for (const EndedMaps::Ended& one : ended.maps)
      parts_.store.forget(ended.shuffle, {one.map, {one.commit, origin}});
    for (const CommitRange& range : ended.ranges)
      parts_.store.forget_range(ended.shuffle, origin, range);
    over.insert(ended.shuffle);
  }
  if (request.whole) parts_.table.told_whole_by(request.origin);
  // Who announces counts on it that it is not forgotten.
  CO_TRY(co_await offload(parts_.runtime, [this] { return parts_.table.flush(); }));
  for (const ShuffleKey& shuffle : over) co_await end_if_over(shuffle);
  co_return ok();
}

// When nobody has a map output of the shuffle any more, nobody reads its merged partitions.
Task<void> LocalNode::end_if_over(ShuffleKey shuffle) {
  if (!parts_.table.is_over(shuffle)) co_return;
  const bool ended = co_await offload(parts_.runtime, [&] {
    return parts_.store.end_if(shuffle, [&] { return parts_.table.is_over(shuffle); });
  });
  if (ended)
    log_info("shuffle.ended",
             {{"shuffle", to_string(shuffle)}, {"reason", "its last map output was removed"}});
  forget_owner(shuffle.app);
}

Task<void> LocalNode::forget(MapOutputRef output) {
  parts_.store.forget(output->shuffle, {output->map, {output->commit, tag_of(cluster_->self())}});
  co_await end_if_over(output->shuffle);
}

Task<Result<PartitionInfo>> LocalNode::partition_info(ShuffleKey shuffle, PartitionId partition) {
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

void LocalNode::forget_owner(const AppId& app) const {
  const std::vector<ShuffleKey> known = known_shuffles();
  const bool is_known = std::ranges::any_of(known, [&](const auto& key) { return key.app == app; });
  if (!is_known) parts_.owners.forget(app);
}

std::vector<ShuffleKey> LocalNode::known_shuffles() const {
  std::set<ShuffleKey> keys;
  for (auto&& list : {parts_.table.shuffles(), parts_.store.shuffles()})
    keys.insert(list.begin(), list.end());
  return {keys.begin(), keys.end()};
}

Task<Result<std::vector<ShuffleKey>>> LocalNode::list_shuffles() { co_return known_shuffles(); }

Task<Result<Buffer>> LocalNode::buffer(uint32_t length) {
  if (length > kMaxReadBytes)
    co_return make_error(Code::kTooLarge,
                         fmt::format("{} bytes are too many for one read", length));
  CO_TRY_ASSIGN(ByteBudget::Lease lease, co_await parts_.serve.acquire(length, kReadTimeout));
  co_return Buffer(length, std::move(lease));
}

Task<Result<Buffer>> LocalNode::read_merged(ShuffleKey shuffle, PartitionId partition,
                                            uint64_t offset, uint32_t length) {
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

// ---- drops -----------------------------------------------------------------------------------------------------------

Task<Status> LocalNode::catch_up(ShuffleKey shuffle, uint64_t life) {
  if (life <= parts_.table.life_of(shuffle)) co_return ok();
  co_return co_await carry_out({shuffle.app, shuffle.shuffle, life});
}

// The table first: from then on nothing of an earlier life is taken, told or read, and what comes
// in meanwhile is of the new one. The files follow, and may take their time.
Task<Status> LocalNode::carry_out(DroppedName name) {
  std::vector<ShuffleKey> keys;
  if (name.shuffle)
    keys.push_back({name.app, *name.shuffle});
  else
    std::ranges::copy_if(known_shuffles(), std::back_inserter(keys),
                         [&](const ShuffleKey& key) { return key.app == name.app; });
  std::erase_if(keys,
                [&](const ShuffleKey& key) { return parts_.table.life_of(key) >= name.life; });
  parts_.table.dropped(name);
  if (announcer_ != nullptr) announcer_->wake();
  for (const ShuffleKey& key : keys) parts_.lengths.forget(key);
  co_return co_await offload(parts_.runtime, [&]() -> Status {
    // A restart must not forget it.
    TRY(parts_.table.flush());
    for (const ShuffleKey& key : keys) {
      parts_.store.drop(key, name.life);
      TRY(parts_.committer.discard_dropped(key));
    }
    return ok();
  });
}

Task<Status> LocalNode::drop(AppId app, std::optional<ShuffleId> shuffle, uint64_t life) {
  const Status done = co_await carry_out({app, shuffle, life});
  forget_owner(app);
  log_info("shuffle.dropped", {{"app", app.str()},
                               {"shuffle", shuffle ? std::to_string(number(*shuffle)) : "all"},
                               {"life", life}});
  co_return done;
}

}  // namespace shufflefs::merge
