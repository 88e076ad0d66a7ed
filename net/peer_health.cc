#include "net/peer_health.h"

namespace shufflefs::net {

PeerHealth::View PeerHealth::view() const {
  const MutexLock lock(mu_);
  return {up_, up_ ? std::string() : reason_, round_trip_ms_};
}

std::optional<std::string> PeerHealth::refusal(TimePoint now) const {
  const MutexLock lock(mu_);
  if (!down_ || now >= retry_at_) return std::nullopt;
  return reason_;
}

bool PeerHealth::succeeded() {
  const MutexLock lock(mu_);
  const bool changed = !up_;
  up_ = true;
  down_ = false;
  pause_ = backoff_first_;
  return changed;
}

bool PeerHealth::failed(const std::string& reason, TimePoint started, TimePoint now) {
  const MutexLock lock(mu_);
  if (down_ && started < failed_at_) return false;
  const bool changed = up_;
  pause_ = down_ ? std::min(pause_ * 2, backoff_limit_) : backoff_first_;
  up_ = false;
  down_ = true;
  reason_ = reason;
  failed_at_ = now;
  retry_at_ = now + pause_;
  return changed;
}

void PeerHealth::set_round_trip(Duration duration) {
  const MutexLock lock(mu_);
  round_trip_ms_ = std::chrono::duration<double, std::milli>(duration).count();
}

}  // namespace shufflefs::net
