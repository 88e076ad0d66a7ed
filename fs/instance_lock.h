// The lock that a live instance holds on its first data directory: <directory>/lock, by flock(2),
// so that it goes with the process however that ends. Whoever holds it may clean up what a dead
// instance left behind.
//
// Threads: any. Ownership: the descriptor; closing it gives the lock up. Failure: an Error that
// names the holder's pid.
#pragma once

#include <string>

#include "base/fd.h"
#include "base/result.h"

namespace shufflefs::fs {

class InstanceLock {
 public:
  // Makes the directory if it is missing.
  // Waits a moment for a holder that is about to end.
  static Result<InstanceLock> take(const std::string& data_directory);
  // For handing it to another process: the lock is held until the last duplicate is closed.
  [[nodiscard]] Fd take_descriptor() { return std::move(fd_); }
  // Writes our pid into the lock file, for who finds it held.
  static void note_holder(int lock);

 private:
  explicit InstanceLock(Fd fd) : fd_(std::move(fd)) {}
  Fd fd_;
};

}  // namespace shufflefs::fs
