#include "merge/local_node.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <set>

#include "base/crc32c.h"
#include "base/log.h"
#include "base/parse.h"

namespace shufflefs::merge {
namespace {

constexpr auto kReadPatience = std::chrono::seconds(5);

Error dropped(const ShuffleKey& shuffle) {
  return make_error(Code::kDropped, fmt::format("shuffle {} has been dropped", to_string(shuffle)));
}

}  // namespace

LocalNode::LocalNode(Parts parts)
    : parts_(std::move(parts)),
      merged_blocks_(
          parts_.metrics.counter("shufflefs_merge_blocks_total", "Blocks merged on this node.")),
      merged_bytes_(
          parts_.metrics.counter("shufflefs_merge_bytes_total", "Bytes merged on this node.")),
      duplicates_(parts_.metrics.counter("shufflefs_merge_duplicate_blocks_total",
                                         "Blocks that were pushed again and dropped.")),
      refused_(parts_.metrics.counter("shufflefs_merge_refused_chunks_total",
                                      "Chunks that this node did not merge.")),
      turns_(parts_.runtime) {}

Task<Status> LocalNode::check_epoch(ShuffleKey shuffle, uint64_t epoch) {
  const auto known = [&] { return parts_.epochs.of(shuffle); };
  if (epoch < known()) co_return dropped(shuffle);
  if (epoch == known() && turns_.is_free(shuffle.app)) co_return ok();
  CO_TRY_ASSIGN(const DropTurns::Turn turn, co_await turns_.take(shuffle.app));
  if (epoch < known()) co_return dropped(shuffle);
  if (epoch == known()) co_return ok();
  // We have missed a drop: what we hold is of before. The epoch counts also if it is not written.
  (void)co_await offload(parts_.runtime, [&]() -> Status {
    return parts_.epochs.raise(shuffle.app, shuffle.shuffle, epoch);
  });
  co_return co_await drop_one(shuffle);
}

Status LocalNode::check_parts(const PushRequest& request) const {
  if (parts_.is_draining && parts_.is_draining()) {
    return make_error(Code::kNoSpace, "the node is being drained and takes no new pushes");
  }
  for (const PushPart& part : request.parts) {
    if (parts_.heard.is_removed(request.shuffle, part.map, part.commit))
      return make_error(Code::kDropped, fmt::format("map {} of shuffle {} has been removed",
                                                    number(part.map), to_string(request.shuffle)));
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
      blocks.push_back({block.partition, part.map, block.crc, bytes, request.owner});
    }
  }
  TRY_ASSIGN(const auto counts, parts_.store.append(request.shuffle, std::move(blocks), [&] {
    return parts_.epochs.of(request.shuffle) <= request.epoch;
  }));
  merged_bytes_.add(counts.merged_bytes);
  return PushReply{.merged = counts.merged, .duplicates = counts.duplicates};
}

