// The process that does the work: everything that is a node except holding the mount. It is started
// by the supervisor only, hears what to do through a channel only, may be killed at any instant,
// and dies with its supervisor (PR_SET_PDEATHSIG).
//
// Threads: the supervisor's one. Ownership: the process; the destructor does not wait. Failure: an
// Error if it cannot be started.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

#include "base/fd.h"
#include "base/result.h"

namespace shufflefs {

// The descriptor of the channel in a worker.
inline constexpr int kWorkerChannel = 3;

class WorkerProcess {
 public:
  // `label` is what ps shows: the node's name.
  [[nodiscard]] static Result<WorkerProcess> start(const std::string& label);

  [[nodiscard]] pid_t pid() const { return pid_; }
  [[nodiscard]] int channel() const { return channel_.get(); }

  struct End {
    int exit_code = -1;  // -1: by a signal
    int signal = 0;
  };
  // How it ended, if it has.
  [[nodiscard]] std::optional<End> ended() const;
  void kill(int signal) const;

 private:
  WorkerProcess(pid_t pid, Fd channel) : pid_(pid), channel_(std::move(channel)) {}
  pid_t pid_;
  Fd channel_;
};

// Returns the exit code: 0 when told to end, kExitUnmounted, or why it could not start.
[[nodiscard]] int run_worker();

}  // namespace shufflefs
