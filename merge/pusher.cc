#include "merge/pusher.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "base/file_io.h"
#include "base/log.h"
#include "merge/ask_nodes.h"

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

Pusher::Pusher(Runtime& runtime, FileIo& io, ByteBudget& budget, Metrics& metrics, Cluster& cluster,
               ShuffleTable& table, PlacementCache& placements, PushOptions options)
    : runtime_(runtime),
      io_(io),
      budget_(budget),
      cluster_(cluster),
      table_(table),
      placements_(placements),
      options_(options),
      readers_(runtime, options.readers),
      sizes_(runtime, io, metrics, table),
      pushed_bytes_(metrics.counter("shufflefs_push_bytes_total",
                                    "Bytes of blocks that an owner acknowledged.")),
      pushed_blocks_(
          metrics.counter("shufflefs_push_blocks_total", "Blocks that an owner acknowledged.")),
      messages_(metrics.counter("shufflefs_push_messages_total", "Messages with chunks sent.")),
      duplicate_blocks_(metrics.counter("shufflefs_push_duplicate_blocks_total",
                                        "Pushed blocks that the owner had.")),
      retries_(metrics.counter("shufflefs_push_retries_total",
                               "Failed pushes of a chunk that were retried.")),
      busy_answers_(metrics.counter("shufflefs_push_busy_answers_total",
                                    "Messages refused by a busy owner.")),
      left_alone_(metrics.counter("shufflefs_push_left_alone_total",
                                  "Pauses of pushes to an owner after failures.")),
      given_up_chunks_(metrics.counters("shufflefs_push_given_up_chunks_total",
                                        "Chunks that will not be merged.", "reason")),
      planning_(runtime.make_timer()),
      scheduling_(runtime.make_timer()),
      gate_(runtime, "pusher") {
  // Register every reason now, so that it is exported as 0.
  for (const Code reason : {Code::kTimeout, Code::kPeerUnreachable, Code::kNoSpace, Code::kNoMemory,
                            Code::kTooLarge, Code::kDropped, Code::kRefused, Code::kCorruptData})
    (void)given_up_chunks_.with(std::string(to_string(reason)));
  metrics.gauge("shufflefs_push_in_flight_bytes", "Bytes on their way to owners.",
                [this] { return static_cast<double>(in_flight_bytes_); });
  metrics.gauge("shufflefs_push_queued_blocks", "Blocks waiting to be pushed.",
                [this] { return static_cast<double>(queued_blocks_); });
  metrics.gauge("shufflefs_push_waiting_maps", "Map outputs not cut into chunks yet.",
                [this] { return static_cast<double>(submitted_maps_); });
}

void Pusher::submit(Submission submission) {
  if (!options_.enabled && !submission.leaving) {
    table_.unpushed(*submission.output);
    return;
  }
  submitted_[submission.output->shuffle.app].push_back(std::move(submission));
  ++submitted_maps_;
  run();
  planning_->wake();
}

void Pusher::offer_again(const NodeName& owner) {
  if (!options_.enabled) return;
  for (const MapOutputRef& output : table_.all())
    submit({.output = output, .known = true, .only = owner});
}

void Pusher::run() {
  if (running_) return;
  running_ = true;
  gate_.spawn(plan_all());
  gate_.spawn(schedule());
}

std::size_t Pusher::pending() const {
  std::size_t chunks = submitted_maps_ + in_flight_chunks_;
  for (const auto& [name, owner] : active_) chunks += owner->queue.chunks();
  return chunks;
}

std::vector<PushOwnerStatus> Pusher::owners() const {
  std::vector<PushOwnerStatus> list;
  const TimePoint now = runtime_.now();
  for (const auto& [name, owner] : owners_) {
    const PushWindow& window = owner->window;
    list.push_back({name, owner->queue.chunks(), owner->queue.bytes(), window.in_flight_bytes(),
                    window.window_bytes(),
                    window.is_open() || window.paused_until() > now ? window.reason() : ""});
  }
  return list;
}

