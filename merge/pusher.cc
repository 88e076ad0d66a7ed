#include "merge/pusher.h"

#include <fmt/format.h>

#include "base/log.h"

namespace shufflefs::merge {
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
                                    "Bytes of blocks that an owner acknowledged as merged.")),
      pushed_blocks_(metrics.counter("shufflefs_push_blocks_total",
                                     "Blocks that an owner acknowledged as merged.")),
      messages_(metrics.counter("shufflefs_push_messages_total",
                                "Messages with chunks that were sent to owners.")),
      duplicate_blocks_(metrics.counter("shufflefs_push_duplicate_blocks_total",
                                        "Pushed blocks that the owner had already.")),
      retries_(metrics.counter("shufflefs_push_retries_total",
                               "Attempts to push a chunk that failed and were tried again.")),
      busy_answers_(metrics.counter("shufflefs_push_busy_answers_total",
                                    "Messages that an owner was too busy to take.")),
      left_alone_(metrics.counter("shufflefs_push_left_alone_total",
                                  "How often an owner was left alone for a while after failures.")),
      given_up_chunks_(metrics.counters("shufflefs_push_given_up_chunks_total",
                                        "Chunks that will not be merged.", "reason")),
      planning_(runtime.make_timer()),
      scheduling_(runtime.make_timer()),
      gate_(runtime, "pusher") {
  // There from the start, as 0.
  for (const Code reason : {Code::kTimeout, Code::kPeerUnreachable, Code::kNoSpace, Code::kNoMemory,
                            Code::kTooLarge, Code::kDropped, Code::kRefused, Code::kCorruptData})
    (void)given_up_chunks_.with(std::string(to_string(reason)));
  metrics.gauge("shufflefs_push_in_flight_bytes", "Bytes on their way to owners.",
                [this] { return static_cast<double>(in_flight_bytes_); });
  metrics.gauge("shufflefs_push_queued_blocks", "Blocks that wait to be pushed.",
                [this] { return static_cast<double>(queued_blocks_); });
  metrics.gauge("shufflefs_push_waiting_maps", "Map outputs that wait to be cut into chunks.",
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
    std::erase_if(plan.chunks,
                  [&](const PlannedChunk& chunk) { return chunk.owner != *submission.only; });
    table_.chunks_added(*output, plan.chunks.size());
  } else {
    table_.planned(*output, plan.chunks.size(), plan.blocks_left_home, plan.bytes_left_home);
  }
  for (const PlannedChunk& planned : plan.chunks) {
    // Jittered, so that the owners do not get the chunks of all map outputs of a stage at the same
    // moment.
    const auto jitter =
        options_.jitter.count() > 0
            ? Duration(static_cast<Duration::rep>(runtime_.random() %
                                                  static_cast<uint64_t>(options_.jitter.count())))
            : Duration(0);
    PushChunk chunk = make_push_chunk(output, planned, placement->bucket_width());
    chunk.offer = submission.known;
    chunk.leaving = submission.leaving;
    if (submission.leaving && planned.owner == cluster_.self() &&
        reroute(planned.owner, chunk, true))
      continue;
    enqueue(planned.owner, std::move(chunk), jitter);
  }
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

}  // namespace shufflefs::merge
