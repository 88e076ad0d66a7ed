// Whether the mount answers, found out as its users would: a child process stats the mount and
// reads a file through it. A child, because a call into a mount that hangs cannot be taken back;
// one that does not come back in time is killed, and while it is still there no other is started.
//
// Threads: reactor. Ownership: the children; one that hangs is left to the system at our end.
// Failure: the Status says which call failed and how. Cost: a process for each check, at most two a
// second; the answer in between is the last one.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

#include "base/runtime.h"

namespace shufflefs {

class MountProbe {
 public:
  MountProbe(Runtime& runtime, std::string mount) : runtime_(runtime), mount_(std::move(mount)) {}

  [[nodiscard]] Task<Status> check();
  // False also before the first check and while one hangs.
  [[nodiscard]] bool last_was_good() const { return !is_late_ && last_ && last_->has_value(); }

 private:
  [[nodiscard]] Status start();
  // How the child ended, if it has.
  [[nodiscard]] std::optional<Status> ended();

  Runtime& runtime_;
  const std::string mount_;
  pid_t child_ = 0;  // 0: none
  bool is_late_ = false;
  TimePoint started_{};
  std::optional<Status> last_;
};

// What the child does: the exit code, 0 or an errno.
[[nodiscard]] int probe_mount(const std::string& mount);

}  // namespace shufflefs
