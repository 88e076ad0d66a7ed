// What Spark executors tell of their reading: what came merged, and what came from its origin and
// why. They write it into .shufflefs/client-report, because reads in passthrough never come to us.
//
// Threads: any. Failure: kInvalidArgument for a text that is not a report; nothing of it counts.
// Cost: two counters for each kind.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "base/metrics.h"
#include "base/result.h"

namespace shufflefs::fs {

class ClientReport {
 public:
  static constexpr std::size_t kMaxBytes = 1024;

  explicit ClientReport(Metrics& metrics);

  // "<kind> <blocks> <bytes>" for one kind or several, separated by single spaces, and a newline.
  // Kinds: merged; and, for what was read at its origin, corrupt, short, unreadable, unmerged.
  [[nodiscard]] Status take(std::string_view text);

 private:
  struct Counters {
    Counter& blocks;
    Counter& bytes;
  };
  std::map<std::string, Counters, std::less<>> kinds_;
};

}  // namespace shufflefs::fs
