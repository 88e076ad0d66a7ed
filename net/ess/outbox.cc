#include "net/ess/outbox.h"

#include <netinet/tcp.h>
#include <sys/sendfile.h>
#include <sys/socket.h>

#include <algorithm>

#include "base/log.h"
#include "base/mutex.h"
#include "net/ess/auth/session_cipher.h"

namespace shufflefs::net::ess {
namespace {

// After so many bytes others get the lane.
constexpr uint64_t kPumpBytes = 2U << 20U;
// What is looked at and sent in one go.
constexpr uint64_t kSliceBytes = 1U << 20U;
constexpr std::size_t kPieceBytes = std::size_t{64} << 10U;  // when sealing
// Of responses that wait; beyond it the client is not read.
constexpr std::size_t kMaxQueuedBytes = std::size_t{256} << 10U;
constexpr std::size_t kMaxResponsesAtOnce = std::size_t{64} << 10U;
// Room for the header in a frame of the largest size.
constexpr uint64_t kMaxChunkBytes = kMaxFrameBytes - 64;

// Holds back segments that are not full, so that many small blocks do not become as many packets.
class Corked {
 public:
  explicit Corked(int socket) : socket_(socket) { set(1); }
  ~Corked() { set(0); }
  Corked(const Corked&) = delete;
  Corked& operator=(const Corked&) = delete;

