// What waits to be pushed to one owner (PushQueue), and how much of it may be under way
// (PushWindow).
//
// The queue is fair: one message for an application, then one for the next, and within an
// application one for each shuffle in turn, so that a huge shuffle does not starve a small one.
// Small chunks of one shuffle, of whatever map outputs, go together in one message, those of
// neighbouring partitions first: the owner appends what belongs to one partition in one piece.
//
// The window is in bytes. It grows with every answer (additively) and is halved by congestion: an
// answer that took long, a timeout, an owner that says it is busy (AIMD, as TCP's; Chiu and Jain,
// 1989). The owner's credit is an upper bound of it. After some failures in a row nothing more is
// sent for a while, which doubles with every failed probe (a circuit breaker); then one message
// probes whether the owner is well again.
//
// Threads: the reactor's. Pure: time and randomness are arguments. Cost: logarithmic in the number
// of applications, shuffles and groups.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/runtime.h"
#include "merge/push_chunk.h"

namespace shufflefs::merge {

class PushQueue {
 public:
  // To be taken at `due` or later.
  void add(PushChunk chunk, TimePoint due);
  // The chunks of the next message: at least one, more as long as all together have at most `bytes`
  // bytes and `blocks` blocks. All have the same shuffle, life and `offer`. Empty if none is due.
  [[nodiscard]] std::vector<PushChunk> take(uint64_t bytes, std::size_t blocks, TimePoint now);
  // Everything that is due.
  [[nodiscard]] std::vector<PushChunk> take_due(TimePoint now);

  [[nodiscard]] bool has_due(TimePoint now);
  // When the next one will be due, if none is now.
  [[nodiscard]] std::optional<TimePoint> next_due() const;
  [[nodiscard]] bool empty() const { return chunks_ == 0; }
  [[nodiscard]] std::size_t chunks() const { return chunks_; }
  [[nodiscard]] std::size_t blocks() const { return blocks_; }
  [[nodiscard]] uint64_t bytes() const { return bytes_; }

 private:
  using Groups = std::map<uint32_t, std::deque<PushChunk>>;
  struct Shuffle {
    Groups groups;
    uint32_t last_group = 0;
  };
  struct App {
    std::map<ShuffleId, Shuffle> shuffles;
    ShuffleId last_shuffle{};
  };

  void make_ready(PushChunk chunk);
  void promote(TimePoint now);
  void count_out(const PushChunk& chunk);

  std::map<AppId, App> apps_;
  AppId last_app_;
  std::multimap<TimePoint, PushChunk> later_;
  std::size_t chunks_ = 0;
  std::size_t blocks_ = 0;
  uint64_t bytes_ = 0;
};

struct PushWindowOptions {
  uint64_t least_bytes = 64U << 10U;
  uint64_t first_bytes = 1U << 20U;
  uint64_t most_bytes = 8U << 20U;
  uint64_t step_bytes = 256U << 10U;  // what an answer adds
  uint32_t most_messages = 2;         // under way at a time
  uint32_t failures_to_open = 3;
  Duration slow = std::chrono::seconds(2);  // an answer that took longer is congestion
  Duration first_pause = std::chrono::milliseconds(100);
  Duration longest_pause = std::chrono::seconds(5);
};

class PushWindow {
 public:
  explicit PushWindow(PushWindowOptions options)
      : options_(options), window_(options.first_bytes) {}

  // How many bytes the next message may have; 0: none may be sent now. A message of a single chunk
  // may be larger.
  [[nodiscard]] uint64_t room(TimePoint now) const;
  // Until then nothing is sent; in the past if it is not being left alone.
  [[nodiscard]] TimePoint paused_until() const { return paused_until_; }
  [[nodiscard]] bool is_open() const { return open_; }
  // Why it is left alone; empty if it is not.
  [[nodiscard]] const std::string& reason() const { return reason_; }
  [[nodiscard]] uint64_t window_bytes() const { return window_; }
  [[nodiscard]] uint64_t in_flight_bytes() const { return in_flight_; }
  [[nodiscard]] uint32_t messages() const { return messages_; }

  void sent(uint64_t bytes);
  // Exactly one of these for each sent():
  void answered(uint64_t bytes, Duration took, uint64_t credit_bytes, TimePoint now);
  void busy(uint64_t bytes, Duration come_again, TimePoint now);
  // True if the owner is left alone from now on, or again. `random` spreads the pauses of many
  // senders.
  bool failed(uint64_t bytes, std::string reason, TimePoint now, uint64_t random);
  void withdrawn(uint64_t bytes);  // it was not sent after all

 private:
  void done(uint64_t bytes);
  void halve(TimePoint now);

  PushWindowOptions options_;
  uint64_t window_;
  uint64_t credit_ = 0;  // 0: the owner has not said
  uint64_t in_flight_ = 0;
  uint32_t messages_ = 0;
  uint32_t failures_ = 0;  // in a row
  bool open_ = false;      // the breaker
  TimePoint paused_until_;
  TimePoint halved_;
  Duration last_took_{};
  std::string reason_;
};

}  // namespace shufflefs::merge
