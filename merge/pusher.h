// Brings committed map outputs to the owners of their partitions, in the background. A map task
// never waits for any of it, and a chunk that is given up is read from its origin.
//
// Planner: one map output after the other, the applications in turn, as long as the queues have
// room. Scheduler: the owners in turn, to each as much as its window allows (push_queue.h), within
// the push share of the memory budget. A chunk that fails is tried again with exponential back-off
// and jitter. After max_retries, or when its owner refuses it for good, it is given up with a
// reason. While pushes to an owner pause, its chunks share the fate of the probes.
//
// A chunk goes elsewhere when its owner has left the cluster (to the new owner), or has no room (to
// the second choice, once). A node that is being drained pushes to any node that takes it.
//
// Threads: reactor only; disk reads are offloaded, a few at a time (BackgroundIo). Memory:
// bytes are held under the budget while they are being sent; what waits is bounded by
// max_queued_blocks.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/gate.h"
#include "base/memory_budget.h"
#include "base/metrics.h"
#include "merge/block_lengths.h"
#include "merge/cluster.h"
#include "merge/engine_options.h"
#include "merge/placement.h"
#include "merge/push_queue.h"
#include "merge/shuffle_table.h"

namespace shufflefs::merge {

class Pusher {
 public:
  Pusher(Runtime& runtime, FileIo& io, ByteBudget& budget, Metrics& metrics, Cluster& cluster,
         ShuffleTable& table, PlacementCache& placements, PushOptions options);

  struct Submission {
    MapOutputRef output;
    bool known = false;                 // most of it has been merged earlier: ask before sending
    bool leaving = false;               // what this node owns itself goes to the second choice
    std::optional<NodeName> only = {};  // only what this node owns
  };
  void submit(Submission submission);
  // The owner has restarted. Its last writes may be lost (base/tail_file.h), and chunks that we
  // gave up on may succeed now.
  void offer_again(const NodeName& owner);
  // Map outputs and chunks that are neither merged nor given up yet.
  [[nodiscard]] std::size_t pending() const;
  [[nodiscard]] std::vector<PushOwnerStatus> owners() const;
  [[nodiscard]] Task<void> close() { return gate_.close(); }

 private:
  // How long a wait lasts that somebody else ends.
  static constexpr std::chrono::hours kIdle{1};

  struct Owner {
    explicit Owner(PushWindowOptions options) : window(options) {}
    PushQueue queue;
    PushWindow window;
  };

  void run();
  Task<void> plan_all();
  Task<void> plan_one(Submission submission);
  Task<void> schedule();
  // Sends what may be sent now; the time until which there is nothing more to do.
  TimePoint send_round();
  void start(const NodeName& name, Owner& owner, std::vector<PushChunk> chunks);
  [[nodiscard]] bool is_wanted(const NodeName& owner, const PushChunk& chunk);
  Task<void> send(NodeName name, std::vector<PushChunk> chunks, uint64_t bytes);
  Task<Result<PushReply>> exchange(NodeName name, PushMessage& message,
                                   std::vector<PushChunk> chunks, uint64_t bytes);

  [[nodiscard]] bool is_current(const MapOutput& output) const { return table_.is_current(output); }
  void enqueue(const NodeName& name, PushChunk chunk, Duration delay);
  void settle(const NodeName& name, const PushReply& reply, std::vector<PushChunk> chunks);
  void settle_busy(const NodeName& name, Duration pause, std::vector<PushChunk> chunks);
  void settle_failure(const NodeName& name, const Error& error, std::vector<PushChunk> chunks,
                      uint64_t bytes);
  void retry_or_give_up(const NodeName& name, PushChunk chunk, const Error& error);
  void fail_waiting(const NodeName& name, const Error& error);
  // To the owner by the member list of now, or to the second choice. False if there is no other.
  bool reroute(const NodeName& from, const PushChunk& chunk, bool to_second);
  // To any member that is up and was not tried; the chunk is moved from if so.
  bool send_elsewhere(const NodeName& from, PushChunk& chunk);
  void give_up(const NodeName& name, const PushChunk& chunk, const Error& error);
  [[nodiscard]] Duration backoff(uint32_t attempts);
  [[nodiscard]] Duration random_up_to(Duration end);
  [[nodiscard]] PushWindowOptions window_options() const;

  Runtime& runtime_;
  FileIo& io_;
  ByteBudget& budget_;
  Cluster& cluster_;
  ShuffleTable& table_;
  PlacementCache& placements_;
  const PushOptions options_;
  ByteBudget readers_;  // of turns, not of bytes
  OutputSizes sizes_;
  Counter& pushed_bytes_;
  Counter& pushed_blocks_;
  Counter& messages_;
  Counter& duplicate_blocks_;
  Counter& retries_;
  Counter& busy_answers_;
  Counter& left_alone_;
  Labelled<Counter>& given_up_chunks_;  // by reason

  std::map<AppId, std::deque<Submission>> submitted_;  // the applications in turn
  AppId last_app_;
  std::size_t submitted_maps_ = 0;
  std::size_t queued_blocks_ = 0;
  std::size_t in_flight_chunks_ = 0;
  uint64_t in_flight_bytes_ = 0;
  std::unique_ptr<Timer> planning_;
  std::unique_ptr<Timer> scheduling_;
  bool running_ = false;
  std::map<NodeName, std::shared_ptr<Owner>> owners_;
  std::map<NodeName, Owner*> active_;  // those with something in their queue
  NodeName last_owner_;
  Gate gate_;
};

}  // namespace shufflefs::merge
