#include "base/recent_events.h"

#include "base/escape.h"

namespace shufflefs {

void RecentEvents::add(LogLevel level, std::string_view code, LogFields fields) {
  RecentEvent event;
  event.time = std::chrono::system_clock::now();
  event.level = level;
  event.code = code;
  for (const LogField& field : fields) {
    if (event.fields.size() == kMostFields) break;
    event.fields.emplace_back(field.key, text_prefix(field.value, kMostBytes));
  }
  const MutexLock lock(mu_);
  event.number = ++count_;
  ++counts_.at(static_cast<std::size_t>(level));
  events_.push_back(std::move(event));
  if (events_.size() > kMostEvents) events_.pop_front();
}

std::vector<RecentEvent> RecentEvents::last(std::size_t most) const {
  const MutexLock lock(mu_);
  const std::size_t skip = events_.size() > most ? events_.size() - most : 0;
  return {events_.begin() + static_cast<std::ptrdiff_t>(skip), events_.end()};
}

std::array<uint64_t, 4> RecentEvents::counts() const {
  const MutexLock lock(mu_);
  return counts_;
}

RecentEvents& recent_events() {
  // Process-wide, as the log is.
  static RecentEvents events;
  return events;
}

}  // namespace shufflefs
