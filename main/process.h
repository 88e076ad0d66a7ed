// Processes that we start and later find again. A pid alone may have been given to somebody else
// meanwhile: with its start time it names one process for as long as the machine is up, and only
// that one is ever signalled.
//
// Any thread; everything is a system call or two. Failure: errors carry the errno.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"

namespace shufflefs {

struct ProcessId {
  pid_t pid = 0;
  uint64_t start_time = 0;  // clock ticks after boot, from /proc/PID/stat
  friend bool operator==(const ProcessId&, const ProcessId&) = default;
};

// The process that has this pid now; kNotFound if there is none, or only a zombie.
[[nodiscard]] Result<ProcessId> identify(pid_t pid);

// True while this very process runs.
[[nodiscard]] bool is_alive(const ProcessId& process);

// Signals this very process; false if it is gone (which is no error: somebody was faster).
bool send_signal(const ProcessId& process, int signal);

// Starts a program in a session of its own, input from /dev/null, output and errors appended to
// `log_file`, signals as in a fresh process. It lives on when we end.
[[nodiscard]] Result<ProcessId> start_detached(const std::vector<std::string>& arguments,
                                               const std::string& log_file);

// The path of the program that runs.
[[nodiscard]] Result<std::string> own_program();

// Returns when all have gone or the time is over; the ones that still run.
[[nodiscard]] std::vector<ProcessId> wait_until_gone(std::vector<ProcessId> processes,
                                                     std::chrono::milliseconds patience);

}  // namespace shufflefs
