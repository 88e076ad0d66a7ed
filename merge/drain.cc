#include "merge/drain.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/log.h"
#include "merge/ask_nodes.h"

namespace shufflefs::merge {
namespace {

// From this node, without any part.
PushRequest make_request(const Drain::Parts& parts, const ShuffleKey& shuffle) {
  PushRequest request;
  request.shuffle = shuffle;
  request.sender = parts.cluster.self();
  request.life = parts.table.life_of(shuffle);
  request.owner = parts.owners.find(shuffle.app).value_or(FileOwner{});
  return request;
}

}  // namespace

Drain::Drain(const Parts& parts)
    : parts_(parts),
      moved_(parts_.metrics.counter("shufflefs_drain_moved_blocks_total",
                                    "Merged blocks without origin that a drain moved.")),
      gate_(parts_.runtime, "drain") {}

void Drain::begin() {
  if (on_) return;
  on_ = true;
  ++round_;
  lost_.clear();
  moved_before_ = moved_.value();
  log_info("node.draining", {{"node", parts_.cluster.self().str()}});
  for (const MapOutputRef& output : parts_.table.all())
    parts_.pusher.submit({.output = output, .known = true, .leaving = true});
  to_look_ = 1;  // until they have been counted
  gate_.spawn(move_orphans(round_));
}

void Drain::end() {
  if (!on_) return;
  on_ = false;
  ++round_;
  log_info("node.not_draining", {{"node", parts_.cluster.self().str()}});
}

DrainStatus Drain::status(std::size_t waiting) const {
  DrainStatus status;
  status.draining = on_;
  ShuffleInfo sum;
  for (const ShuffleKey& shuffle : parts_.table.shuffles()) parts_.table.describe(shuffle, sum);
  status.map_outputs = sum.maps;
  status.waiting = waiting + parts_.pusher.pending() + (on_ ? to_look_ : 0);
  status.blocks_left_home = sum.blocks_left_home;
  status.bytes_left_home = sum.bytes_left_home;
  status.given_up = std::move(sum.given_up);
  for (const auto& [reason, lost] : lost_) status.given_up.push_back(lost);
  status.maps_unpushed = sum.maps_unpushed;
  status.orphans_moved = moved_.value() - moved_before_;
  // A map output that was committed just now is not settled, whatever is waiting.
  status.safe_to_stop = on_ && status.waiting == 0 && status.given_up.empty() &&
                        status.blocks_left_home == 0 && sum.maps_settled == status.map_outputs;
  return status;
}

// ---- orphans -------------------------------------------------------------------------------------------------------

Task<void> Drain::move_orphans(uint64_t round) {
  std::vector<std::pair<ShuffleKey, PartitionId>> merged;
  for (const ShuffleKey& shuffle : parts_.store.shuffles()) {
    for (const PartitionId partition : parts_.store.partitions(shuffle))
      merged.emplace_back(shuffle, partition);
  }
  to_look_ = merged.size();
  if (!merged.empty()) co_await look_at_members(merged.front().first, merged.front().second);
  for (const auto& [shuffle, partition] : merged) {
    co_await move_orphans_of(shuffle, partition);
    if (round_ != round) co_return;
    --to_look_;
  }
}

Task<void> Drain::move_orphans_of(ShuffleKey shuffle, PartitionId partition) {
  auto orphans = co_await orphans_of(shuffle, partition);
  if (!orphans) {
    lost("what is merged here cannot be read: " + orphans.error().message, 0, 0);
    co_return;
  }
  for (auto at = orphans->begin(); at != orphans->end();) {
    Orphans message;
    uint64_t bytes = 0;
    for (; at != orphans->end() &&
           (message.empty() || bytes + at->length <= parts_.options.chunk_bytes);
         ++at) {
      bytes += at->length;
      message.push_back(*at);
    }
    const std::size_t blocks = message.size();
    const Status sent = co_await send_to_any(shuffle, partition, std::move(message));
    if (sent)
      moved_.add(blocks);
    else
      lost(fmt::format("merged here, and the origin has gone: {}", sent.error().message), blocks,
           bytes);
  }
}

Task<Result<Drain::Orphans>> Drain::orphans_of(ShuffleKey shuffle, PartitionId partition) {
  auto view = co_await offload(parts_.runtime, [&]() -> Result<Orphans> {
    TRY_ASSIGN(const auto merged, parts_.store.find(shuffle, partition));
    return merged->view();
  });
  if (!view) {
    if (view.error().code == Code::kNotFound) co_return Orphans{};  // dropped or evicted meanwhile
    co_return view;
  }
  // Whose origin is alive and stays: here, or on another member that answers.
  PartitionInfo info;
  std::vector<MapOutputRef> own;
  parts_.table.describe(shuffle, partition, info, own);
  std::set<MapCommit> safe;
  const NodeTag self = tag_of(parts_.cluster.self());
  for (const OwnBlock& block : info.own) {
    if (!block.lost) safe.insert({block.map, {block.commit, self}});
  }
  for (const HeardBlock& heard : info.heard) {
    if (staying_.contains(heard.origin) && parts_.cluster.node(heard.origin) != nullptr &&
        parts_.cluster.is_up(heard.origin))
      safe.insert({heard.map, {heard.commit, tag_of(heard.origin)}});
  }
  std::erase_if(*view,
                [&](const MergedBlock& block) { return safe.contains({block.map, block.id}); });
  co_return view;
}

// An offer needs no room, so a node that has none for it takes nothing at all.
Task<void> Drain::look_at_members(ShuffleKey shuffle, PartitionId partition) {
  staying_.clear();
  draining_.clear();
  for (const NodeName& name : parts_.cluster.names()) {
    const std::shared_ptr<NodeApi> node = parts_.cluster.node(name);
    if (!node || name == parts_.cluster.self()) continue;
    PushRequest question = make_request(parts_, shuffle);
    // No node has this tag: nobody has such a block, or takes it for another.
    question.parts.push_back({MapId{}, {UINT64_MAX, NodeTag{}}, {{partition, 0, 1}}});
    question.offer = true;
    const auto reply = co_await node->push(std::move(question));
    if (!reply && reply.error().code == Code::kNoSpace)
      draining_.insert(name);
    else if (reply || !is_retryable(reply.error().code))
      staying_.insert(name);
  }
}

std::vector<NodeName> Drain::targets(const ShuffleKey& shuffle, PartitionId partition) {
  const uint32_t partitions =
      std::max(parts_.table.partition_count(shuffle), number(partition) + 1);
  const auto placement = parts_.placements.get(shuffle, partitions);
  std::vector<NodeName> all = {placement->owner(partition)};
  if (const auto second = placement->second(partition)) all.push_back(*second);
  for (const NodeName& name : parts_.cluster.names()) {
    if (std::ranges::find(all, name) == all.end()) all.push_back(name);
  }
  std::erase_if(all, [&](const NodeName& name) {
    return name == parts_.cluster.self() || draining_.contains(name);
  });
  return all;
}

Task<Status> Drain::send_to_any(ShuffleKey shuffle, PartitionId partition, Orphans orphans) {
  Status sent = make_error(Code::kPeerUnreachable, "there is no other node to bring it to");
  for (const NodeName& to : targets(shuffle, partition)) {
    sent = co_await send(to, shuffle, partition, orphans);
    if (sent || sent.error().code != Code::kNoSpace) break;
    draining_.insert(to);  // or full: it is not asked again
  }
  co_return sent;
}

Task<Status> Drain::send(NodeName to, ShuffleKey shuffle, PartitionId partition, Orphans orphans) {
  Duration pause = parts_.options.first_backoff;
  for (uint32_t attempt = 0;; ++attempt) {
    Status sent = co_await send_once(to, shuffle, partition, orphans);
    const bool again = !sent && is_retryable(sent.error().code);
    if (!again || attempt >= parts_.options.max_retries) co_return sent;
    co_await sleep_for(parts_.runtime, pause);
    pause = std::min<Duration>(2 * pause, parts_.options.longest_backoff);
  }
}

Task<Status> Drain::send_once(NodeName to, ShuffleKey shuffle, PartitionId partition,
                              Orphans orphans) {
  const std::shared_ptr<NodeApi> node = parts_.cluster.node(to);
  if (!node) co_return make_error(Code::kPeerUnreachable, to.str() + " has left the cluster");
  PushRequest request = make_request(parts_, shuffle);
  uint64_t bytes = 0;
  for (const MergedBlock& orphan : orphans) {
    request.parts.push_back({orphan.map, orphan.id, {{partition, orphan.crc, orphan.length}}});
    bytes += orphan.length;
  }
  CO_TRY_ASSIGN(ByteBudget::Lease lease,
                co_await parts_.budget.acquire(bytes, parts_.options.memory_patience));
  request.payload = Buffer(bytes, std::move(lease));
  CO_TRY(co_await offload(parts_.runtime, [&]() -> Status {
    TRY_ASSIGN(const auto merged, parts_.store.find(shuffle, partition));
    std::span<std::byte> into = request.payload.span();
    for (const MergedBlock& orphan : orphans) {
      TRY(merged->read(orphan.offset, into.first(orphan.length)));
      into = into.subspan(orphan.length);
    }
    return ok();
  }));
  PushRequest question = make_request(parts_, shuffle);
  question.life = request.life;
  question.parts = request.parts;
  question.offer = true;
  auto reply = co_await node->push(std::move(request));
  // What has been asked for outlives the other node's process.
  if (reply && reply->busy_ms == 0) reply = co_await node->push(std::move(question));
  if (!reply) co_return reply.error();
  if (reply->busy_ms > 0) co_return make_error(Code::kNoMemory, to.str() + " is busy");
  if (reply->missing > 0)
    co_return make_error(Code::kIo, to.str() + " has lost what it had just taken");
  co_return ok();
}

void Drain::lost(const std::string& reason, uint64_t blocks, uint64_t bytes) {
  GivenUp& sum = lost_[reason];
  sum.reason = reason;
  ++sum.chunks;
  sum.blocks += blocks;
  sum.bytes += bytes;
}

}  // namespace shufflefs::merge