 private:
  void set(int on) const { (void)::setsockopt(socket_, IPPROTO_TCP, TCP_CORK, &on, sizeof(on)); }
  int socket_;
};

}  // namespace

void Outbox::note_work() {
  if (responses_.empty() && items_.empty()) made_progress();
}

void Outbox::push(Bytes frame) {
  const MutexLock lock(mu_);
  note_work();
  queued_bytes_ += frame.size();
  responses_.push_back(std::move(frame));
}

void Outbox::push_chunk(std::shared_ptr<Stream> stream, uint32_t chunk, bool as_stream) {
  const MutexLock lock(mu_);
  note_work();
  items_.push_back({std::move(stream), nullptr, chunk, as_stream, parts_.runtime.now()});
}

void Outbox::push_in_order(Bytes frame) {
  const MutexLock lock(mu_);
  note_work();
  queued_bytes_ += frame.size();
  items_.push_back({nullptr, std::make_unique<Bytes>(std::move(frame)), 0, false, {}});
}

bool Outbox::has_work() const {
  {
    const MutexLock lock(mu_);
    if (!responses_.empty() || !items_.empty()) return true;
  }
  const MutexLock wire(wire_mu_);
  return !out_.empty() || body_.length > 0;
}

bool Outbox::has_room() const {
  const MutexLock lock(mu_);
  return items_.size() <= parts_.limits.queued_chunks && queued_bytes_ <= kMaxQueuedBytes;
}

void Outbox::drop_first() {
  Item dropped;  // destroyed outside of the lock
  const MutexLock lock(mu_);
  dropped = std::move(items_.front());
  items_.pop_front();
}

Outbox::Step Outbox::put_out(Bytes frame) {
  if (cipher_ == nullptr) {
    if (out_.empty())
      out_ = std::move(frame);
    else
      out_.insert(out_.end(), frame.begin(), frame.end());
    return Step::kDone;
  }
  std::span<const std::byte> rest(frame);
  while (!rest.empty()) {
    const auto piece = rest.first(std::min(rest.size(), Cipher::kMaxSealBytes));
    if (!cipher_->seal(piece, out_)) return Step::kFailed;
    rest = rest.subspan(piece.size());
  }
  return Step::kDone;
}

Outbox::Step Outbox::flush() {
  while (out_done_ < out_.size()) {
    const int flags = MSG_NOSIGNAL | MSG_DONTWAIT | (body_.length > 0 ? MSG_MORE : 0);
    const ssize_t n = ::send(socket_, &out_[out_done_], out_.size() - out_done_, flags);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno == EAGAIN || errno == EWOULDBLOCK ? Step::kBlocked : Step::kFailed;
    made_progress();
    out_done_ += static_cast<std::size_t>(n);
    sent_ += static_cast<uint64_t>(n);
  }
  // Nothing is kept of what was large.
  if (out_.capacity() > kPieceBytes * 2)
    out_ = Bytes();
  else
    out_.clear();
  out_done_ = 0;
  return Step::kDone;
}

Outbox::Step Outbox::send_body(std::size_t lane) {
  OpenOutput& output = *body_.output;
  const uint64_t slice = std::min(body_.length, kSliceBytes);
  if (body_.offset >= warm_to_) {
    if (!ReadAhead::in_memory(output, body_.offset, slice)) {
      lane_wanted_ = output.lane();
      if (lane != lane_wanted_) return Step::kElsewhere;
      // Of a block that has begun the rest is wanted next.
      parts_.read_ahead.fetch_run(output, body_.offset, slice, body_.length);
    }
    warm_to_ = body_.offset + slice;
  }
  const uint64_t max_bytes = std::min(body_.length, warm_to_ - body_.offset);
  if (cipher_ != nullptr) return seal_body(max_bytes);
  auto offset = static_cast<off_t>(body_.offset);
  const ssize_t n = ::sendfile(socket_, output.data_fd(), &offset, max_bytes);
  if (n < 0 && errno == EINTR) return Step::kDone;
  if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return Step::kBlocked;
  if (n <= 0) {
    // The client has the length already: all that is left is to close, and it will ask again.
    if (n == 0 || (errno != EPIPE && errno != ECONNRESET)) {
      log_limited(LogLevel::kWarning, "spark.read_failed",
                  {{"file", output.data_path()},
                   {"offset", body_.offset},
                   {"reason", n == 0 ? std::string("the file has become shorter")
                                     : errno_error("sendfile").message}});
    }
    return Step::kFailed;
  }
  made_progress();
  const auto sent = static_cast<uint64_t>(n);
  parts_.metrics.chunk_bytes.add(sent);
  sent_ += sent;
  body_.offset += sent;
  body_.length -= sent;
  if (body_.length == 0) body_.output.reset();
  return Step::kDone;
}

Outbox::Step Outbox::seal_body(uint64_t max_bytes) {
  const auto size = static_cast<std::size_t>(std::min<uint64_t>(max_bytes, kPieceBytes));
  Bytes piece(size);
  const ssize_t n =
      ::pread(body_.output->data_fd(), piece.data(), size, static_cast<off_t>(body_.offset));
  if (n < 0 && errno == EINTR) return Step::kDone;
  if (n <= 0) {
    log_limited(LogLevel::kWarning, "spark.read_failed",
                {{"file", body_.output->data_path()},
                 {"offset", body_.offset},
                 {"reason", n == 0 ? std::string("the file has become shorter")
                                   : errno_error("pread").message}});
    return Step::kFailed;
  }
  const auto got = static_cast<std::size_t>(n);
  if (!cipher_->seal(std::span(piece).first(got), out_)) return Step::kFailed;
  parts_.metrics.chunk_bytes.add(got);
  body_.offset += got;
  body_.length -= got;
  if (body_.length == 0) body_.output.reset();
  return Step::kDone;
}

std::optional<Result<Block>> Outbox::find(Item& item, std::size_t lane) {
  Stream& stream = *item.stream;
  auto found = parts_.files.find(stream, item.chunk, Wait::kNo);
  if (!found) {
    lane_wanted_ = parts_.files.lane_of(stream, item.chunk);
    if (lane != lane_wanted_) return std::nullopt;
    wire_mu_.unlock();
    found = parts_.files.find(stream, item.chunk, Wait::kYes);
    wire_mu_.lock();
  }
  if (!*found) return found;
  const Block& block = **found;
  const uint64_t slice = std::min(block.length, kSliceBytes);
  if (ReadAhead::in_memory(*block.output, block.offset, slice)) return found;
  lane_wanted_ = block.output->lane();
  if (lane != lane_wanted_) return std::nullopt;
  wire_mu_.unlock();
  parts_.read_ahead.fetch(stream, *block.output, block.offset, slice);
  wire_mu_.lock();
  return found;
}

void Outbox::fail(const Item& item, const Error& error) {
  parts_.metrics.chunks_failed.add();
  log_limited(
      LogLevel::kWarning, "spark.block_failed",
      {{"code", to_string(error.code)}, {"errno", error.sys_errno}, {"reason", error.message}});
  const int64_t id = item.stream->id;
  const auto chunk = static_cast<int32_t>(item.chunk);
  Bytes frame = item.as_stream ? stream_failure(fmt::format("{}_{}", id, chunk), error.message)
                               : chunk_failure(id, chunk, error.message);
  (void)put_out(std::move(frame));
}

Outbox::Step Outbox::begin(Item& item, std::size_t lane) {
  if (item.frame) {
    {
      const MutexLock lock(mu_);
      queued_bytes_ -= item.frame->size();
    }
    const Step put = put_out(std::move(*item.frame));
    drop_first();
    return put;
  }
  const auto found = find(item, lane);
  if (!found) return Step::kElsewhere;
  Step put = Step::kDone;
  if (!*found) {
    fail(item, found->error());
  } else if (const Block& block = **found; !item.as_stream && block.length > kMaxChunkBytes) {
    fail(item, make_error(Code::kTooLarge,
                          fmt::format("{}: its {} bytes do not fit a frame; lower "
                                      "spark.network.maxRemoteBlockSizeFetchToMem",
                                      BlockFiles::describe(item.stream->blocks, item.chunk),
                                      block.length)));
  } else {
    const int64_t id = item.stream->id;
    const auto chunk = static_cast<int32_t>(item.chunk);
    put =
        put_out(item.as_stream ? stream_response_head(fmt::format("{}_{}", id, chunk), block.length)
                               : chunk_success_head(id, chunk, block.length));
    body_ = block;
    warm_to_ = block.offset + std::min(block.length, kSliceBytes);
    parts_.metrics.chunks.add();
    parts_.metrics.chunk_seconds.observe(parts_.runtime.now() - item.asked);
  }
  drop_first();
  return put;
}

Outbox::Step Outbox::next(std::size_t lane) {
  Item* item = nullptr;
  std::vector<Bytes> responses;
  {
    const MutexLock lock(mu_);
    std::size_t bytes = 0;
    while (!responses_.empty() && bytes < kMaxResponsesAtOnce) {
      bytes += responses_.front().size();
      responses.push_back(std::move(responses_.front()));
      responses_.pop_front();
    }
    queued_bytes_ -= bytes;
    // It stays where it is: only a pump takes the first one out, and this is the only pump.
    if (responses.empty() && !items_.empty()) item = &items_.front();
  }
  for (Bytes& response : responses) {
    if (put_out(std::move(response)) != Step::kDone) return Step::kFailed;
  }
  return item != nullptr ? begin(*item, lane) : Step::kDone;
}

Outbox::Pumped Outbox::pump(std::size_t lane) {
  const MutexLock wire(wire_mu_);
  std::optional<Corked> corked;
  {
    const MutexLock lock(mu_);
    if (items_.size() > 1) corked.emplace(socket_);
  }
  sent_ = 0;
  while (true) {
    Step step = flush();
    if (step == Step::kDone) {
      if (body_.length > 0) {
        step = send_body(lane);
      } else if (sent_ >= kPumpBytes) {
        return {Pumped::Why::kAgain, lane};
      } else {
        step = next(lane);
        if (step == Step::kDone && out_.empty() && body_.length == 0) return {};
      }
    }
    switch (step) {
      case Step::kDone: break;
      case Step::kBlocked: return {Pumped::Why::kBlocked, lane};
      case Step::kElsewhere: return {Pumped::Why::kAgain, lane_wanted_};
      case Step::kFailed: return {Pumped::Why::kFailed, lane};
    }
  }
}

bool Outbox::send_now() {
  const MutexLock wire(wire_mu_);
  if (!out_.empty() || body_.length > 0) return true;
  std::deque<Bytes> responses;
  {
    const MutexLock lock(mu_);
    responses.swap(responses_);
    for (const Bytes& response : responses) queued_bytes_ -= response.size();
  }
  for (Bytes& response : responses) {
    if (put_out(std::move(response)) != Step::kDone) return false;
  }
  return flush() != Step::kFailed;
}

Outbox::Health Outbox::watch(TimePoint now, Waits waits) {
  const EssLimits& limits = parts_.limits;
  const TimePoint progress = progress_.load();
  const Duration still = now - progress;
  if (waits == Waits::kForNothing) return Health::kGood;
  if (waits == Waits::kForClient)
    return still > limits.client_timeout ? Health::kSlowClient : Health::kGood;
  const Health in_frame = still > limits.disk_timeout_in_frame ? Health::kSlowDisk : Health::kGood;
  if (!wire_mu_.try_lock()) return in_frame;
  const MutexLock wire(wire_mu_, std::adopt_lock);
  if (!out_.empty() || body_.length > 0) return in_frame;
  if (still > limits.disk_timeout) return Health::kSlowDisk;
  if (now - std::max(progress, life_signed_) < limits.disk_sign_of_life) return Health::kGood;
  life_signed_ = now;
  parts_.metrics.signs_of_life.add();
  if (put_out(sign_of_life()) != Step::kDone || flush() == Step::kFailed)
    return Health::kSlowClient;
  progress_ = progress;  // a sign of life is no progress
  return Health::kGood;
}

}  // namespace shufflefs::net::ess