Result<PushReply> LocalNode::look_for(const PushRequest& request) {
  PushReply reply;
  std::set<PartitionId> found;
  for (const PushPart& part : request.parts) {
    for (const PushBlock& block : part.blocks) {
      const bool is_here = parts_.store.contains(request.shuffle, block.partition, part.map);
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
uint64_t LocalNode::credit_for(const NodeName& origin) {
  constexpr auto kRecent = std::chrono::seconds(2);
  const TimePoint now = parts_.runtime.now();
  senders_[origin] = now;
  std::erase_if(senders_, [&](const auto& sender) { return now - sender.second > kRecent; });
  const ByteBudget& share = parts_.receive;
  const uint64_t free = share.total_bytes() - std::min(share.total_bytes(), share.used_bytes());
  return std::max<uint64_t>(1, free / senders_.size());
}

Task<Result<PushReply>> LocalNode::push(PushRequest request) {
  Status fit = check_parts(request);
  if (fit) fit = co_await check_epoch(request.shuffle, request.epoch);
  if (fit && parts_.owners != nullptr)
    fit = parts_.owners->claim(request.shuffle.app, request.owner);
  Result<PushReply> reply = fit ? Result<PushReply>(PushReply{}) : Result<PushReply>(fit.error());
  if (fit) {
    reply = co_await offload(parts_.runtime,
                             [&] { return request.offer ? look_for(request) : merge(request); });
  }
  if (!reply) {
    refused_.add();
    log_limited(LogLevel::kWarning, "merge.refused",
                {{"shuffle", to_string(request.shuffle)},
                 {"map", number(request.parts.front().map)},
                 {"origin", request.origin.str()},
                 {"errno", reply.error().sys_errno},
                 {"reason", reply.error().message}});
    co_return reply;
  }
  merged_blocks_.add(reply->merged);
  duplicates_.add(reply->duplicates);
  reply->credit_bytes = credit_for(request.origin);
  co_return reply;
}

Task<Status> LocalNode::announce(AnnounceRequest request) {
  for (AnnouncedMap& announced : request.committed) {
    const Status current = co_await check_epoch(announced.shuffle, announced.epoch);
    if (!current) continue;
    if (parts_.owners != nullptr) parts_.owners->heard(announced.shuffle.app, announced.owner);
    parts_.heard.add(request.origin, std::move(announced));
  }
  for (const RemovedMap& removed : request.removed) {
    const ShuffleKey& shuffle = removed.shuffle;
    // When nobody has a map output of the shuffle any more, nobody will read its merged partitions.
    const bool last = parts_.heard.remove(request.origin, removed);
    if (!last || !parts_.maps.of(shuffle).empty()) {
      parts_.store.forget(shuffle, removed.map);
      continue;
    }
    log_info("shuffle.ended",
             {{"shuffle", to_string(shuffle)}, {"reason", "its last map output was removed"}});
    CO_TRY(co_await offload(parts_.runtime, [&] { return parts_.store.drop(shuffle); }));
    forget_owner(shuffle.app);
  }
  co_return ok();
}

Task<Result<PartitionInfo>> LocalNode::partition_info(ShuffleKey shuffle, PartitionId partition) {
  // "There is nothing" and "I cannot see" are different answers: after the first nobody would look
  // for a block of ours any further.
  if (!parts_.maps_complete())
    co_return make_error(Code::kIo, "a disk could not be read: some map outputs are not known");
  PartitionInfo info;
  info.heard = parts_.heard.of(shuffle, partition);
  info.partition_count = parts_.heard.partition_count(shuffle);
  info.owner = owner_of(shuffle.app);
  co_return co_await offload(parts_.runtime, [&]() -> Result<PartitionInfo> {
    const std::vector<MapOutput> outputs = parts_.maps.of(shuffle);
    const auto lengths = parts_.lengths.lengths(outputs, partition);
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      const MapOutput& output = outputs[i];
      const auto& length = lengths[i];
      info.partition_count = std::max(info.partition_count, output.partition_count);
      if (length) {
        info.at_origin.push_back({output.map, *length});
        continue;
      }
      // Removed under our hands is as good as never there; anything else must not be passed off as
      // an empty block.
      if (length.error().code != Code::kNotFound || parts_.maps.find(shuffle, output.map))
        return length.error();
    }
    info.merged = merged_view(shuffle, partition);
    return std::move(info);
  });
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

uint32_t LocalNode::partition_count(const ShuffleKey& shuffle) const {
  return std::max(parts_.heard.partition_count(shuffle), parts_.maps.partition_count(shuffle));
}

Task<Result<PartitionInfo>> LocalNode::merged_info(ShuffleKey shuffle, PartitionId partition) {
  PartitionInfo info;
  info.partition_count = partition_count(shuffle);
  info.owner = owner_of(shuffle.app);
  co_return co_await offload(parts_.runtime, [&]() -> Result<PartitionInfo> {
    info.merged = merged_view(shuffle, partition);
    return std::move(info);
  });
}

Task<Result<ShuffleInfo>> LocalNode::shuffle_info(ShuffleKey shuffle) {
  ShuffleInfo info;
  info.partition_count = parts_.heard.partition_count(shuffle);
  info.owner = owner_of(shuffle.app);
  for (const MapOutput& output : parts_.maps.of(shuffle)) {
    ++info.maps;
    info.bytes += output.total_bytes;
    info.partition_count = std::max(info.partition_count, output.partition_count);
  }
  parts_.ledger.add_to(shuffle, info);
  info.refused_commits = parts_.refused_commits(shuffle);
  const MergedTotals totals =
      co_await offload(parts_.runtime, [&] { return parts_.store.totals(shuffle); });
  info.merged_partitions = totals.partitions;
  info.merged_blocks = totals.blocks;
  info.merged_bytes = totals.bytes;
  info.duplicate_blocks = totals.duplicates;
  info.partition_count = std::max(info.partition_count, totals.partition_count);
  co_return info;
}

std::optional<FileOwner> LocalNode::owner_of(const AppId& app) const {
  return parts_.owners != nullptr ? parts_.owners->find(app) : std::nullopt;
}

void LocalNode::forget_owner(const AppId& app) const {
  const std::vector<ShuffleKey> known = known_shuffles();
  const bool is_known = std::ranges::any_of(known, [&](const auto& key) { return key.app == app; });
  if (parts_.owners != nullptr && !is_known) parts_.owners->forget(app);
}

std::vector<ShuffleKey> LocalNode::known_shuffles() const {
  std::set<ShuffleKey> keys;
  for (auto&& list : {parts_.maps.shuffles(), parts_.store.shuffles(), parts_.heard.shuffles()})
    keys.insert(list.begin(), list.end());
  return {keys.begin(), keys.end()};
}

Task<Result<std::vector<ShuffleKey>>> LocalNode::list_shuffles() { co_return known_shuffles(); }

Task<Result<ShuffleListing>> LocalNode::list_shuffle(ShuffleKey shuffle) {
  ShuffleListing listing;
  for (const MapOutput& output : parts_.maps.of(shuffle)) listing.maps.push_back(output.map);
  listing.merged = parts_.store.partitions(shuffle);
  listing.shuffle = std::move(shuffle);
  co_return listing;
}

Task<Result<Buffer>> LocalNode::buffer(uint32_t length) {
  if (length > kMaxReadBytes)
    co_return make_error(Code::kTooLarge,
                         fmt::format("{} bytes are too many for one read", length));
  CO_TRY_ASSIGN(ByteBudget::Lease lease, co_await parts_.serve.acquire(length, kReadPatience));
  co_return Buffer(length, std::move(lease));
}

Result<MapOutput> LocalNode::find(const ShuffleKey& shuffle, MapId map) const {
  auto output = parts_.maps.find(shuffle, map);
  if (!output)
    return make_error(Code::kNotFound, fmt::format("map {} of shuffle {} is not on this node",
                                                   number(map), to_string(shuffle)));
  return std::move(*output);
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

Task<Result<Buffer>> LocalNode::read_block(ShuffleKey shuffle, MapId map, PartitionId partition,
                                           uint64_t offset, uint32_t length) {
  CO_TRY_ASSIGN(const MapOutput output, find(shuffle, map));
  CO_TRY_ASSIGN(Buffer bytes, co_await buffer(length));
  CO_TRY(co_await offload(parts_.runtime, [&]() -> Status {
    TRY_ASSIGN(MapOutputReader reader, MapOutputReader::open(parts_.io, output));
    return reader.read(partition, offset, bytes.span());
  }));
  co_return bytes;
}

Task<Result<uint64_t>> LocalNode::map_file_size(ShuffleKey shuffle, MapId map, MapFile file) {
  CO_TRY_ASSIGN(const MapOutput output, find(shuffle, map));
  co_return file == MapFile::kData ? output.total_bytes
                                   : (uint64_t{output.partition_count} + 1) * 8;
}

Task<Result<Buffer>> LocalNode::read_map_file(ShuffleKey shuffle, MapId map, MapFile file,
                                              uint64_t offset, uint32_t length) {
  CO_TRY_ASSIGN(const MapOutput output, find(shuffle, map));
  CO_TRY_ASSIGN(Buffer bytes, co_await buffer(length));
  CO_TRY(co_await offload(parts_.runtime, [&]() -> Status {
    TRY_ASSIGN(MapOutputReader reader, MapOutputReader::open(parts_.io, output));
    if (file == MapFile::kData) return reader.read_data(offset, bytes.span());
    const std::vector<std::byte> index = make_spark_index(reader.lengths());
    if (offset > index.size() || length > index.size() - offset) {
      return make_error(Code::kInvalidArgument,
                        fmt::format("the index of map {} has no {} bytes at offset {}", number(map),
                                    length, offset));
    }
    std::copy_n(index.begin() + static_cast<std::ptrdiff_t>(offset), length, bytes.data());
    return ok();
  }));
  co_return bytes;
}

Task<Result<std::string>> NodeApi::report(std::string about) {
  co_return make_error(Code::kInvalidArgument,
                       fmt::format("this node has no report about '{}'", about));
}

Task<Result<std::string>> LocalNode::report(std::string about) {
  if (!reporter_) co_return co_await NodeApi::report(std::move(about));
  co_return co_await reporter_(std::move(about));
}

Task<Status> LocalNode::drop_one(ShuffleKey shuffle) {
  parts_.heard.drop(shuffle);
  parts_.lengths.forget(shuffle);
  co_return co_await offload(parts_.runtime, [&]() -> Status {
    TRY(parts_.drop_maps(shuffle));
    return parts_.store.drop(shuffle);
  });
}

Task<Status> LocalNode::drop(AppId app, std::optional<ShuffleId> shuffle, uint64_t epoch) {
  CO_TRY_ASSIGN(const DropTurns::Turn turn, co_await turns_.take(app));
  std::vector<ShuffleKey> keys;
  if (shuffle)
    keys.push_back({app, *shuffle});
  else
    std::ranges::copy_if(known_shuffles(), std::back_inserter(keys),
                         [&](const ShuffleKey& key) { return key.app == app; });
  // Heard of already, by this message or a later drop: what is here has come since.
  std::erase_if(keys, [&](const ShuffleKey& key) { return parts_.epochs.of(key) >= epoch; });
  const Status remembered =
      co_await offload(parts_.runtime, [&] { return parts_.epochs.raise(app, shuffle, epoch); });
  for (const ShuffleKey& key : keys) CO_TRY(co_await drop_one(key));
  forget_owner(app);
  log_info("shuffle.dropped", {{"app", app.str()},
                               {"shuffle", shuffle ? std::to_string(number(*shuffle)) : "all"},
                               {"shuffles", keys.size()}});
  // Dropped it is, but a restart would forget that and refuse nothing: whoever drops must know.
  co_return remembered;
}

}  // namespace shufflefs::merge
