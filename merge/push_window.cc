#include "merge/push_window.h"

#include <algorithm>

namespace shufflefs::merge {

uint64_t PushWindow::room(TimePoint now) const {
  if (now < paused_until_ || messages_ >= options_.most_messages) return 0;
  if (messages_ == 0) return std::max(window_, options_.least_bytes);
  if (open_) return 0;  // one probe at a time
  const uint64_t window = credit_ > 0 ? std::min(window_, credit_) : window_;
  return window > in_flight_ ? window - in_flight_ : 0;
}

void PushWindow::sent(uint64_t bytes) {
  in_flight_ += bytes;
  ++messages_;
}

void PushWindow::done(uint64_t bytes) {
  in_flight_ -= std::min(in_flight_, bytes);
  if (messages_ > 0) --messages_;
}

void PushWindow::withdrawn(uint64_t bytes) { done(bytes); }

void PushWindow::halve(TimePoint now) {
  // Once per round trip: what was sent before the last halving says nothing new.
  if (now - halved_ < last_took_) return;
  halved_ = now;
  window_ = std::max(options_.least_bytes, window_ / 2);
}

void PushWindow::answered(uint64_t bytes, Duration took, uint64_t credit_bytes, TimePoint now) {
  done(bytes);
  failures_ = 0;
  open_ = false;
  reason_.clear();
  last_took_ = took;
  credit_ = credit_bytes;
  if (took <= options_.slow) {
    window_ = std::min(options_.most_bytes, window_ + options_.step_bytes);
    return;
  }
  const bool least = window_ <= options_.least_bytes;
  halve(now);
  // As slow as that with hardly anything under way: it gets a rest.
  if (least) {
    paused_until_ = now + std::min(took, options_.longest_pause);
    reason_ = "it is slow";
  }
}

void PushWindow::busy(uint64_t bytes, Duration come_again, TimePoint now) {
  done(bytes);
  failures_ = 0;
  open_ = false;
  halve(now);
  paused_until_ = std::max(paused_until_, now + std::min(come_again, options_.longest_pause));
  reason_ = "it is busy";
}

bool PushWindow::failed(uint64_t bytes, std::string reason, TimePoint now, uint64_t random) {
  done(bytes);
  halve(now);
  ++failures_;
  if (failures_ < options_.failures_to_open && !open_) return false;
  open_ = true;
  reason_ = std::move(reason);
  const uint32_t doublings =
      std::min(failures_ - std::min(failures_, options_.failures_to_open), 20U);
  const Duration full =
      std::min<Duration>(options_.first_pause * (1LL << doublings), options_.longest_pause);
  const Duration pause =
      full / 2 +
      Duration(static_cast<Duration::rep>(random % static_cast<uint64_t>(full.count() / 2 + 1)));
  paused_until_ = std::max(paused_until_, now + pause);
  return true;
}

}  // namespace shufflefs::merge
