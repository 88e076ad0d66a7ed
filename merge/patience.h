// How long a question is asked again before its answer is taken for lost: a node that is being
// restarted, or that a short trouble made look dead, answers a moment later.
//
// Threads: reactor only. Cost: nothing until again() is called.
#pragma once

#include <algorithm>

#include "base/error.h"
#include "base/runtime.h"

namespace shufflefs::merge {

class Patience {
 public:
  Patience(Runtime& runtime, Duration whole)
      : runtime_(runtime), deadline_(runtime.now() + whole) {}

  // Pauses, longer each time. False, at once, when the patience is at its end.
  [[nodiscard]] Task<bool> again() {
    const Duration left = deadline_ - runtime_.now();
    if (left <= Duration(0)) co_return false;
    co_await sleep_for(runtime_, std::min(pause_, left));
    pause_ = std::min<Duration>(pause_ * 2, kLongest);
    co_return true;
  }

 private:
  static constexpr Duration kFirst = std::chrono::milliseconds(20);
  static constexpr Duration kLongest = std::chrono::milliseconds(500);
  Runtime& runtime_;
  const TimePoint deadline_;
  Duration pause_ = kFirst;
};

// Whether the same question may have an answer a moment later.
[[nodiscard]] inline bool is_passing(Code code) {
  return code == Code::kPeerUnreachable || code == Code::kTimeout || code == Code::kCancelled ||
         code == Code::kNoMemory;
}

// Whether trying the same push again may help. What the owner refused for good is not offered
// twice.
[[nodiscard]] inline bool is_retryable(Code code) {
  return is_passing(code) || code == Code::kIo || code == Code::kCorruptData ||  // on the way
         code == Code::kProtocol;
}

}  // namespace shufflefs::merge
