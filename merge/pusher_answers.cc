// How the pusher sends what it has planned, and what it makes of the answers.
#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "base/background_io.h"
#include "base/log.h"
#include "merge/patience.h"
#include "merge/pusher.h"

namespace shufflefs::merge {
namespace {

// More blocks than this in one message would make its header large for no gain.
constexpr std::size_t kMostBlocks = 32'768;

std::string down_reason(const Cluster& cluster, const NodeName& name) {
  for (const PeerHealth& peer : cluster.health()) {
    if (peer.name == name && !peer.reason.empty()) return peer.reason;
  }
  return "it is down";
}

// What says that the owner is not well, and not only this chunk.
bool is_sickness(Code code) {
  return code == Code::kTimeout || code == Code::kPeerUnreachable || code == Code::kProtocol ||
         code == Code::kCancelled;
}

uint64_t bytes_of(const std::vector<PushChunk>& chunks) {
  return std::accumulate(chunks.begin(), chunks.end(), uint64_t{0},
                         [](uint64_t sum, const PushChunk& chunk) { return sum + chunk.bytes; });
}

}  // namespace

// ---- scheduling ----------------------------------------------------------------------------------------------------

Task<void> Pusher::schedule() {
  while (true) {
    const TimePoint until = send_round();
    const TimePoint now = runtime_.now();
    if (until > now) co_await scheduling_->wait_for(until - now);
  }
}

TimePoint Pusher::send_round() {
  const TimePoint now = runtime_.now();
  TimePoint until = now + kIdle;
  const std::size_t owners = active_.size();
  auto it = active_.upper_bound(last_owner_);
  for (std::size_t i = 0; i < owners; ++i) {
    if (it == active_.end()) it = active_.begin();
    if (it == active_.end()) break;
    const NodeName name = it->first;
    Owner& owner = *it->second;
    ++it;
    const uint64_t limit = budget_.total_bytes();
    if (in_flight_bytes_ >= limit) return now + kIdle;  // an answer wakes us
    const uint64_t room = owner.window.room(now);
    if (room == 0) {
      if (owner.window.paused_until() > now) until = std::min(until, owner.window.paused_until());
      continue;
    }
    if (!owner.queue.has_due(now)) {
      if (const auto due = owner.queue.next_due()) until = std::min(until, *due);
      continue;
    }
    const uint64_t most = std::min({room, options_.chunk_bytes, limit - in_flight_bytes_});
    auto chunks = owner.queue.take(most, kMostBlocks, now);
    if (owner.queue.empty()) active_.erase(name);
    start(name, owner, std::move(chunks));
    last_owner_ = name;
    until = now;  // there may be more
  }
  return until;
}

void Pusher::start(const NodeName& name, Owner& owner, std::vector<PushChunk> chunks) {
  for (const PushChunk& chunk : chunks) queued_blocks_ -= chunk.blocks.size();
  if (queued_blocks_ < options_.max_queued_blocks) planning_->wake();
  std::erase_if(chunks, [this](const PushChunk& chunk) { return !is_current(*chunk.output); });
  if (chunks.empty()) return;
  const uint64_t bytes = chunks.front().offer ? 0 : bytes_of(chunks);
  owner.window.sent(bytes);
  in_flight_bytes_ += bytes;
  in_flight_chunks_ += chunks.size();
  gate_.spawn(send(name, std::move(chunks), bytes));
}

Task<void> Pusher::send(NodeName name, std::vector<PushChunk> chunks, uint64_t bytes) {
  const std::shared_ptr<Owner> owner = owners_.at(name);
  const std::size_t count = chunks.size();
  const TimePoint started = runtime_.now();
  PushMessage message;
  const auto reply = co_await exchange(name, message, std::move(chunks), bytes);
  in_flight_bytes_ -= bytes;
  in_flight_chunks_ -= count;
  // What could not be read here says nothing about the owner.
  for (auto& [chunk, reason] : message.unreadable)
    give_up(name, chunk, make_error(Code::kCorruptData, "cannot read it at home: " + reason));
  std::erase_if(message.chunks,
                [this](const PushChunk& chunk) { return !is_current(*chunk.output); });
  const TimePoint now = runtime_.now();
  if (!reply) {
    settle_failure(name, reply.error(), std::move(message.chunks), bytes);
  } else if (reply->busy_ms > 0) {
    owner->window.busy(bytes, std::chrono::milliseconds(reply->busy_ms), now);
    settle_busy(name, *reply, std::move(message.chunks));
  } else {
    owner->window.answered(bytes, now - started, reply->credit_bytes, now);
    settle(name, *reply, std::move(message.chunks));
  }
  scheduling_->wake();
}

Task<Result<PushReply>> Pusher::exchange(NodeName name, PushMessage& message,
                                         std::vector<PushChunk> chunks, uint64_t bytes) {
  const std::shared_ptr<NodeApi> node = cluster_.node(name);
  // No bytes are read for an owner that is known to be down.
  std::optional<Error> gone;
  if (!node)
    gone = make_error(Code::kPeerUnreachable, "it has left the cluster");
  else if (!cluster_.is_up(name) && name != cluster_.self())
    gone = make_error(Code::kPeerUnreachable, down_reason(cluster_, name));
  if (gone) {
    message.chunks = std::move(chunks);
    co_return *std::move(gone);
  }
  auto lease = co_await budget_.acquire(bytes, options_.memory_patience);
  if (!lease) {
    message.chunks = std::move(chunks);
    co_return std::move(lease).error();
  }
  {
    // Not all disk threads: in the background a read may take long.
    const auto turn = co_await readers_.acquire(1, options_.memory_patience);
    if (!turn) {
      message.chunks = std::move(chunks);
      co_return turn.error();
    }
    message = co_await offload(runtime_, [&] {
      const BackgroundIo background;
      return make_push_message(io_, cluster_.self(), std::move(chunks),
                               Buffer(bytes, *std::move(lease)),
                               [this](const MapOutput& output) { return is_current(output); });
    });
  }
  if (message.chunks.empty()) co_return PushReply{};
  messages_.add();
  // Credit and window are for what is under way; a request that turned out smaller is fine.
  co_return co_await node->push(std::move(message.request));
}

// ---- answers -------------------------------------------------------------------------------------------------------

void Pusher::settle(const NodeName& name, const PushReply& reply, std::vector<PushChunk> chunks) {
  pushed_blocks_.add(reply.merged);
  duplicate_blocks_.add(reply.duplicates);
  for (PushChunk& chunk : chunks) {
    if (chunk.offer && reply.missing > 0) {
      // Some block of the message is not there: send this one for real; what is there is a
      // duplicate.
      chunk.offer = false;
      enqueue(name, std::move(chunk), Duration(0));
      continue;
    }
    if (!chunk.offer) pushed_bytes_.add(chunk.bytes);
    if (!chunk.offer && chunk.leaving) {
      // It may be in the owner's memory only (base/tail_file.h); to be asked for, it is written.
      chunk.offer = true;
      enqueue(name, std::move(chunk), Duration(0));
      continue;
    }
    table_.chunk_merged(*chunk.output);
  }
}

void Pusher::settle_busy(const NodeName& name, const PushReply& reply,
                         std::vector<PushChunk> chunks) {
  busy_answers_.add();
  const TimePoint now = runtime_.now();
  for (PushChunk& chunk : chunks) {
    if (!chunk.busy_since) chunk.busy_since = now;
    if (now - *chunk.busy_since > options_.busy_patience) {
      give_up(name, chunk, make_error(Code::kNoMemory, "it was busy all the time"));
      continue;
    }
    enqueue(name, std::move(chunk), std::chrono::milliseconds(reply.busy_ms));
  }
}

void Pusher::settle_failure(const NodeName& name, const Error& error, std::vector<PushChunk> chunks,
                            uint64_t bytes) {
  PushWindow& window = owners_.at(name)->window;
  const TimePoint now = runtime_.now();
  if (error.code == Code::kNoMemory) {
    PushReply busy;
    busy.busy_ms = static_cast<uint32_t>(
        std::chrono::duration_cast<std::chrono::milliseconds>(options_.first_backoff).count() + 1);
    window.busy(bytes, std::chrono::milliseconds(busy.busy_ms), now);
    settle_busy(name, busy, std::move(chunks));
    return;
  }
  bool opened = false;
  if (is_sickness(error.code))
    opened = window.failed(bytes, error.message, now, runtime_.random());
  else
    window.answered(bytes, Duration(0), 0, now);
  const bool left = cluster_.node(name) == nullptr;
  for (PushChunk& chunk : chunks) {
    if (left && reroute(name, chunk, false)) continue;
    if (error.code == Code::kNoSpace && !chunk.second && reroute(name, chunk, true)) continue;
    if (error.code == Code::kNoSpace && chunk.leaving && send_elsewhere(name, chunk)) continue;
    if (!is_retryable(error.code) && chunks.size() > 1) {
      chunk.alone = true;  // which of them it was about shows when each goes by itself
      enqueue(name, std::move(chunk), Duration(0));
      continue;
    }
    retry_or_give_up(name, std::move(chunk), error);
  }
  if (opened) {
    left_alone_.add();
    log_limited(LogLevel::kWarning, "push.left_alone",
                {{"owner", name.str()}, {"reason", error.message}});
    fail_waiting(name, error);
  }
}

void Pusher::retry_or_give_up(const NodeName& name, PushChunk chunk, const Error& error) {
  const bool may_pass = is_retryable(error.code);
  if (!may_pass || chunk.attempts >= options_.max_retries) {
    if (!may_pass || !chunk.leaving || !send_elsewhere(name, chunk)) give_up(name, chunk, error);
    return;
  }
  retries_.add();
  const Duration pause = backoff(chunk.attempts);
  ++chunk.attempts;
  enqueue(name, std::move(chunk), pause);
}

// Else each of thousands of chunks would have to find out by itself that its owner is not there.
void Pusher::fail_waiting(const NodeName& name, const Error& error) {
  Owner& owner = *owners_.at(name);
  std::vector<PushChunk> waiting = owner.queue.take_due(runtime_.now());
  if (owner.queue.empty()) active_.erase(name);
  const bool left = cluster_.node(name) == nullptr;
  for (PushChunk& chunk : waiting) {
    queued_blocks_ -= chunk.blocks.size();
    if (!is_current(*chunk.output)) continue;
    if (left && reroute(name, chunk, false)) continue;
    retry_or_give_up(name, std::move(chunk), error);
  }
  planning_->wake();
}

bool Pusher::reroute(const NodeName& from, const PushChunk& chunk, bool to_second) {
  const auto placement = placements_.get(chunk.output->shuffle, chunk.output->partition_count);
  const auto choice = [&](PartitionId partition) {
    if (!to_second) return placement->owner(partition);
    // The second choice may be the one that has no room; then the first has.
    const auto second = placement->second(partition);
    return second && *second != from ? *second : placement->owner(partition);
  };
  auto pieces = split_by_owner(chunk, choice);
  // A second copy on the origin's own disk is worth nothing.
  const bool useless = std::ranges::any_of(pieces, [&](const auto& piece) {
    return piece.first == from || (to_second && piece.first == cluster_.self());
  });
  if (useless) return false;
  table_.chunks_added(*chunk.output, pieces.size() - 1);
  for (auto& [owner, piece] : pieces) {
    piece.second = piece.second || to_second;
    enqueue(owner, std::move(piece), Duration(0));
  }
  return true;
}

bool Pusher::send_elsewhere(const NodeName& from, PushChunk& chunk) {
  chunk.tried.push_back(from);
  for (const NodeName& name : cluster_.names()) {
    if (name == cluster_.self() || !cluster_.is_up(name)) continue;
    if (std::ranges::find(chunk.tried, name) != chunk.tried.end()) continue;
    chunk.attempts = 0;
    chunk.busy_since.reset();
    enqueue(name, std::move(chunk), Duration(0));
    return true;
  }
  return false;
}

Duration Pusher::backoff(uint32_t attempts) {
  const Duration full = std::min<Duration>(
      options_.first_backoff * (1LL << std::min(attempts, 20U)), options_.longest_backoff);
  return full / 2 + Duration(static_cast<Duration::rep>(
                        runtime_.random() % static_cast<uint64_t>(full.count() / 2 + 1)));
}

void Pusher::give_up(const NodeName& name, const PushChunk& chunk, const Error& error) {
  const MapOutput& output = *chunk.output;
  if (!is_current(output)) return;  // dropped or unlinked: nobody wants it any more
  given_up_chunks_.with(std::string(to_string(error.code))).add();
  log_limited(LogLevel::kWarning, "push.gave_up",
              {{"shuffle", to_string(output.shuffle)},
               {"map", number(output.map)},
               {"owner", name.str()},
               {"first_partition", number(chunk.blocks.front().partition)},
               {"blocks", chunk.blocks.size()},
               {"bytes", chunk.bytes},
               {"attempts", chunk.attempts + 1},
               {"reason", error.message}});
  table_.chunk_given_up(output, fmt::format("owner {}: {}", name.str(), error.message),
                        chunk.blocks.size(), chunk.bytes);
}

}  // namespace shufflefs::merge