// ---- planning ------------------------------------------------------------------------------------------------------

Task<void> Pusher::plan_all() {
  while (true) {
    if (submitted_.empty() || queued_blocks_ >= options_.max_queued_blocks) {
      co_await planning_->wait_for(kIdle);
      continue;
    }
    auto app = submitted_.upper_bound(last_app_);
    if (app == submitted_.end()) app = submitted_.begin();
    last_app_ = app->first;
    Submission next = std::move(app->second.front());
    app->second.pop_front();
    if (app->second.empty()) submitted_.erase(app);
    co_await plan_one(std::move(next));
    --submitted_maps_;
  }
}

Task<void> Pusher::plan_one(Submission submission) {
  const MapOutputRef& output = submission.output;
  if (!is_current(*output)) co_return;
  const ShuffleKey& shuffle = output->shuffle;
  const auto sizes = co_await sizes_.of(output);
  if (!is_current(*output)) co_return;  // it has ended while we looked
  if (!sizes && submission.only) co_return;
  if (!sizes) {
    log_warning("push.unreadable", {{"shuffle", to_string(shuffle)},
                                    {"map", number(output->map)},
                                    {"file", output->data_path},
                                    {"errno", sizes.error().sys_errno},
                                    {"reason", sizes.error().message}});
    given_up_chunks_.with(std::string(to_string(sizes.error().code))).add();
    table_.planned(*output, 1, 0, 0);
    table_.chunk_given_up(*output, "the map output cannot be read: " + sizes.error().message, 0,
                          output->total_bytes);
    co_return;
  }
  if ((*sizes)->size() == 0) {
    if (!submission.only) table_.planned(*output, 0, 0, 0);
    co_return;
  }
  const auto placement = placements_.get(shuffle, (*sizes)->partition_count());
  ChunkPlan plan =
      plan_chunks(**sizes, *placement, {options_.chunk_bytes, options_.max_block_bytes},
                  output->map, options_.replicate ? std::optional(cluster_.self()) : std::nullopt);
  if (submission.only) {
    std::erase_if(plan.chunks, [&](const auto& chunk) { return chunk.first != *submission.only; });
    table_.chunks_added(*output, plan.chunks.size());
  } else {
    table_.planned(*output, plan.chunks.size(), plan.blocks_left_home, plan.bytes_left_home);
  }
  for (auto& [owner, chunk] : plan.chunks) {
    chunk.output = output;
    chunk.offer = submission.known;
    chunk.leaving = submission.leaving;
    if (submission.leaving && owner == cluster_.self() && reroute(owner, chunk, true)) continue;
    // Jittered, so that the owners do not get the chunks of all map outputs of a stage at once.
    enqueue(owner, std::move(chunk), random_up_to(options_.jitter));
  }
}

Duration Pusher::random_up_to(Duration end) {
  return Duration(
      static_cast<Duration::rep>(runtime_.random() % static_cast<uint64_t>(end.count() + 1)));
}

PushWindowOptions Pusher::window_options() const {
  PushWindowOptions window;
  window.least_bytes = std::min<uint64_t>(options_.chunk_bytes, window.least_bytes);
  window.most_messages = options_.per_owner;
  window.most_bytes = options_.chunk_bytes * options_.per_owner;
  window.first_bytes =
      std::min(window.most_bytes, std::max(window.least_bytes, options_.chunk_bytes / 2));
  window.step_bytes = std::max<uint64_t>(1, options_.chunk_bytes / 8);
  window.slow = options_.slow;
  window.first_pause = options_.first_backoff;
  window.longest_pause = options_.longest_backoff;
  return window;
}

