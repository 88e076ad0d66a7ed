#include "merge/pusher.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/crc32c.h"
#include "base/log.h"

namespace shufflefs::merge {

namespace {

std::string down_reason(const Cluster& cluster, const NodeName& name) {
  for (const PeerHealth& peer : cluster.health()) {
    if (peer.name == name && !peer.reason.empty()) return peer.reason;
  }
  return "it is down";
}

}  // namespace

bool is_retryable(Code code) {
  switch (code) {
    case Code::kTimeout:
    case Code::kPeerUnreachable:
    case Code::kNoMemory:
    case Code::kIo:
    case Code::kCorruptData:  // damaged on the way
    case Code::kCancelled:    // the owner is stopping; it may be back soon
    case Code::kProtocol: return true;
    default: return false;
  }
}

Pusher::Pusher(Runtime& runtime, FileIo& io, ByteBudget& budget, Metrics& metrics, Cluster& cluster,
               LocalMaps& maps, PlacementCache& placements, PushLedger& ledger, PushOptions options)
    : runtime_(runtime),
      io_(io),
      budget_(budget),
      cluster_(cluster),
      maps_(maps),
      placements_(placements),
      ledger_(ledger),
      options_(options),
      pushed_bytes_(metrics.counter("shufflefs_push_bytes_total",
                                    "Bytes of blocks that an owner acknowledged as merged.")),
      pushed_blocks_(metrics.counter("shufflefs_push_blocks_total",
                                     "Blocks that an owner acknowledged as merged.")),
      duplicate_blocks_(metrics.counter("shufflefs_push_duplicate_blocks_total",
                                        "Pushed blocks that the owner had already.")),
      retries_(metrics.counter("shufflefs_push_retries_total",
                               "Attempts to push a chunk that failed and were tried again.")),
      given_up_chunks_(metrics.counter("shufflefs_push_given_up_chunks_total",
                                       "Chunks that will not be merged.")),
      submission_(runtime.make_timer()),
      gate_(runtime, "pusher") {}

void Pusher::submit(const ShuffleKey& shuffle, MapId map) {
  if (!options_.enabled) {
    ledger_.unpushed(shuffle, map);
    return;
  }
  submitted_.emplace_back(shuffle, map);
  if (!planning_) gate_.spawn(plan_all());
  planning_ = true;
  submission_->wake();
}

Task<void> Pusher::plan_all() {
  while (true) {
    if (submitted_.empty()) {
      co_await submission_->wait_for(std::chrono::hours(1));
      continue;
    }
    const auto [shuffle, map] = submitted_.front();
    submitted_.pop_front();
    co_await plan_one(shuffle, map);
  }
}

Task<void> Pusher::plan_one(ShuffleKey shuffle, MapId map) {
  const auto output = maps_.find(shuffle, map);
  if (!output) co_return;
  const auto lengths =
      co_await offload(runtime_, [this, &output] { return block_lengths(io_, *output); });
  if (!maps_.find(shuffle, map)) co_return;  // removed while we looked
  if (!lengths) {
    log_warning("push.unreadable", {{"shuffle", to_string(shuffle)},
                                    {"map", number(map)},
                                    {"file", output->data_path},
                                    {"errno", lengths.error().sys_errno},
                                    {"reason", lengths.error().message}});
    ledger_.planned(shuffle, map, 1, 0, 0);
    ledger_.chunk_given_up(shuffle, map,
                           "the map output cannot be read: " + lengths.error().message, 0,
                           output->total_bytes);
    co_return;
  }
  if (lengths->empty()) {
    ledger_.planned(shuffle, map, 0, 0, 0);
    co_return;
  }
  const auto placement = placements_.get(shuffle, static_cast<uint32_t>(lengths->size()));
  ChunkPlan plan =
      plan_chunks(*lengths, *placement, {options_.chunk_bytes, options_.max_block_bytes}, map,
                  options_.replicate ? std::optional(cluster_.self()) : std::nullopt);
  ledger_.planned(shuffle, map, plan.chunks.size(), plan.blocks_left_home, plan.bytes_left_home);
  for (PlannedChunk& planned : plan.chunks) {
    // Jittered, so that the owners do not get the chunks of all map outputs of a stage at the same
    // moment.
    const auto jitter =
        options_.jitter.count() > 0
            ? Duration(runtime_.random() % static_cast<uint64_t>(options_.jitter.count()))
            : Duration(0);
    enqueue(planned.owner, {shuffle, map, std::move(planned.partitions), planned.bytes, 0,
                            runtime_.now() + jitter});
  }
}

void Pusher::enqueue(const NodeName& name, Chunk chunk) {
  std::shared_ptr<Owner>& owner = owners_[name];
  if (!owner) {
    owner = std::make_shared<Owner>();
    for (std::size_t worker = 0; worker < options_.per_owner; ++worker) {
      owner->idle.push_back(runtime_.make_timer());
      gate_.spawn(work(name, owner, worker));
    }
  }
  owner->queue.push_back(std::move(chunk));
  for (const auto& idle : owner->idle) idle->wake();
}

Task<void> Pusher::work(NodeName name, std::shared_ptr<Owner> owner, std::size_t worker) {
  while (true) {
    const TimePoint now = runtime_.now();
    const auto ready = std::find_if(owner->queue.begin(), owner->queue.end(),
                                    [&](const Chunk& c) { return c.not_before <= now; });
    if (ready != owner->queue.end()) {
      Chunk chunk = std::move(*ready);
      owner->queue.erase(ready);
      co_await attempt(name, owner, std::move(chunk));
      continue;
    }
    const auto next = std::min_element(
        owner->queue.begin(), owner->queue.end(),
        [](const Chunk& a, const Chunk& b) { return a.not_before < b.not_before; });
    const Duration wait =
        next != owner->queue.end() ? next->not_before - now : Duration(std::chrono::hours(1));
    co_await owner->idle[worker]->wait_for(wait);
  }
}

Task<void> Pusher::attempt(NodeName name, std::shared_ptr<Owner> owner, Chunk chunk) {
  auto output = maps_.find(chunk.shuffle, chunk.map);
  if (!output) co_return;  // dropped or unlinked: nobody wants it any more
  const std::shared_ptr<NodeApi> node = cluster_.node(name);
  Result<PushReply> reply = make_error(Code::kPeerUnreachable, "it has left the cluster");
  // No bytes are read for an owner that is known to be down.
  if (node && !cluster_.is_up(name) && name != cluster_.self())
    reply = make_error(Code::kPeerUnreachable, down_reason(cluster_, name));
  else if (node)
    reply = co_await send(node, std::move(*output), chunk);
  if (!reply) {
    if (!maps_.find(chunk.shuffle, chunk.map)) co_return;
    settle_failure(name, *owner, std::move(chunk), reply.error());
    co_return;
  }
  pushed_blocks_.add(reply->merged);
  duplicate_blocks_.add(reply->duplicates);
  pushed_bytes_.add(chunk.bytes);
  ledger_.chunk_merged(chunk.shuffle, chunk.map);
}

Task<Result<PushReply>> Pusher::send(std::shared_ptr<NodeApi> node, MapOutput output,
                                     const Chunk& chunk) {
  CO_TRY_ASSIGN(ByteBudget::Lease lease,
                co_await budget_.acquire(chunk.bytes, options_.memory_patience));
  PushRequest request{output.shuffle, output.map, cluster_.self(),
                      output.epoch,   {},         Buffer(chunk.bytes, std::move(lease)),
                      output.owner};
  const Status read = co_await offload(runtime_, [&]() -> Status {
    TRY_ASSIGN(MapOutputReader reader, MapOutputReader::open(io_, output));
    uint64_t at = 0;
    for (const PartitionId partition : chunk.partitions) {
      const uint64_t length =
          number(partition) < reader.lengths().size() ? reader.lengths()[number(partition)] : 0;
      if (length == 0 || length > chunk.bytes - at)
        return make_error(Code::kInvalidArgument, "the map output changed after its commit");
      const std::span<std::byte> into = request.payload.span().subspan(at, length);
      TRY(reader.read(partition, 0, into));
      request.blocks.push_back({partition, crc32c(into), length});
      at += length;
    }
    if (at != chunk.bytes)
      return make_error(Code::kInvalidArgument, "the map output changed after its commit");
    return ok();
  });
  // A local failure is final: another attempt would read the same file.
  if (!read)
    co_return make_error(Code::kRefused, "cannot read it at home: " + read.error().message);
  co_return co_await node->push(std::move(request));
}

Duration Pusher::backoff(uint32_t attempts) {
  const Duration full = std::min<Duration>(
      options_.first_backoff * (1LL << std::min(attempts, 20U)), options_.longest_backoff);
  return full / 2 + Duration(runtime_.random() % static_cast<uint64_t>(full.count() / 2 + 1));
}

void Pusher::settle_failure(const NodeName& name, Owner& owner, Chunk chunk, const Error& error) {
  if (is_retryable(error.code) && chunk.attempts < options_.max_retries) {
    retries_.add();
    chunk.not_before = runtime_.now() + backoff(chunk.attempts);
    ++chunk.attempts;
    owner.queue.push_back(std::move(chunk));
    for (const auto& idle : owner.idle) idle->wake();
    return;
  }
  given_up_chunks_.add();
  log_limited(LogLevel::kWarning, "push.gave_up",
              {{"shuffle", to_string(chunk.shuffle)},
               {"map", number(chunk.map)},
               {"owner", name.str()},
               {"first_partition", number(chunk.partitions.front())},
               {"blocks", chunk.partitions.size()},
               {"bytes", chunk.bytes},
               {"attempts", chunk.attempts + 1},
               {"reason", error.message}});
  ledger_.chunk_given_up(chunk.shuffle, chunk.map,
                         fmt::format("owner {}: {}", name.str(), error.message),
                         chunk.partitions.size(), chunk.bytes);
}

}  // namespace shufflefs::merge
