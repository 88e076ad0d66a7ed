#include "merge/push_receiver.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/crc32c.h"
#include "base/log.h"

namespace shufflefs::merge {

PushReceiver::PushReceiver(Runtime& runtime, ByteBudget& budget, Metrics& metrics,
                           ShuffleTable& table, MergeStore& store, AppOwners& owners,
                           ShuffleLives& lives, uint64_t max_block_bytes)
    : runtime_(runtime),
      budget_(budget),
      table_(table),
      store_(store),
      owners_(owners),
      lives_(lives),
      max_block_bytes_(max_block_bytes),
      merged_blocks_(
          metrics.counter("shufflefs_merge_blocks_total", "Blocks merged on this node.")),
      merged_bytes_(metrics.counter("shufflefs_merge_bytes_total", "Bytes merged on this node.")),
      duplicates_(metrics.counter("shufflefs_merge_duplicate_blocks_total",
                                  "Blocks pushed again and dropped.")),
      refused_(metrics.counter("shufflefs_merge_refused_chunks_total", "Pushed chunks refused.")) {}

Status PushReceiver::check_parts(const PushRequest& request) const {
  if (is_draining_)
    return make_error(Code::kNoSpace, "the node is being drained and takes no new pushes");
  for (const PushPart& part : request.parts) {
    TRY(table_.check_push(request.shuffle, request.life, part.map, part.id));
    for (const PushBlock& block : part.blocks) {
      if (block.length > max_block_bytes_) {
        return make_error(
            Code::kTooLarge,
            fmt::format("a block of {} bytes is above push.max-block-bytes of the owner ({})",
                        block.length, max_block_bytes_));
      }
    }
  }
  return ok();
}

Result<PushReply> PushReceiver::merge(const PushRequest& request) {
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
             store_.append(request.shuffle, request.life, std::move(blocks),
                           [&] { return table_.life_of(request.shuffle) <= request.life; }));
  merged_bytes_.add(counts.merged_bytes);
  return PushReply{.merged = counts.merged, .duplicates = counts.duplicates};
}

Result<PushReply> PushReceiver::look_for(const PushRequest& request) {
  PushReply reply;
  std::set<PartitionId> found;
  for (const PushPart& part : request.parts) {
    for (const PushBlock& block : part.blocks) {
      const bool is_here = store_.contains(request.shuffle, block.partition, {part.map, part.id});
      ++(is_here ? reply.duplicates : reply.missing);
      if (is_here) found.insert(block.partition);
    }
  }
  // Who asks relies on it: a node that leaves, above all.
  for (const PartitionId partition : found) {
    TRY_ASSIGN(const auto merged, store_.find(request.shuffle, partition));
    TRY(merged->flush());
  }
  return reply;
}

// What is free of the receive share, divided among those who push now.
uint64_t PushReceiver::credit_for(const NodeName& sender) {
  constexpr auto kRecent = std::chrono::seconds(2);
  const TimePoint now = runtime_.now();
  senders_[sender] = now;
  std::erase_if(senders_, [&](const auto& one) { return now - one.second > kRecent; });
  const uint64_t total = budget_.total_bytes();
  const uint64_t free = total - std::min(total, budget_.used_bytes());
  return std::max<uint64_t>(1, free / senders_.size());
}

Task<Result<PushReply>> PushReceiver::push(PushRequest request) {
  Status fit = co_await lives_.catch_up(request.shuffle, request.life);
  if (fit) fit = check_parts(request);
  if (fit) fit = owners_.claim(request.shuffle.app, request.owner);
  Result<PushReply> reply = fit ? Result<PushReply>(PushReply{}) : Result<PushReply>(fit.error());
  if (fit) {
    for (const PushPart& part : request.parts)
      table_.pushed(request.shuffle, request.sender, part.map, part.id);
    reply = co_await offload(runtime_,
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

}  // namespace shufflefs::merge
