// `shufflefs wait <app>/<shuffle> --maps N --timeout T`: polls a node until N map outputs are
// committed and merged, or until that cannot be any more.
//
// One thread. Failure is the exit code (main/commands.h), with the reason in the message.
#pragma once

#include <chrono>
#include <functional>
#include <string>

#include "base/parse.h"
#include "base/result.h"
#include "main/views.h"
#include "merge/ids.h"

namespace shufflefs {

enum class WaitState { kNotYet, kDone, kImpossible };

struct WaitVerdict {
  WaitState state = WaitState::kNotYet;
  std::string text;  // the summary, the reason, or what is missing
};

// Pure: what an answer means for somebody who waits for `maps` map outputs.
[[nodiscard]] WaitVerdict judge(const std::string& name, View shuffle, uint64_t maps);

struct WaitOptions {
  HostPort address;
  merge::ShuffleKey shuffle;
  uint64_t maps = 0;
  std::chrono::milliseconds timeout{};
};

struct WaitOutcome {
  int exit_code = 0;
  std::string text;
};

// `progress` is called after each poll that did not decide.
[[nodiscard]] WaitOutcome wait_for_shuffle(const WaitOptions& options,
                                           const std::function<void(View)>& progress);

}  // namespace shufflefs
