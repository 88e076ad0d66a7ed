// What one connection has still to send, and the sending of it: frames that are ready, and chunks,
// whose bytes go from the page cache into the socket by sendfile(2).
//
// Responses to RPCs overtake chunks that have not begun; chunks and streams keep the order in which
// they were asked for, as Spark demands of streams.
//
// Threads: push*(), send_now() and watch() on the reactor; pump() on a thread of a lane, one at a
// time, never together with send_now(). A pump blocks on the disk of its lane only: for what is not
// in memory on another disk it asks to be called on that one's lane. Ownership: the connection's,
// which outlives every pump. Failure: kFailed, after which the connection is to be closed; a block
// that cannot be read is answered by a failure with the reason. Cost: memory for a queued chunk is
// 48 bytes; nothing of the chunk itself is held (with a cipher, one piece of 64 KiB).
#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <string>

#include "base/mutex.h"
#include "net/ess/block_files.h"
#include "net/ess/read_ahead.h"

namespace shufflefs::net::ess {

class Cipher;

class Outbox {
 public:
  struct Parts {
    Runtime& runtime;
    BlockFiles& files;
    ReadAhead& read_ahead;
    EssMetrics& metrics;
    const EssLimits& limits;
  };
  // `socket` is non-blocking and stays open as long as the outbox.
  Outbox(Parts parts, int socket) : parts_(parts), socket_(socket) { made_progress(); }

  // A response that may overtake.
  void push(Bytes frame);
  // A chunk of a stream; `as_stream`: asked for by StreamRequest.
  void push_chunk(std::shared_ptr<Stream> stream, uint32_t chunk, bool as_stream);
  // A frame that must keep its place among the chunks: the failure of a StreamRequest.
  void push_in_order(Bytes frame);

  [[nodiscard]] bool has_work() const;
  // Whether more may be asked: not too many chunks wait, nor too many bytes of responses.
  [[nodiscard]] bool has_room() const;

  struct Pumped {
    enum class Why { kIdle, kBlocked, kAgain, kFailed } why = Why::kIdle;
    std::size_t lane = 0;  // kAgain: where to go on
  };
  // Sends until there is nothing more, the client takes no more, another lane is needed, or others
  // wait for the lane. Says why it ended.
  [[nodiscard]] Pumped pump(std::size_t lane);
  // Sends frames that are ready without a thread of a lane, if no chunk is before them. REQUIRES:
  // no pump is running.
  [[nodiscard]] bool send_now();

  enum class Waits { kForNothing, kForClient, kForDisk };  // kForDisk: a pump runs or is to run
  enum class Health { kGood, kSlowClient, kSlowDisk };
  // Whether sending has stood still for too long; sends a sign of life where that is the cure.
  [[nodiscard]] Health watch(TimePoint now, Waits waits);

  // From now on everything is sealed by it. REQUIRES: nothing is queued, no pump is running.
  void encrypt(Cipher* cipher) { cipher_ = cipher; }

 private:
  struct Item {
    std::shared_ptr<Stream> stream;
    std::unique_ptr<Bytes> frame;  // instead of a stream
    uint32_t chunk = 0;
    bool as_stream = false;
    TimePoint asked{};
  };
  enum class Step { kDone, kBlocked, kElsewhere, kFailed };

  [[nodiscard]] Step flush() REQUIRES(wire_mu_);
  [[nodiscard]] Step send_body(std::size_t lane) REQUIRES(wire_mu_);
  [[nodiscard]] Step seal_body(uint64_t max_bytes) REQUIRES(wire_mu_);
  // Takes the next thing to send. kDone with nothing in out_ and body_ means that there is none.
  [[nodiscard]] Step next(std::size_t lane) REQUIRES(wire_mu_);
  [[nodiscard]] Step begin(Item& item, std::size_t lane) REQUIRES(wire_mu_);
  [[nodiscard]] Step put_out(Bytes frame) REQUIRES(wire_mu_);
  [[nodiscard]] std::optional<Result<Block>> find(Item& item, std::size_t lane) REQUIRES(wire_mu_);
  void note_work() REQUIRES(mu_);
  void fail(const Item& item, const Error& error) REQUIRES(wire_mu_);
  void drop_first() EXCLUDES(mu_);
  void made_progress() { progress_ = parts_.runtime.now(); }

  Parts parts_;
  const int socket_;
  Cipher* cipher_ = nullptr;

  mutable Mutex mu_ ACQUIRED_AFTER(wire_mu_);
  std::deque<Bytes> responses_ GUARDED_BY(mu_);
  std::size_t queued_bytes_ GUARDED_BY(mu_) = 0;  // of responses and of frames among the items
  std::deque<Item> items_ GUARDED_BY(mu_);        // the first is taken out when its frame has begun

  // Whoever writes to the socket. Given up while a pump waits for a disk between two frames.
  mutable Mutex wire_mu_;
  Bytes out_ GUARDED_BY(wire_mu_);
  std::size_t out_done_ GUARDED_BY(wire_mu_) = 0;
  Block body_ GUARDED_BY(wire_mu_);            // what is left of the frame that has begun
  uint64_t warm_to_ GUARDED_BY(wire_mu_) = 0;  // bytes of the body below this offset are in memory
  std::size_t lane_wanted_ GUARDED_BY(wire_mu_) = 0;
  uint64_t sent_ GUARDED_BY(wire_mu_) = 0;  // in this pump

  std::atomic<TimePoint> progress_{};  // when a byte was last sent, or there was first one to send
  TimePoint life_signed_{};            // the reactor's
};

}  // namespace shufflefs::net::ess
