// Whether a peer is up, why not, and when it may be tried again.
//
// Threads: any; own lock. Back-off: after a failure, calls fail at once until a pause has passed,
// which doubles with each failure in a row. The heartbeat does not ask allowed(), so that a peer
// that comes back is noticed.
#pragma once

#include <optional>
#include <string>

#include "base/mutex.h"
#include "net/context.h"

namespace shufflefs::net {

class PeerHealth {
 public:
  explicit PeerHealth(const NetOptions& options)
      : backoff_first_(options.backoff_first),
        backoff_limit_(options.backoff_limit),
        pause_(options.backoff_first) {}

  struct View {
    bool up = false;
    std::string reason;  // why it is not up
    double round_trip_ms = 0;
  };
  [[nodiscard]] View view() const;

  // The reason to fail at once, if there is one.
  [[nodiscard]] std::optional<std::string> refusal(TimePoint now) const;
  // Both return true when up or down has changed.
  bool succeeded();
  // `started`: when the failed call began. Of several calls that fail together only the first one
  // counts.
  bool failed(const std::string& reason, TimePoint started, TimePoint now);
  void set_round_trip(Duration duration);

 private:
  const Duration backoff_first_;
  const Duration backoff_limit_;
  mutable Mutex mu_;
  bool up_ GUARDED_BY(mu_) = false;
  bool down_ GUARDED_BY(mu_) = false;  // neither up nor down: not tried yet
  std::string reason_ GUARDED_BY(mu_) = "not contacted yet";
  double round_trip_ms_ GUARDED_BY(mu_) = 0;
  Duration pause_ GUARDED_BY(mu_);  // before the next try
  TimePoint failed_at_ GUARDED_BY(mu_){};
  TimePoint retry_at_ GUARDED_BY(mu_){};
};

}  // namespace shufflefs::net
