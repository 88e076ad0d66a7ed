// The last events that the log was given, at info and above, for whoever looks at a running node:
// a ring in memory, so that nobody needs the log files to see what happened a minute ago. What the
// log suppresses is not here either, and nothing outlives the process.
//
// Threads: any. Bound: kMostEvents, each at most kMostFields fields of kMostBytes bytes. Cost: a
// lock and a few copies for each logged event.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/log.h"
#include "base/mutex.h"

namespace shufflefs {

struct RecentEvent {
  uint64_t number = 0;  // 1 for the first event of the process; none is left out
  std::chrono::system_clock::time_point time;
  LogLevel level = LogLevel::kInfo;
  std::string code;
  std::vector<std::pair<std::string, std::string>> fields;
};

class RecentEvents {
 public:
  static constexpr std::size_t kMostEvents = 256;
  static constexpr std::size_t kMostFields = 16;
  static constexpr std::size_t kMostBytes = 512;

  void add(LogLevel level, std::string_view code, LogFields fields);
  // At most `most`, the newest, oldest first.
  [[nodiscard]] std::vector<RecentEvent> last(std::size_t most = kMostEvents) const;
  // How many there have been of each level, by its number.
  [[nodiscard]] std::array<uint64_t, 4> counts() const;

 private:
  mutable Mutex mu_;
  std::deque<RecentEvent> events_ GUARDED_BY(mu_);
  uint64_t count_ GUARDED_BY(mu_) = 0;
  std::array<uint64_t, 4> counts_ GUARDED_BY(mu_){};  // by level
};

// The log's own.
[[nodiscard]] RecentEvents& recent_events();

}  // namespace shufflefs