void Pusher::enqueue(const NodeName& name, PushChunk chunk, Duration delay) {
  std::shared_ptr<Owner>& owner = owners_[name];
  if (!owner) owner = std::make_shared<Owner>(window_options());
  queued_blocks_ += chunk.blocks.size();
  owner->queue.add(std::move(chunk), runtime_.now() + delay);
  active_[name] = owner.get();
  scheduling_->wake();
}

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
  std::erase_if(chunks, [&](const PushChunk& chunk) { return !is_wanted(name, chunk); });
  if (chunks.empty()) return;
  const uint64_t bytes = chunks.front().offer ? 0 : bytes_of(chunks);
  owner.window.sent(bytes);
  in_flight_bytes_ += bytes;
  in_flight_chunks_ += chunks.size();
  gate_.spawn(send(name, std::move(chunks), bytes));
}

// An owner that has lost its disks, and what it was told with them, would take a replaced commit.
bool Pusher::is_wanted(const NodeName& owner, const PushChunk& chunk) {
  const MapOutput& output = *chunk.output;
  if (!is_current(output)) return false;
  const Status fit = table_.check_push(output.shuffle, output.life, output.map,
                                       {output.commit, tag_of(cluster_.self())});
  if (!fit) give_up(owner, chunk, fit.error());
  return fit.has_value();
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
    settle_busy(name, std::chrono::milliseconds(reply->busy_ms), std::move(message.chunks));
  } else {
    owner->window.answered(bytes, now - started, reply->credit_bytes, now);
    settle(name, *reply, std::move(message.chunks));
  }
  scheduling_->wake();
}

Task<Result<PushReply>> Pusher::exchange(NodeName name, PushMessage& message,
                                         std::vector<PushChunk> chunks, uint64_t bytes) {
  const std::shared_ptr<NodeApi> node = cluster_.node(name);
  message.chunks = std::move(chunks);
  // No bytes are read for an owner that is known to be down.
  if (!node) co_return make_error(Code::kPeerUnreachable, "it has left the cluster");
  if (!cluster_.is_up(name) && name != cluster_.self())
    co_return make_error(Code::kPeerUnreachable, down_reason(cluster_, name));
  CO_TRY_ASSIGN(auto lease, co_await budget_.acquire(bytes, options_.memory_patience));
  {
    // Not all disk threads: in the background a read may take long.
    CO_TRY_ASSIGN(const auto turn, co_await readers_.acquire(1, options_.memory_patience));
    CO_TRY(co_await offload(runtime_, [&]() -> Status {
      // The number of a commit that another node gets must not be given again after a restart.
      TRY(table_.flush());
      const BackgroundIo background;
      message = make_push_message(io_, cluster_.self(), std::move(message.chunks),
                                  Buffer(bytes, std::move(lease)),
                                  [this](const MapOutput& output) { return is_current(output); });
      return ok();
    }));
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

void Pusher::settle_busy(const NodeName& name, Duration pause, std::vector<PushChunk> chunks) {
  busy_answers_.add();
  const TimePoint now = runtime_.now();
  for (PushChunk& chunk : chunks) {
    if (!chunk.busy_since) chunk.busy_since = now;
    if (now - *chunk.busy_since > options_.busy_patience) {
      give_up(name, chunk, make_error(Code::kNoMemory, "it was busy all the time"));
      continue;
    }
    enqueue(name, std::move(chunk), pause);
  }
}

void Pusher::settle_failure(const NodeName& name, const Error& error, std::vector<PushChunk> chunks,
                            uint64_t bytes) {
  PushWindow& window = owners_.at(name)->window;
  const TimePoint now = runtime_.now();
  if (error.code == Code::kNoMemory) {
    const Duration pause = options_.first_backoff + std::chrono::milliseconds(1);
    window.busy(bytes, pause, now);
    settle_busy(name, pause, std::move(chunks));
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
    if (error.code == Code::kNoSpace && chunk.tried.empty() && reroute(name, chunk, true)) continue;
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
    if (to_second) piece.tried.push_back(from);
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
  return full / 2 + random_up_to(full / 2);
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
